"""What a retraining after each window of a replay would have brought: the truth that signals are judged by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from continuous_training.core.retrainings import pooled
from continuous_training.core.scores import Estimate
from continuous_training.core.window import Window
from continuous_training.ledger import DecisionRecord, Ledger
from continuous_training.replay.replay import Say, apart, with_ledger
from continuous_training.replay.walk import MOST_WINDOWS, served
from continuous_training.steps.context import Context
from continuous_training.steps.realised import gain
from continuous_training.steps.shadow import shadow_run
from continuous_training.storage import Store
from continuous_training.trainers.bundle import load_bundle

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec
    from continuous_training.trainers.bundle import Bundle


def hindsight(
    spec: ModelSpec, settings: Settings, windows: Sequence[Window], *, say: Say
) -> list[tuple[DecisionRecord, Estimate | None]]:
    """Return the decision on each window but the last, and by how much a refit after it beats the champion it had.

    The gain is pooled over the windows that follow, as many as the policy judges a retraining over, with the comparison of
    the promotion gate; `None` where it could not be measured. What was measured is kept beside the replay.

    Parameters
    ----------
    spec, windows:
        The model as it was replayed, and the windows of that replay; both come from its ledger and store.
    """
    measure = _Gains(spec, apart(spec, settings))
    ledger = Ledger(with_ledger(spec, measure.settings, windows[0].end - spec.window.every).ledger)
    bundles = served(ledger, spec.model)
    records = {record.decision.window.end: record for record in ledger.decisions(spec.model, MOST_WINDOWS)}
    found = []
    for number, window in enumerate(windows[:-1]):
        if window.end not in records or records[window.end].evidence.defects:
            continue
        say(f"hindsight {number + 1} of {len(windows) - 1}")
        following = windows[number + 1 : number + 1 + spec.retraining.judged_over]
        gains = [measure.of(window, bundles[window.end], later) for later in following if later.start >= window.end]
        found.append((records[window.end], pooled([one for one in gains if one is not None])))
    measure.keep()
    return found


class _Gains:
    """Gains of refits over champions, measured once and kept."""

    def __init__(self, spec: ModelSpec, settings: Settings) -> None:
        self.settings = settings
        self._spec, self._store = spec, Store(settings.artefacts)
        self._file = Path(settings.home) / "hindsight.json"
        self._known: dict[str, dict[str, object] | None] = (
            json.loads(self._file.read_text()) if self._file.is_file() else {}
        )
        self._rows: dict[str, pd.DataFrame] = {}

    def of(self, window: Window, champion: str, later: Window) -> Estimate | None:
        """Return by how much a model refitted after `window` beats a champion on a later window."""
        made = self._store.read_manifest(shadow_run(self._spec, window.end).key, "train")
        if made is None or made["error"]:
            return None
        refit = made["outputs"]["bundle"]
        judge = self._spec.promotion
        how = f"{judge.model_dump_json()} {self._spec.metric(judge.metric).model_dump_json()}"
        key = f"{how} {refit} {champion} {later}"
        if key not in self._known:
            found = self._measure(refit, champion, later)
            self._known[key] = found.model_dump(mode="json") if found else None
        known = self._known[key]
        return None if known is None else Estimate.model_validate(known)

    def keep(self) -> None:
        """Write what is known for the next time."""
        self._file.write_text(json.dumps(self._known))

    def _measure(self, refit: str, champion: str, later: Window) -> Estimate | None:
        spec = self._spec
        if str(later) not in self._rows:
            self._rows[str(later)] = spec.source.read(
                later,
                task=spec.task,
                columns=spec.columns,
                as_of=later.end + spec.task.label_delay,
                locations=self.settings.locations,
            )
        rows = self._rows[str(later)]
        return gain(spec, rows, self._bundle(refit), self._bundle(champion)) if len(rows) else None

    def _bundle(self, bundle: str) -> Bundle:
        spec = self._spec
        context = Context(
            spec=spec, run=shadow_run(spec, spec.window.anchor), settings=self.settings, store=self._store
        )
        return load_bundle(context.bundle(bundle))
