"""The lines of the champion's quality: estimated without labels, provisional on those known, final once all had their time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pandas as pd

from continuous_training import performance
from continuous_training.core.digest import digest
from continuous_training.core.scores import Estimate, Line, PerformanceScore
from continuous_training.core.window import Window
from continuous_training.estimators import Estimator
from continuous_training.steps.champion import stored_arrays
from continuous_training.trainers.bundle import load_bundle
from continuous_training.trainers.preparation import encode_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from continuous_training.core.quality import MetricName
    from continuous_training.core.run import ChampionRef, Run
    from continuous_training.policies.performance import PerformanceRule
    from continuous_training.spec import ModelSpec
    from continuous_training.steps.context import Context
    from continuous_training.steps.parts import Seen
    from continuous_training.trainers.bundle import Bundle

ESTIMATOR = Estimator()


class Look(NamedTuple):
    """The rows of one window with what the champion makes of them; `note` says why there are none to judge it by.

    Where the window was read in parts these are some of its rows, and `seen` is what was seen in all of them.
    """

    window: Window
    rows: pd.DataFrame
    y: NDArray[np.float64]
    prediction: NDArray[np.float64]
    groups: NDArray[Any] | None
    note: str = ""
    seen: Seen | None = None

    @property
    def size(self) -> int:
        """Return how many rows the window has."""
        return self.seen.rows if self.seen else len(self.rows)

    def emptied(self, note: str) -> Look:
        """Return the look without its rows, and why."""
        groups = None if self.groups is None else self.groups[:0]
        return Look(self.window, self.rows.iloc[:0], self.y[:0], self.prediction[:0], groups, note)


class Question(NamedTuple):
    """One line of one metric on one window, of all rows or of each value of a column that has enough."""

    metric: str
    line: Line
    window: Window
    by: str | None
    rows: int


def windows_of_lines(spec: ModelSpec, run: Run) -> dict[Line, Window]:
    """Return the window that each line is measured on; they differ only where windows are looked at early.

    Final is the newest window whose labels have all had their time, provisional the newest of which some have.
    """
    ripe = run.as_of - spec.task.label_delay
    begun = spec.window.last_end(ripe + spec.window.current - timedelta(microseconds=1))
    return {
        "estimated": run.window,
        "provisional": spec.window.current_window(min(begun, run.window.end)),
        "final": spec.window.current_window(spec.window.last_end(ripe)),
    }


def measure(context: Context, bundle: Bundle, looks: Mapping[Line, Look]) -> tuple[PerformanceScore, ...]:
    """Return a score for each rule and, where windows are looked at early, the other lines of its metric without a limit."""
    spec, run = context.spec, context.run
    prepared = _prepared(context, run.champion) if spec.estimates and run.champion else {}
    at = {look.window: look for look in looks.values()}
    found: list[PerformanceScore] = []
    for question, rule in _questions(spec, {line: look.window for line, look in looks.items()}):
        look = at[question.window]
        limits = rule.model_dump(include={"below", "above", "windows"}) | {"rule": rule.name} if rule else {}
        placed = {
            "line": question.line,
            "window": None if look.window == run.window else look.window,
            "matured": _matured(look.rows[spec.task.event_time], spec.task.label_delay, run.as_of),
        }
        chosen = _slices(question, look.rows)
        note = look.note or (f"no value of {question.by} has {question.rows} rows" if not chosen else "")
        if note:  # said, since a signal that is missing would end its episode
            found.append(PerformanceScore(estimate=Estimate(metric=question.metric, note=note), **placed, **limits))
            continue
        if question.line == "estimated":
            estimates = _estimated(bundle, prepared, look, cast("MetricName", question.metric), chosen)
        else:
            estimates = _realised(context, look, question, chosen)
        found += [
            PerformanceScore(estimate=estimate, slice=where, **placed, **limits)
            for (where, _), estimate in zip(chosen, estimates, strict=True)
        ]
    return tuple(found)


def _questions(spec: ModelSpec, at: Mapping[Line, Window]) -> list[tuple[Question, PerformanceRule | None]]:
    """Return what the rules ask, then what else is written down: all lines of their metrics, of all rows too.

    A window whose labels are known is estimated as well, for that is what the estimator is checked by.
    """
    asked: list[tuple[Question, PerformanceRule | None]] = [
        (Question(rule.metric, rule.line, at[rule.line], rule.by, rule.rows), rule) for rule in spec.performance
    ]
    if not spec.looks_early:
        return asked
    others = [
        Question(rule.metric, line, window, by, rule.rows if by else 0)
        for rule in spec.performance
        for by in (rule.by, None)
        for line, window in (*at.items(), ("estimated", at["final"]))
        if line != "estimated" or rule.metric in spec.estimates
    ]
    known = {question._replace(rows=question.rows if question.by else 0) for question, _ in asked}
    return asked + [(question, None) for question in dict.fromkeys(others) if question not in known]


def _slices(question: Question, rows: pd.DataFrame) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the rows that a line is measured on: all, or those of each value of its column that are enough."""
    by = question.by
    if by is None:
        return [("", np.ones(len(rows), dtype=np.bool_))]
    sizes = rows[by].value_counts()
    frequent = sorted(sizes.index[sizes >= question.rows], key=str)
    return [(f"{by}={value}", (rows[by] == value).to_numpy()) for value in frequent]


def _matured(times: pd.Series, delay: timedelta, as_of: datetime) -> float:
    # A row may never get a label (a cancelled flight); it has matured all the same once its time has come.
    return float((times + delay <= as_of).mean()) if len(times) else 0.0


def _realised(
    context: Context, look: Look, question: Question, chosen: Sequence[tuple[str, NDArray[np.bool_]]]
) -> list[Estimate]:
    spec = context.spec
    found = [
        performance.estimate(
            spec.metric(question.metric),
            look.y[rows],
            look.prediction[rows],
            groups=None if look.groups is None else look.groups[rows],
            confidence=spec.promotion.confidence,
            resamples=spec.promotion.resamples,
            seed=spec.seed,
        )
        for _, rows in chosen
    ]
    if question.line == "final" and look.window == context.run.window:
        return found  # the policy itself asks for enough rows of this window
    fewest = spec.retraining.rows
    return [
        each
        if each.rows >= fewest
        else Estimate(
            metric=each.metric, rows=each.rows, note=f"{each.rows} labels are known, at least {fewest} are needed"
        )
        for each in found
    ]


def _estimated(
    bundle: Bundle,
    prepared: dict[str, NDArray[Any]],
    look: Look,
    metric: MetricName,
    chosen: Sequence[tuple[str, NDArray[np.bool_]]],
) -> list[Estimate]:
    x = bundle.manifest.preparation.transform(look.rows)
    return [ESTIMATOR.estimate(prepared, x[rows], look.prediction[rows], metric) for _, rows in chosen]


def estimator_key(spec: ModelSpec) -> str:
    """Return a short name that changes with the estimator and its metrics: what it learned is kept under it."""
    return f"estimator-{digest([ESTIMATOR.model_dump(mode='json'), spec.estimates])[:12]}"


def fit_estimator(spec: ModelSpec, bundle: Bundle, rows: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """Return what the estimator learns from labelled rows that the bundle's model was not fitted on."""
    y, _ = encode_label(rows[spec.task.label], spec.task, bundle.manifest.classes)
    return ESTIMATOR.fit(
        bundle.manifest.preparation.transform(rows),
        y,
        bundle.predict(rows),
        kind=spec.task.kind,
        metrics=spec.estimates,
        seed=spec.seed,
    )


def _prepared(context: Context, champion: ChampionRef) -> dict[str, NDArray[Any]]:
    kept = stored_arrays(context, estimator_key(context.spec), champion)
    if kept is not None:
        return kept
    # The rule was added or changed after this champion was judged: its hold-out is still kept, and what was judged on it.
    trained = context.manifest("train", champion.run_key)["outputs"]
    judged = load_bundle(context.bundle(trained.get("judged", trained["bundle"])))
    rows = pd.read_parquet(context.fetch("collect", "rows", champion.run_key))
    since = pd.Timestamp(context.manifest("prepare", champion.run_key)["facts"]["hold_out_from"])
    task = context.spec.task
    return fit_estimator(context.spec, judged, rows[rows[task.label].notna() & (rows[task.event_time] >= since)])
