"""Rows with and without a value, and the test of two such pairs."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from continuous_training.core.scores import DriftScore
from continuous_training.core.task import Features
from continuous_training.detectors import _chi_square, _columns
from continuous_training.detectors._columns import Counts, Distance
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.missing import Missing

_FEW = 5  # expected rows below which the z-test says too much


def fit(detector: Missing, reference: pd.DataFrame, features: Features) -> Prepared:
    """Return names and counts of the columns; a column that the reference lacks has no rows."""
    columns = _columns.chosen(detector, features)
    _columns.require_features(detector, reference, columns, features)
    return {"columns": np.array(columns, dtype=np.str_), "counts": _count(reference, columns)}


def tally(detector: Missing, prepared: Prepared, rows: pd.DataFrame, features: Features) -> Counts:
    """Return for each column the rows with a value and those without."""
    columns = _columns.chosen(detector, features)
    _columns.require_same(detector, prepared, columns)
    _columns.require_features(detector, rows, columns, features)
    return _count(rows, columns)


def measure(detector: Missing, prepared: Prepared, counts: Counts, features: Features) -> list[DriftScore]:
    """Measure each column."""
    columns = _columns.chosen(detector, features)
    _columns.require_same(detector, prepared, columns)
    tables = np.stack([prepared["counts"], counts], axis=1)
    distances = [_distance(detector, column, table) for column, table in zip(columns, tables, strict=True)]
    limit = detector.limit([distance.p_value for distance in distances])
    return [
        _columns.drift_score(detector, column, limit, (int(table[0].sum()), int(table[1].sum())), distance)
        for column, table, distance in zip(columns, tables, distances, strict=True)
    ]


def _count(frame: pd.DataFrame, columns: tuple[str, ...]) -> Counts:
    """Return for each column the rows with a value and those without."""
    counts = np.zeros((len(columns), 2), dtype=np.int64)
    for i, column in enumerate(columns):
        if column in frame.columns:
            usable = _usable(frame[column])
            counts[i] = usable, len(frame) - usable
    return counts


def _usable(series: "pd.Series[Any]") -> int:
    if series.dtype.kind == "f":
        return int(np.count_nonzero(np.isfinite(series.to_numpy(dtype=np.float64, na_value=np.nan))))
    return int(series.count())


def _distance(detector: Missing, column: str, table: Counts) -> Distance:
    reference_rows, current_rows = table.sum(axis=1).tolist()
    note = _columns.too_few(detector.min_rows, reference_rows, current_rows)
    if note:
        note = note.replace(" with a value", "")
        return Distance(note=note if reference_rows and current_rows else f"{note}; {_columns.absent(column)}")
    difference = float(table[1, 1] / current_rows - table[0, 1] / reference_rows)
    return Distance(difference, _p_value(table), difference)


def _p_value(table: Counts) -> float:
    without = table.sum(axis=0)
    if not without.all():
        return 1.0
    expected = table.sum(axis=1)[:, np.newaxis] * without / table.sum()
    if expected.min() < _FEW:
        return float(np.clip(fisher_exact(table).pvalue, 0, 1))
    p_value = _chi_square.measure(table, continuity=False).p_value
    assert p_value is not None
    return p_value
