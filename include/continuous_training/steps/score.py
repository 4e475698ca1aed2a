"""Measure one current window: its distance from the champion's reference, and how well the champion did on it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from continuous_training.core.decisions import Evidence
from continuous_training.core.defects import Defect
from continuous_training.core.errors import DataInvalid
from continuous_training.core.run import ChampionRef
from continuous_training.core.scores import DriftScore
from continuous_training.detectors.base import Detector, Prepared
from continuous_training.steps.champion import load_champion, stored_arrays, usual
from continuous_training.steps.collect import read_rows
from continuous_training.steps.context import Context, Output, to_json
from continuous_training.steps.evaluate import (
    ERROR,
    PREDICTION,
    attributions,
    computed_columns,
    detector_key,
    groups_of,
)
from continuous_training.steps.lines import Look, measure, windows_of_lines
from continuous_training.steps.realised import realised_gain
from continuous_training.steps.shadow import shadow_score
from continuous_training.trainers.preparation import encode_label

if TYPE_CHECKING:
    from continuous_training.core.task import Task
    from continuous_training.core.window import Window
    from continuous_training.trainers.bundle import Bundle


def do(context: Context) -> Output:
    """Store the evidence of the run's window."""
    spec, run = context.spec, context.run
    if run.champion is None:
        msg = f"run {run.key[:12]} names no champion to score; plan it again, a retry of this run gives the same"
        raise DataInvalid(msg)
    bundle = load_champion(context, run.champion)
    now = _look(context, bundle, run.window)
    windows = windows_of_lines(spec, run)
    looks = {run.window: now} | {
        window: _past(context, bundle, window) for window in windows.values() if window != run.window
    }
    ripe = looks[windows["final"]]
    measured = _measured(context, now).assign(**attributions(spec, bundle, now.rows))
    with_labels = measured if ripe is now else _measured(context, ripe)
    drift: list[DriftScore] = []
    for detector in spec.drift:
        current = with_labels if _needs_labels(detector, spec.task) else measured
        drift += detector.score(_prepared(context, detector, run.champion), current, spec.features)
    defects = _defects(context, now.rows, run.window, run.champion)
    # A broken window would be scored for nothing, and refitting on the next one waits until it is repaired.
    wanted = spec.retraining.needs_shadow and not defects and not ripe.rows.empty
    judged = run.replaced is not None and not defects and not ripe.rows.empty
    evidence = Evidence(
        model=spec.model,
        window=run.window,
        as_of=run.as_of,
        rows=len(now.rows),
        drift=tuple(drift),
        performance=measure(context, bundle, {line: looks[window] for line, window in windows.items()}),
        shadow=shadow_score(_at(context, ripe.window), ripe.rows, bundle, ripe.prediction) if wanted else None,
        realised=realised_gain(context, ripe.rows, bundle) if judged else None,
        defects=defects,
    )
    outputs = {"evidence": context.store.put(to_json(evidence.model_dump(mode="json")))}
    facts = {"rows": len(now.rows), "scores": len(drift), "champion": run.champion.version, "defects": len(defects)}
    return Output(outputs=outputs, facts=facts)


def _at(context: Context, window: Window) -> Context:
    return replace(context, run=context.run.model_copy(update={"window": window}))


def _look(context: Context, bundle: Bundle, window: Window) -> Look:
    task = context.spec.task
    rows = read_rows(_at(context, window))
    y, _ = encode_label(rows[task.label], task, bundle.manifest.classes)
    return Look(window, rows, y, bundle.predict(rows), groups_of(rows, task))


def _past(context: Context, bundle: Bundle, window: Window) -> Look:
    """Return the look at a window before the run's, without rows where these would say nothing of the champion."""
    champion = context.run.champion
    assert champion is not None
    look = _look(context, bundle, window)
    if window.end <= champion.data_cutoff:
        return look.emptied(
            f"the champion was made from this window, its data end {champion.data_cutoff:%Y-%m-%d %H:%MZ}"
        )
    defects = _defects(context, look.rows, window, champion)
    return look.emptied(f"the window is quarantined: {defects[0].text}") if defects else look


def _measured(context: Context, look: Look) -> pd.DataFrame:
    task = context.spec.task
    return look.rows.assign(**computed_columns(look.y, look.prediction, task, look.groups))


def _needs_labels(detector: Detector, task: Task) -> bool:
    columns = getattr(detector, "columns", ())
    named = {getattr(detector, "signal", None), *(() if columns == "all" else columns)}
    return not named.isdisjoint({ERROR, task.label})


def _defects(context: Context, rows: pd.DataFrame, window: Window, champion: ChampionRef) -> tuple[Defect, ...]:
    spec = context.spec
    if spec.triage is None:
        return ()
    profile = usual(context, spec.triage, champion)
    return spec.triage.examine(profile, rows, window, spec.task, spec.features)


def _prepared(context: Context, detector: Detector, champion: ChampionRef) -> Prepared:
    kept = stored_arrays(context, f"reference-{detector_key(detector)}", champion)
    if kept is not None:
        return kept
    # The detector was added or changed after this champion was trained: its rows are still kept.
    reference = pd.read_parquet(context.fetch("collect", "rows", champion.run_key))
    return detector.fit(reference.assign(**{ERROR: np.nan, PREDICTION: np.nan}), context.spec.features)
