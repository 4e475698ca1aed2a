"""Measure challenger and champion on the same hold-out rows and let the promotion gate judge."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from continuous_training import performance
from continuous_training.core.digest import digest
from continuous_training.steps.champion import load_champion
from continuous_training.steps.context import Context, Output, to_json
from continuous_training.steps.prepare import labelled_rows, split_by_time
from continuous_training.trainers.bundle import Bundle, load_bundle
from continuous_training.trainers.preparation import encode_label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from continuous_training.detectors.base import Detector

ERROR = "error"


def do(context: Context) -> Output:
    """Store the comparison, the verdict and, for each detector, the prepared reference of the challenger."""
    spec = context.spec
    policy = spec.promotion
    rows = labelled_rows(pd.read_parquet(context.fetch("collect", "rows")), spec)
    hold_out = split_by_time(len(rows), spec)[2]
    judged = rows.iloc[hold_out]
    challenger = load_bundle(context.bundle(context.manifest("train")["outputs"]["bundle"]))
    challenger.check_golden()
    y, _ = encode_label(judged[spec.task.label], spec.task, challenger.manifest.classes)
    prediction = challenger.predict(judged)
    comparison = performance.compare(
        policy.metric,
        y,
        prediction,
        _champion_prediction(context, judged, challenger),
        slices={name: judged[name].to_numpy() for name in policy.slices},
        confidence=policy.confidence,
        resamples=policy.resamples,
        seed=spec.seed,
        all_metrics=performance.METRICS[spec.task.kind],
    )
    verdict = policy.judge(comparison)
    reference = rows.assign(**{ERROR: np.nan})
    reference.iloc[hold_out, reference.columns.get_loc(ERROR)] = performance.row_errors(y, prediction, spec.task.kind)
    outputs = {f"reference-{detector_key(detector)}": _fit(context, detector, reference) for detector in spec.drift}
    outputs["comparison"] = context.store.put(to_json(comparison.model_dump(mode="json")))
    outputs["verdict"] = context.store.put(to_json(verdict.model_dump(mode="json")))
    facts = {
        "verdict": verdict.outcome.value,
        "text": verdict.text,
        "metric": policy.metric,
        "challenger": comparison.challenger.value,
        "champion": comparison.champion.value if comparison.champion else None,
        "rows": comparison.rows,
    }
    return Output(outputs=outputs, facts=facts)


def detector_key(detector: Detector) -> str:
    """Return a short name that changes with any setting of the detector: its prepared reference is kept under it."""
    return f"{detector.kind}-{digest(detector)[:12]}"


def _champion_prediction(context: Context, judged: pd.DataFrame, challenger: Bundle) -> NDArray[np.float64] | None:
    if context.run.champion is None:
        return None
    champion = load_champion(context, context.run.champion)
    prediction = champion.predict(judged)
    if champion.manifest.classes == challenger.manifest.classes:
        return prediction
    aligned = np.zeros((len(judged), len(challenger.manifest.classes)))
    for position, label in enumerate(champion.manifest.classes):
        if label in challenger.manifest.classes:
            aligned[:, challenger.manifest.classes.index(label)] = prediction[:, position]
    return aligned


def _fit(context: Context, detector: Detector, reference: pd.DataFrame) -> str:
    buffer = io.BytesIO()
    np.savez(buffer, **detector.fit(reference, context.spec.features))
    return context.store.put(buffer.getvalue())
