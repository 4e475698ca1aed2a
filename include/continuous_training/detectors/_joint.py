"""Read rows whole: numbers and categories of all columns as one table of numbers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training.core.scores import DriftScore
from continuous_training.core.task import Features
from continuous_training.detectors import _columns
from continuous_training.detectors._columns import Distance, Floats
from continuous_training.detectors.base import JointDetector, Prepared


class Table(NamedTuple):
    """Rows that have a value in any column.

    `numbers` has NaN where one is missing. `codes` has the place of each category among those of the reference, whose
    number is in `sizes` and stands for all others; -1 where it is missing.
    """

    numbers: Floats
    codes: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64] | slice) -> "Table":
        """Return some of the rows."""
        return Table(self.numbers[rows], self.codes[rows], self.sizes)

    def sample(self, rows: int) -> "Table":
        """Return `rows` evenly spaced rows, or all when there are no more."""
        have = len(self.numbers)
        return self if have <= rows else self.take(np.arange(rows) * have // rows)

    def matrix(self) -> Floats:
        """Return numbers and codes side by side, NaN where missing."""
        return np.hstack([self.numbers, np.where(self.codes < 0, np.nan, self.codes)])


def fit(detector: JointDetector, reference: pd.DataFrame, features: Features) -> tuple[Prepared, Table]:
    """Return how to read rows, and the reference read so. Columns without a value in the reference are left out."""
    columns = _columns.chosen(detector, features)
    _columns.require_features(detector, reference, columns, features)
    present = [column for column in columns if column in reference.columns]
    prepared: Prepared = {"columns": np.array(columns, dtype=np.str_)}
    used, numeric = [], []
    for column in present:
        is_number = _columns.is_numeric(detector, reference, column, features)
        if is_number and _columns.read_numbers(reference[column], detector.kind).size:
            used.append(column)
            numeric.append(True)
        elif not is_number and reference[column].notna().any():
            prepared[f"{len(used)}.categories"] = _columns.read_categories(reference[column])[0]
            used.append(column)
            numeric.append(False)
    prepared |= {"used": np.array(used, dtype=np.str_), "numeric": np.array(numeric, dtype=np.bool_)}
    table = read(detector, prepared, reference)
    return prepared | {"rows": np.array(len(table.numbers))}, table


def read(detector: JointDetector, prepared: Prepared, frame: pd.DataFrame) -> Table:
    """Return the rows of `frame` that have a value."""
    numbers, codes, sizes = [], [], []
    for i, (column, numeric) in enumerate(zip(prepared["used"].tolist(), prepared["numeric"].tolist(), strict=True)):
        if numeric:
            values = _columns.read_every_number(frame[column], detector.kind)
            numbers.append(np.where(np.isfinite(values), values, np.nan))
        else:
            known = prepared[f"{i}.categories"]
            codes.append(_codes(known, frame[column]))
            sizes.append(known.size)
    table = Table(
        np.column_stack(numbers) if numbers else np.empty((len(frame), 0)),
        np.column_stack(codes) if codes else np.empty((len(frame), 0), dtype=np.int64),
        np.array(sizes, dtype=np.int64),
    )
    some = ~np.isnan(table.numbers).all(axis=1) | (table.codes >= 0).any(axis=1)
    return table if some.all() else table.take(np.flatnonzero(some))


def score(
    detector: JointDetector,
    prepared: Prepared,
    current: pd.DataFrame,
    features: Features,
    measure: Callable[[Any, Prepared, Table], Distance],
) -> list[DriftScore]:
    """Return the one score of all columns."""
    columns = _columns.chosen(detector, features)
    _columns.require_same(detector, prepared, columns)
    _columns.require_features(detector, current, columns, features)
    reference_rows, rows = int(prepared["rows"]), 0
    gone = [column for column in prepared["used"].tolist() if column not in current.columns]
    if not columns:
        note = f"the model has no {' or '.join(sorted(detector.types))} features"
    elif gone:
        note = f"the current window has no column {gone[0]}; {_columns.absent(gone[0])}"
    else:
        table = read(detector, prepared, current)
        rows = len(table.numbers)
        note = _columns.too_few(detector.min_rows, reference_rows, rows)
    distance = Distance(note=note) if note else measure(detector, prepared, table)
    return [_columns.drift_score(detector, None, detector.p_value, (reference_rows, rows), distance)]


def _codes(known: NDArray[np.str_], series: "pd.Series[Any]") -> NDArray[np.int64]:
    try:
        place, values = pd.factorize(series)
    except TypeError:  # lists and other values that have no hash: their text has one
        place, values = pd.factorize(series.map(str, na_action="ignore"))
    codes = np.append(_columns.place_among(known, _columns.as_text(values)), -1)
    coded: NDArray[np.int64] = codes[place].astype(np.int64)
    return coded
