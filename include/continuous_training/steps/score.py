"""Measure one current window: its distance from the champion's reference, and how well the champion did on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training import performance
from continuous_training.core.decisions import Evidence
from continuous_training.core.defects import Defect
from continuous_training.core.errors import DataInvalid
from continuous_training.core.run import ChampionRef
from continuous_training.core.scores import DriftScore, Estimate, PerformanceScore
from continuous_training.detectors.base import Detector, Prepared
from continuous_training.spec import PerformanceRule
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
from continuous_training.steps.realised import realised_gain
from continuous_training.steps.shadow import shadow_score
from continuous_training.trainers.preparation import encode_label


def do(context: Context) -> Output:
    """Store the evidence of the run's window."""
    spec, run = context.spec, context.run
    if run.champion is None:
        msg = f"run {run.key[:12]} names no champion to score; plan it again, a retry of this run gives the same"
        raise DataInvalid(msg)
    rows = read_rows(context)
    bundle = load_champion(context, run.champion)
    y, _ = encode_label(rows[spec.task.label], spec.task, bundle.manifest.classes)
    prediction = bundle.predict(rows)
    groups = groups_of(rows, spec.task)
    measured = rows.assign(**computed_columns(y, prediction, spec.task, groups), **attributions(spec, bundle, rows))
    drift: list[DriftScore] = []
    for detector in spec.drift:
        drift += detector.score(_prepared(context, detector, run.champion), measured, spec.features)
    defects = _defects(context, rows, run.champion)
    # A broken window would be scored for nothing, and refitting on the next one waits until it is repaired.
    wanted = spec.retraining.needs_shadow and not defects and not rows.empty
    judged = run.replaced is not None and not defects and not rows.empty
    evidence = Evidence(
        model=spec.model,
        window=run.window,
        as_of=run.as_of,
        rows=len(rows),
        drift=tuple(drift),
        performance=_performance(context, rows, y, prediction, groups),
        shadow=shadow_score(context, rows, bundle, prediction) if wanted else None,
        realised=realised_gain(context, rows, bundle) if judged else None,
        defects=defects,
    )
    outputs = {"evidence": context.store.put(to_json(evidence.model_dump(mode="json")))}
    facts = {"rows": len(rows), "scores": len(drift), "champion": run.champion.version, "defects": len(defects)}
    return Output(outputs=outputs, facts=facts)


def _defects(context: Context, rows: pd.DataFrame, champion: ChampionRef) -> tuple[Defect, ...]:
    spec = context.spec
    if spec.triage is None:
        return ()
    profile = usual(context, spec.triage, champion)
    return spec.triage.examine(profile, rows, context.run.window, spec.task, spec.features)


def _prepared(context: Context, detector: Detector, champion: ChampionRef) -> Prepared:
    kept = stored_arrays(context, f"reference-{detector_key(detector)}", champion)
    if kept is not None:
        return kept
    # The detector was added or changed after this champion was trained: its rows are still kept.
    reference = pd.read_parquet(context.fetch("collect", "rows", champion.run_key))
    return detector.fit(reference.assign(**{ERROR: np.nan, PREDICTION: np.nan}), context.spec.features)


def _performance(
    context: Context,
    rows: pd.DataFrame,
    y: NDArray[np.float64],
    prediction: NDArray[np.float64],
    groups: NDArray[Any] | None,
) -> tuple[PerformanceScore, ...]:
    spec = context.spec
    # A row may never get a label (a cancelled flight); it has matured all the same once its time has come.
    known_from = rows[spec.task.event_time] + spec.task.label_delay
    matured = float((known_from <= context.run.as_of).mean()) if len(rows) else 0.0
    scores = []
    for rule in spec.performance:
        limits = rule.model_dump(include={"below", "above", "windows"}) | {"rule": rule.name, "matured": matured}
        chosen_rows = _slices(rule, rows)
        if not chosen_rows:  # said, since a signal that is missing would end its episode
            note = f"no value of {rule.by} has {rule.rows} rows"
            scores.append(PerformanceScore(estimate=Estimate(metric=rule.metric, note=note), **limits))
        for where, chosen in chosen_rows:
            estimate = performance.estimate(
                rule.metric,
                y[chosen],
                prediction[chosen],
                groups=None if groups is None else groups[chosen],
                confidence=spec.promotion.confidence,
                resamples=spec.promotion.resamples,
                seed=spec.seed,
            )
            scores.append(PerformanceScore(estimate=estimate, slice=where, **limits))
    return tuple(scores)


def _slices(rule: PerformanceRule, rows: pd.DataFrame) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the rows that a rule is judged on: all, or those of each value of its column that are enough."""
    if rule.by is None:
        return [("", np.ones(len(rows), dtype=np.bool_))]
    sizes = rows[rule.by].value_counts()
    frequent = sorted(sizes.index[sizes >= rule.rows], key=str)
    return [(f"{rule.by}={value}", (rows[rule.by] == value).to_numpy()) for value in frequent]
