"""Measure one current window: its distance from the champion's reference, and how well the champion did on it."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training import performance
from continuous_training.core.decisions import Evidence
from continuous_training.core.errors import DataInvalid
from continuous_training.core.run import ChampionRef
from continuous_training.core.scores import DriftScore, PerformanceScore
from continuous_training.detectors.base import Detector, Prepared
from continuous_training.steps.champion import load_champion
from continuous_training.steps.collect import read_rows
from continuous_training.steps.context import Context, Output, to_json
from continuous_training.steps.evaluate import ERROR, detector_key
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
    rows = rows.assign(**{ERROR: performance.row_errors(y, prediction, spec.task.kind)})
    drift: list[DriftScore] = []
    for detector in spec.drift:
        drift += detector.score(_prepared(context, detector, run.champion), rows, spec.features)
    evidence = Evidence(
        model=spec.model,
        window=run.window,
        as_of=run.as_of,
        rows=len(rows),
        drift=tuple(drift),
        performance=_performance(context, rows, y, prediction),
    )
    outputs = {"evidence": context.store.put(to_json(evidence.model_dump(mode="json")))}
    return Output(outputs=outputs, facts={"rows": len(rows), "scores": len(drift), "champion": run.champion.version})


def _prepared(context: Context, detector: Detector, champion: ChampionRef) -> Prepared:
    name = f"reference-{detector_key(detector)}"
    digest = context.manifest("evaluate", champion.run_key)["outputs"].get(name)
    if digest is not None:
        with np.load(io.BytesIO(context.store.get(digest)), allow_pickle=False) as arrays:
            return dict(arrays)
    # The detector was added or changed after this champion was trained: its rows are still kept.
    reference = pd.read_parquet(context.fetch("collect", "rows", champion.run_key))
    return detector.fit(reference.assign(**{ERROR: np.nan}), context.spec.features)


def _performance(
    context: Context, rows: pd.DataFrame, y: NDArray[np.float64], prediction: NDArray[np.float64]
) -> tuple[PerformanceScore, ...]:
    spec = context.spec
    # A row may never get a label (a cancelled flight); it has matured all the same once its time has come.
    known_from = rows[spec.task.event_time] + spec.task.label_delay
    matured = float((known_from <= context.run.as_of).mean()) if len(rows) else 0.0
    return tuple(
        PerformanceScore(
            estimate=performance.estimate(
                rule.metric,
                y,
                prediction,
                confidence=spec.promotion.confidence,
                resamples=spec.promotion.resamples,
                seed=spec.seed,
            ),
            matured=matured,
            below=rule.below,
            above=rule.above,
            windows=rule.windows,
        )
        for rule in spec.performance
    )
