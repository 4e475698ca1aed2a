"""Replay several policies over the same history and hold them against rulers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from continuous_training.core.digest import digest
from continuous_training.core.errors import DataInvalid, UsageError
from continuous_training.ledger import Ledger
from continuous_training.replay import rulers
from continuous_training.replay.report import PolicyResult, ReplayReport, Ruler
from continuous_training.replay.walk import MOST_WINDOWS, walk
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec
from continuous_training.steps import run_step, training_seconds
from continuous_training.steps.context import Context
from continuous_training.steps.shadow import REFIT_STEPS, shadow_run
from continuous_training.storage import Store

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.window import Window
    from continuous_training.replay.rulers import Matrix

Say = Callable[[str], None]
Result = TypeVar("Result")
FEWEST_WINDOWS = 2


def replay(
    spec: ModelSpec,
    policies: Mapping[str, ModelSpec],
    settings: Settings,
    *,
    start: datetime | None,
    end: datetime | None,
    proxy: bool,
    jobs: int,
    say: Say,
) -> ReplayReport:
    """Return what each policy would have done with the windows after `start` up to `end`.

    Everything is kept below `replay/<model>` in the home of `settings`, apart from the live ledger and store: the same
    replay again goes on where it was interrupted, and another policy shares every training it has in common.

    Parameters
    ----------
    policies:
        Name to the model with that policy; trainers and windows are those of `spec`.
    start, end:
        End of the first training's rows, and of the last window; none means as early as there is a first champion, and as
        late as the data allow.
    proxy:
        Only told in the report: the caller has put the fast learner into the models.
    jobs:
        Processes that refit and walk at once.

    Raises
    ------
    UsageError
        There are fewer than two windows between `start` and `end`.
    DataInvalid
        The first training at `start`, or without it any, failed or was refused by the gate.
    """
    base = apart(spec, settings)
    folder = Path(base.home)
    tiles = _tiles(spec, settings, start, end)
    if start is None:
        tiles = _from_first_champion(spec, base, tiles, say)
    windows = [spec.window.current_window(tile) for tile in tiles[1:]]
    variants = list(policies.items())
    ledgers = [with_ledger(one, base, tiles[0]) for _, one in variants]
    with _workers(jobs) as each:
        refits = each(_refit, [spec] * len(windows), [base] * len(windows), tiles[:-1])
        bundles = list(_told(refits, "refit", len(windows), say))
        walks = each(
            _walk, [one for _, one in variants], ledgers, [tiles[0]] * len(variants), [tiles[-1]] * len(variants)
        )
        served = list(_told(walks, "policy", len(variants), say))
    quality = _Quality(spec, base, folder / "quality.json")
    matrix: Matrix = [
        [quality.of(bundle, window) if number >= first and bundle else None for number, window in enumerate(windows)]
        for first, bundle in enumerate(bundles)
    ]
    report = _rulers(spec, windows, matrix, proxy=proxy)
    results = []
    for (name, one), own, by_end in zip(variants, ledgers, served, strict=True):
        values = [quality.of(by_end[window.end], window) if window.end in by_end else None for window in windows]
        results.append(_result(name, one, own, values, report))
    quality.keep()
    return report.model_copy(update={"policies": tuple(results)})


def _rulers(spec: ModelSpec, windows: Sequence[Window], matrix: Matrix, *, proxy: bool) -> ReplayReport:
    """Return the report without policies."""
    better = spec.metric(spec.promotion.metric).greater_is_better
    best = rulers.oracle(matrix, greater_is_better=better)
    return ReplayReport(
        model=spec.model,
        metric=spec.promotion.metric,
        greater_is_better=better,
        proxy=proxy,
        windows=tuple(windows),
        policies=(),
        rulers=(
            _ruler("never", matrix, []),
            _ruler("every window", matrix, list(range(1, len(windows)))),
            _ruler("monthly", matrix, rulers.monthly([window.start for window in windows])),
        ),
        evenly=tuple(_ruler("evenly", matrix, rulers.evenly(len(windows), number)) for number in range(len(best))),
        oracle=tuple(_ruler("oracle", matrix, moments) for moments in best),
    )


@contextlib.contextmanager
def _workers(jobs: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Give a `map` that works in this process, or in `jobs` others."""
    if jobs == 1:
        yield map
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield pool.map


def _tiles(spec: ModelSpec, settings: Settings, start: datetime | None, end: datetime | None) -> list[datetime]:
    """Return the end of the first training's rows and of every window after it."""
    watermark = spec.source.watermark(task=spec.task, locations=settings.locations)
    if watermark is None:
        raise UsageError(f"the source of {spec.model} has no rows; land data first, a retry then finds them")
    last = spec.window.last_end(min(end or watermark, watermark - spec.task.label_delay))
    first = spec.window.last_end(start) if start else _first_end(spec, settings, last)
    count = int((last - first) / spec.window.every)
    if count < FEWEST_WINDOWS:
        msg = (
            f"from {first:%Y-%m-%d} to {last:%Y-%m-%d} there are {max(count, 0)} windows to replay, at least {FEWEST_WINDOWS} are "
            "needed; give an earlier --from or a later --to; a retry gives the same"
        )
        raise UsageError(msg)
    return [first + number * spec.window.every for number in range(count + 1)]


def _first_end(spec: ModelSpec, settings: Settings, last: datetime) -> datetime:
    """Return the earliest end of a reference window that is filled, going back window by window until there are no rows."""
    end = last
    while True:
        window = spec.window.reference_window(end)
        rows = spec.source.read(window, task=spec.task, columns=(), as_of=end, locations=settings.locations)
        if rows.empty:
            return end + spec.window.reference
        first = rows[spec.task.event_time].iloc[0]
        if first - window.start > spec.window.every:
            return spec.window.last_end(first + spec.window.reference) + spec.window.every
        end = spec.window.last_end(window.start)


def _from_first_champion(spec: ModelSpec, base: Settings, tiles: list[datetime], say: Say) -> list[datetime]:
    """Leave out windows until a first training is promoted; raise what the last one met when too few are left."""
    while True:
        own = with_ledger(spec, base, tiles[0])
        try:
            walk(spec, own, start=tiles[0], end=tiles[0])
        except DataInvalid:
            if len(tiles) - 1 <= FEWEST_WINDOWS:
                raise
            why = Ledger(own.ledger).runs(spec.model, 1)[0].text
            say(f"no first champion on {tiles[0]:%Y-%m-%d}, so the replay begins a window later: {why}")
            tiles = tiles[1:]
        else:
            return tiles


def _refit(spec: ModelSpec, settings: Settings, end: datetime) -> str | None:
    run = shadow_run(spec, end)
    try:
        for name in REFIT_STEPS:
            result = run_step(name, spec, run, settings)
    except DataInvalid:  # broken data in that stretch of history: no model can be made there, live neither
        return None
    return result.outputs["bundle"]


def _walk(spec: ModelSpec, settings: Settings, start: datetime, end: datetime) -> dict[datetime, str]:
    return walk(spec, settings, start=start, end=end)


def _told(results: Iterable[Result], what: str, total: int, say: Say) -> Iterator[Result]:
    for number, result in enumerate(results, 1):
        say(f"{what} {number} of {total}")
        yield result


def apart(spec: ModelSpec, settings: Settings) -> Settings:
    """Return the settings with which a model is replayed, apart from its live store."""
    folder = Path(settings.home) / "replay" / spec.model
    return settings.model_copy(update={"artefacts": str(folder / "artefacts"), "home": str(folder)})


def with_ledger(spec: ModelSpec, base: Settings, start: datetime) -> Settings:
    """Return the settings with the ledger of one policy: another model file, policy or start is another history."""
    told = {"spec": spec.digest, "start": start.isoformat()}
    parts = spec.model_dump(mode="json", include={"retraining", "performance", "feedback", "metrics", "triage"})
    return base.model_copy(update={"ledger": f"sqlite:///{Path(base.home) / 'ledgers' / digest(told | parts)[:16]}.db"})


def _ruler(name: str, matrix: Matrix, moments: Sequence[int]) -> Ruler:
    values = rulers.serve(matrix, moments)
    return Ruler(name=name, retrainings=len(moments), mean=rulers.mean(values), quality=tuple(values))


def _result(
    name: str, spec: ModelSpec, settings: Settings, values: Sequence[float | None], report: ReplayReport
) -> PolicyResult:
    ledger = Ledger(settings.ledger)
    runs = sorted((record for record in ledger.runs(spec.model, MOST_WINDOWS)), key=lambda record: record.run.as_of)
    begun, ended = report.windows[0].start, report.windows[-1].end
    within = [record for record in runs if begun < record.run.window.end < ended]
    store = Store(settings.artefacts)
    mean = rulers.mean(values)
    # A retraining after the last window changes nothing that was measured.
    number = min(len(within), len(report.oracle) - 1)
    never, every = report.rulers[0].mean, report.rulers[1].mean
    return PolicyResult(
        name=name,
        policy=_words(spec),
        retrainings=tuple(record.run.window.end for record in within),
        promoted=tuple(record.run.window.end for record in within if record.outcome == "promoted"),
        quality=tuple(values),
        mean=mean,
        share_of_windows=len(within) / len(report.windows),
        share_of_gain=_share(mean, never, every),
        timing_skill=_share(mean, report.evenly[number].mean, report.oracle[number].mean),
        seconds=sum(training_seconds(store, record.run.key) for record in within),
        decisions=tuple(
            record.decision
            for record in reversed(ledger.decisions(spec.model, MOST_WINDOWS))
            if record.decision.window.end <= ended
        ),
    )


def _share(value: float | None, low: float | None, high: float | None) -> float | None:
    if value is None or low is None or high is None or low == high:
        return None
    return (value - low) / (high - low)


def _words(spec: ModelSpec) -> str:
    return json.dumps(spec.retraining.model_dump(mode="json", exclude_defaults=True) | {"kind": spec.retraining.kind})


class _Quality:
    """The metric of a bundle on the rows of a window, measured once and kept."""

    def __init__(self, spec: ModelSpec, settings: Settings, file: Path) -> None:
        self._spec, self._settings, self._file = spec, settings, file
        self._metric = spec.metric(spec.promotion.metric)
        self._known: dict[str, float | None] = json.loads(file.read_text()) if file.is_file() else {}
        self._rows: dict[str, pd.DataFrame] = {}

    def of(self, bundle: str, window: Window) -> float | None:
        """Return the value, or `None` where it is not defined."""
        key = f"{self._metric.model_dump_json()} {bundle} {window}"
        if key not in self._known:
            self._known[key] = self._measure(bundle, window)
        return self._known[key]

    def keep(self) -> None:
        """Write what is known for the next replay."""
        self._file.write_text(json.dumps(self._known))

    def _measure(self, bundle: str, window: Window) -> float | None:
        from continuous_training import performance
        from continuous_training.steps.evaluate import groups_of
        from continuous_training.trainers.bundle import load_bundle
        from continuous_training.trainers.preparation import encode_label

        spec, settings = self._spec, self._settings
        rows = self._rows.get(str(window))
        if rows is None:
            rows = spec.source.read(
                window,
                task=spec.task,
                columns=spec.columns,
                as_of=window.end + spec.task.label_delay,
                locations=settings.locations,
            )
            self._rows[str(window)] = rows
        if not len(rows):
            return None
        context = Context(
            spec=spec, run=shadow_run(spec, window.end), settings=settings, store=Store(settings.artefacts)
        )
        model = load_bundle(context.bundle(bundle))
        y, _ = encode_label(rows[spec.task.label], spec.task, model.manifest.classes)
        groups = groups_of(rows, spec.task)
        found = performance.estimate(
            self._metric, y, model.predict(rows), groups=groups, confidence=0.5, resamples=1, seed=0
        )
        return found.value
