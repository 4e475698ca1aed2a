"""Mean absolute attributions, and how far their shares have moved."""

import math

import numpy as np
import pandas as pd

from continuous_training.core.scores import DriftScore
from continuous_training.core.task import Features
from continuous_training.detectors._columns import Floats, read_every_number, too_few
from continuous_training.detectors.attribution import Attribution
from continuous_training.detectors.base import ATTRIBUTION_PREFIX, Prepared


def prepare(detector: Attribution, frame: pd.DataFrame, features: Features) -> Prepared:
    """Return the mean absolute attribution of each feature over the rows that have all of them."""
    columns = [ATTRIBUTION_PREFIX + name for name in features.columns]
    means, rows = np.zeros(len(columns)), 0
    if set(columns) <= set(frame.columns):
        values = np.column_stack([read_every_number(frame[column], detector.kind) for column in columns])
        values = values[np.isfinite(values).all(axis=1)]
        rows = len(values)
        with np.errstate(over="ignore"):
            means = np.abs(values).mean(axis=0) if rows else means
    return {"columns": np.array(columns, dtype=np.str_), "means": means, "rows": np.array(rows)}


def score(detector: Attribution, prepared: Prepared, frame: pd.DataFrame, features: Features) -> DriftScore:
    """Measure the window; note why where that cannot be done."""
    current = prepare(detector, frame, features)
    rows = int(prepared["rows"]), int(current["rows"])
    note, moved = too_few(detector.min_rows, *rows), None
    if not all(rows):
        note = f"{note}; columns {ATTRIBUTION_PREFIX}<feature> hold the parts of each prediction, where the model explains it"
    elif prepared["columns"].tolist() != current["columns"].tolist():
        note = "the reference was explained by other features; prepare it again"
    if not note:
        moved = float(np.abs(_shares(current["means"]) - _shares(prepared["means"])).sum() / 2)
        if not math.isfinite(moved):
            moved, note = None, "the attributions are all zero, or too large to add up"
    return DriftScore(
        detector=detector.known_as,
        statistic=moved,
        effect=moved,
        measure="statistic",
        threshold=detector.threshold,
        reference_rows=rows[0],
        current_rows=rows[1],
        note=note,
    )


def _shares(means: Floats) -> Floats:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        shares: Floats = means / means.sum()
    return shares
