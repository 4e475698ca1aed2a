"""Read the rows of a window column by column into what adds up over its parts, and measure each column by it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training.core.scores import DriftScore
from continuous_training.core.task import Features
from continuous_training.detectors import _columns, _marks
from continuous_training.detectors._columns import Counts, Distance, Measures
from continuous_training.detectors.base import ColumnDetector, Prepared


@dataclass(frozen=True)
class Tally:
    """Some rows of a window: how many, and of each column how many have a value and what was read of them.

    What was read is `None` where the column is absent, and adds up otherwise; its size depends on the reference.
    """

    total: int
    rows: tuple[int, ...]
    read: tuple[Any, ...]

    def __add__(self, other: "Tally") -> "Tally":
        """Return the tally of both together."""
        return Tally(
            self.total + other.total,
            tuple(one + two for one, two in zip(self.rows, other.rows, strict=True)),
            tuple(
                two if one is None else one if two is None else one + two
                for one, two in zip(self.read, other.read, strict=True)
            ),
        )


def score(
    detector: ColumnDetector, prepared: Prepared, current: pd.DataFrame, features: Features, measures: Measures
) -> list[DriftScore]:
    """Measure each column of rows that are all there."""
    whole = measures._replace(marked=None)
    return measure(detector, prepared, tally(detector, prepared, current, features, whole), features, whole)


def tally(
    detector: ColumnDetector, prepared: Prepared, rows: pd.DataFrame, features: Features, measures: Measures
) -> Tally:
    """Return what `measure` needs to know of some rows; without `marked`, the values of a numeric column themselves."""
    columns = _columns.chosen(detector, features)
    _columns.require_same(detector, prepared, columns)
    _columns.require_features(detector, rows, columns, features)
    counted: list[int] = []
    read: list[Any] = []
    for column, part, known, numeric in _kept(prepared):
        of_column = (0, None)
        if column in rows.columns:
            series = rows[column]
            of_column = _read(detector, measures, part, series, numeric) if known else (int(series.count()), None)
        counted.append(of_column[0])
        read.append(of_column[1])
    return Tally(len(rows), tuple(counted), tuple(read))


def _read(
    detector: ColumnDetector, measures: Measures, part: Prepared, series: "pd.Series[Any]", numeric: bool
) -> tuple[int, Any]:
    if numeric:
        values = _columns.read_numbers(series, detector.kind)
        if measures.bins is not None:
            return values.size, measures.bins(part, values)
        return values.size, values if measures.marked is None else _marks.between(_marks.edges(part), values)
    names, counts = _columns.read_categories(series)
    if measures.categories is not None:
        return int(counts.sum()), Counter(dict(zip(names.tolist(), counts.tolist(), strict=True)))
    return int(counts.sum()), _row(part["categories"], names, counts)


def measure(
    detector: ColumnDetector, prepared: Prepared, tally: Tally, features: Features, measures: Measures
) -> list[DriftScore]:
    """Return the distance of each column from the reference, or why there is none."""
    kept = _kept(prepared)
    if not kept:
        note = f"the model has no {' or '.join(sorted(detector.types))} features"
        return [_columns.drift_score(detector, None, detector.limit([]), (0, tally.total), Distance(note=note))]
    _columns.require_same(detector, prepared, _columns.chosen(detector, features))
    distances = []
    for (column, part, known, numeric), rows, read in zip(kept, tally.rows, tally.read, strict=True):
        note = _columns.too_few(detector.min_rows, known, rows)
        if note and (read is None or not known):
            note = f"{note}; {_columns.absent(column)}"
        distances.append(Distance(note=note) if note else _distance(measures, part, numeric, read))
    limit = detector.limit([distance.p_value for distance in distances])
    return [
        _columns.drift_score(detector, column, limit, (known, rows), distance)
        for (column, _, known, _), rows, distance in zip(kept, tally.rows, distances, strict=True)
    ]


def _distance(measures: Measures, part: Prepared, numeric: bool, read: Any) -> Distance:
    if numeric and measures.bins is None:
        return measures.numbers(part, read) if measures.marked is None else measures.marked(part, read)
    known = part["counts"]
    if not numeric and measures.categories is not None:
        return measures.categories(known, np.fromiter(read.values(), dtype=np.int64))
    if not numeric and read[-1]:
        known = np.append(known, 0)
    return measures.table(np.stack([known, read[: known.size]]))


def _kept(prepared: Prepared) -> list[tuple[str, Prepared, int, bool]]:
    """Return of each column its name, what was kept, the rows of the reference and whether it is measured as numbers."""
    columns, rows, numeric = (prepared[name].tolist() for name in ("columns", "rows", "numeric"))
    return list(zip(columns, _columns.parts(prepared), rows, numeric, strict=True))


def _row(known: NDArray[np.str_], names: NDArray[np.str_], counts: Counts) -> Counts:
    """Return the rows of each of the `known` categories, and last those of all others."""
    row = np.zeros(known.size + 1, dtype=np.int64)
    np.add.at(row, _columns.place_among(known, names), counts)
    return row
