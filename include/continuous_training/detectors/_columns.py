"""Go over the columns of a frame: choose them, read their usable values, prepare and measure each."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training.core.errors import DataInvalid, UsageError
from continuous_training.core.scores import DriftScore
from continuous_training.core.task import Features
from continuous_training.detectors.base import ColumnDetector, ColumnType, Prepared

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_DENSE = 4096


class Distance(NamedTuple):
    """How far one column has moved."""

    statistic: float
    p_value: float | None
    effect: float


def read_numbers(series: "pd.Series[Any]", kind: str) -> Floats:
    """Return the finite numbers of `series` in row order, for a detector of `kind`."""
    try:
        if series.dtype.kind == "O":
            series = pd.to_numeric(series.astype(object).where(series.notna(), np.nan))
        if series.dtype.kind not in "biuf":
            raise TypeError(series.dtype)
        if isinstance(series.dtype, np.dtype):
            values = series.to_numpy(dtype=np.float64)
        else:
            values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        msg = (
            f"{kind} needs numbers in column {series.name!r}, which holds {series.dtype}; measure it with a detector "
            "of categories or convert it at the source; a retry gives the same"
        )
        raise DataInvalid(msg) from error
    finite = np.isfinite(values)
    usable: Floats = values if finite.all() else values[finite]
    return usable


def read_categories(series: "pd.Series[Any]") -> tuple[NDArray[np.str_], Counts]:
    """Return the distinct values of `series` as sorted text, and how many rows have each.

    A whole number has one name whether it is stored as an integer or, beside missing values, as a float.
    """
    values, tally = _tally(series)
    texts = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in values]
    names, place = np.unique(np.array(texts, dtype=np.str_), return_inverse=True)
    counts = np.zeros(names.size, dtype=np.int64)
    np.add.at(counts, place, tally)
    return names, counts


def _tally(series: "pd.Series[Any]") -> tuple[list[Any], Counts]:
    """Return the values that occur in `series`, in any order, and how often each does."""
    if series.dtype in (np.int64, np.int32) and len(series):
        codes = series.to_numpy(dtype=np.int64)
        low = int(codes.min())
        if int(codes.max()) - low < _DENSE:  # several times faster than hashing each row
            counts = np.bincount(codes - low)
            present = np.flatnonzero(counts)
            return (present + low).tolist(), counts[present]
    counted = series.value_counts(sort=False)
    counted = counted[counted > 0]
    return counted.index.tolist(), counted.to_numpy(dtype=np.int64)


def keep(values: Floats) -> Prepared:
    """Return the values themselves, for a test that needs them all."""
    return {"values": values}


def spread(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    """Return `rows` evenly spaced rows of `frame`, or all of them when there are no more."""
    return frame if len(frame) <= rows else frame.iloc[np.arange(rows) * len(frame) // rows]


def _unused(*_: object) -> Any:
    msg = "the detector declares a type of column that it does not measure"
    raise AssertionError(msg)


def fit(
    detector: ColumnDetector,
    reference: pd.DataFrame,
    features: Features,
    *,
    prepare: Callable[[Floats], Prepared] = _unused,
) -> Prepared:
    """Return names, types and usable rows of the detector's columns, and what is kept of each.

    The arrays of column `i` are named `i.<name>`: those that `prepare` makes of a numeric column, `categories` and
    `counts` of a categorical one.
    """
    columns = _chosen(detector, reference, features)
    numeric = [_is_numeric(detector, reference[column], features) for column in columns]
    prepared: Prepared = {"columns": np.array(columns, dtype=np.str_), "numeric": np.array(numeric, dtype=np.bool_)}
    rows = np.zeros(len(columns), dtype=np.int64)
    for i, column in enumerate(columns):
        if numeric[i]:
            values = read_numbers(reference[column], detector.kind)
            part, rows[i] = prepare(values), values.size
        else:
            names, counts = read_categories(reference[column])
            part, rows[i] = {"categories": names, "counts": counts}, counts.sum()
        prepared.update({f"{i}.{name}": array for name, array in part.items()})
    return prepared | {"rows": rows}


def score(
    detector: ColumnDetector,
    prepared: Prepared,
    current: pd.DataFrame,
    features: Features,
    *,
    numbers: Callable[[Prepared, Floats], Distance] = _unused,
    table: Callable[[Counts], Distance] = _unused,
) -> list[DriftScore]:
    """Measure each column.

    `numbers` is given what was kept of a numeric column and the window's values, `table` the rows of each category:
    the reference's in row 0, the window's in row 1. Categories that the reference does not have are counted together
    as one, last, as they are for the model.
    """
    columns = _chosen(detector, current, features)
    if columns != tuple(prepared["columns"].tolist()):
        msg = (
            f"{detector.kind} measures {_listed(columns)} but its reference was prepared for "
            f"{_listed(prepared['columns'].tolist())}; prepare the reference again; a retry gives the same"
        )
        raise UsageError(msg)
    limit = detector.limit(len(columns))
    if not columns:
        note = f"the model has no {' or '.join(sorted(detector.types))} features"
        return [_score(detector, None, limit, (0, len(current)), note=note)]
    scores = []
    parts = _parts(prepared)
    for column, part, rows, numeric in zip(columns, parts, prepared["rows"], prepared["numeric"], strict=True):
        if numeric:
            values = read_numbers(current[column], detector.kind)
            sizes, measure = (int(rows), values.size), partial(numbers, part, values)
        else:
            counts = _table(part, *read_categories(current[column]))
            sizes, measure = (int(rows), int(counts[1].sum())), partial(table, counts)
        note = too_few(detector.min_rows, *sizes)
        scores.append(_score(detector, column, limit, sizes, measure() if not note else None, note))
    return scores


def too_few(needed: int, reference_rows: int, current_rows: int) -> str:
    """Say which side has fewer usable rows than `needed`; nothing when both have enough."""
    for side, rows in (("reference", reference_rows), ("current", current_rows)):
        if rows < needed:
            return f"the {side} window has {rows} rows with a value; at least {needed} are needed"
    return ""


def _score(
    detector: ColumnDetector,
    column: str | None,
    limit: float,
    sizes: tuple[int, int],
    distance: Distance | None = None,
    note: str = "",
) -> DriftScore:
    return DriftScore(
        detector=detector.kind,
        column=column,
        statistic=distance.statistic if distance else None,
        p_value=distance.p_value if distance else None,
        effect=distance.effect if distance else None,
        measure=detector.measure,
        threshold=limit,
        reference_rows=sizes[0],
        current_rows=sizes[1],
        note=note,
    )


def _chosen(detector: ColumnDetector, frame: pd.DataFrame, features: Features) -> tuple[str, ...]:
    if detector.columns == "all":
        columns = tuple(c for c in features.columns if _feature_type(c, features) in detector.types)
    else:
        columns = detector.columns
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        msg = (
            f"{detector.kind} measures {_listed(missing)}, but the columns of the data are {_listed(frame.columns)}; "
            "correct `columns` or the source; a retry gives the same"
        )
        raise DataInvalid(msg)
    return columns


def _feature_type(column: str, features: Features) -> ColumnType | None:
    if column in features.numeric:
        return "numeric"
    return "categorical" if column in features.categorical else None


def _is_numeric(detector: ColumnDetector, series: "pd.Series[Any]", features: Features) -> bool:
    """Tell how to measure a column: the only way there is, else as the model uses it, else by its type."""
    if len(detector.types) == 1:
        return "numeric" in detector.types
    feature = _feature_type(str(series.name), features)
    return feature == "numeric" if feature else series.dtype.kind in "iuf"


def _parts(prepared: Prepared) -> list[Prepared]:
    parts: list[Prepared] = [{} for _ in prepared["columns"]]
    for key, array in prepared.items():
        place, dot, name = key.partition(".")
        if dot:
            parts[int(place)][name] = array
    return parts


def _table(part: Prepared, names: NDArray[np.str_], counts: Counts) -> Counts:
    known = part["categories"]
    table = np.zeros((2, known.size + 1), dtype=np.int64)
    table[0, :-1] = part["counts"]
    place = np.searchsorted(known, names)
    unseen = np.append(known, "")[place] != names
    np.add.at(table[1], np.where(unseen, known.size, place), counts)
    return table if table[1, -1] else table[:, :-1]


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
