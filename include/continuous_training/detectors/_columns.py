"""Go over the columns of a frame: choose them, read their usable values, prepare and measure each."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training.core.errors import DataInvalid, UsageError
from continuous_training.core.scores import DriftScore
from continuous_training.core.task import Features
from continuous_training.detectors.base import (
    ColumnDetector,
    ColumnType,
    Detector,
    JointDetector,
    Prepared,
    PValueDetector,
    SelectingDetector,
)

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_DENSE = 4096


class Distance(NamedTuple):
    """How far one column has moved, or why that is not known."""

    statistic: float | None = None
    p_value: float | None = None
    effect: float | None = None
    note: str = ""


def read_numbers(series: "pd.Series[Any]", kind: str) -> Floats:
    """Return the finite numbers of `series` in row order, for a detector of `kind`."""
    values = read_every_number(series, kind)
    finite = np.isfinite(values)
    usable: Floats = values if finite.all() else values[finite]
    return usable


def read_every_number(series: "pd.Series[Any]", kind: str) -> Floats:
    """Return a number for each row of `series`, which is not finite where the value is missing."""
    try:
        if series.dtype.kind == "O":
            series = pd.to_numeric(series.astype(object).where(series.notna(), np.nan))
        if series.dtype.kind not in "biuf":
            raise TypeError(series.dtype)
        if isinstance(series.dtype, np.dtype):
            values: Floats = series.to_numpy(dtype=np.float64)
        else:
            values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        msg = (
            f"{kind} needs numbers in column {series.name!r}, which holds {series.dtype}; measure it with a detector "
            "of categories or convert it at the source; a retry gives the same"
        )
        raise DataInvalid(msg) from error
    return values


def read_categories(series: "pd.Series[Any]") -> tuple[NDArray[np.str_], Counts]:
    """Return the distinct values of `series` as sorted text, and how many rows have each.

    A whole number has one name whether it is stored as an integer or, beside missing values, as a float.
    """
    values, tally = _tally(series)
    names, place = np.unique(as_text(values), return_inverse=True)
    counts = np.zeros(names.size, dtype=np.int64)
    np.add.at(counts, place, tally)
    return names, counts


def as_text(values: Iterable[Any]) -> NDArray[np.str_]:
    """Return the names of categories."""
    return np.array([text_of(value) for value in values], dtype=np.str_)


def text_of(value: Any) -> str:
    """Return the name of a category."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _tally(series: "pd.Series[Any]") -> tuple[list[Any], Counts]:
    """Return the values that occur in `series`, in any order, and how often each does."""
    if series.dtype in (np.int64, np.int32) and len(series):
        codes = series.to_numpy(dtype=np.int64)
        low, high = int(codes.min()), int(codes.max())
        if high - low < _DENSE:  # several times faster than hashing each row
            shift = 0 if low >= 0 and high < _DENSE else low
            counts = np.bincount(codes - shift if shift else codes)
            present = np.flatnonzero(counts)
            return (present + shift).tolist(), counts[present]
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
    `counts` of a categorical one. Of a column that the reference lacks nothing is kept.
    """
    columns = chosen(detector, features)
    require_features(detector, reference, columns, features)
    numeric = np.array([is_numeric(detector, reference, column, features) for column in columns], dtype=np.bool_)
    prepared: Prepared = {"columns": np.array(columns, dtype=np.str_), "numeric": numeric}
    rows = np.zeros(len(columns), dtype=np.int64)
    for i, column in enumerate(columns):
        part: Prepared = {}
        if column in reference.columns and numeric[i]:
            values = read_numbers(reference[column], detector.kind)
            part, rows[i] = prepare(values), values.size
        elif column in reference.columns:
            names, counts = read_categories(reference[column])
            part, rows[i] = {"categories": names, "counts": counts}, counts.sum()
        prepared.update({f"{i}.{name}": array for name, array in part.items()})
    return prepared | {"rows": rows}


class Measures(NamedTuple):
    """How a column is measured once the rows of the window are in.

    `numbers` is given what was kept of a numeric column and the window's values. With `bins`, which says how many of
    some values lie in each bin whose `counts` were kept, a numeric column is measured by `table` instead. `table` is
    given the rows of each category: the reference's in row 0, the window's in row 1; categories that the reference does
    not have are counted together as one, last, as they are for the model. `categories` is given the rows of each
    category of both sides and replaces `table` where new ones count singly.

    `marked` is what replaces `numbers` where a window is read in parts: it is given how the values lie between some of
    the reference's, which adds up as values do not.
    """

    numbers: Callable[[Prepared, Floats], Distance] = _unused
    table: Callable[[Counts], Distance] = _unused
    bins: Callable[[Prepared, Floats], Counts] | None = None
    categories: Callable[[Counts, Counts], Distance] | None = None
    marked: Callable[[Prepared, Floats], Distance] | None = None


def absent(column: str) -> str:
    """Say why a column that is not a feature may be absent or empty."""
    return f"{column} is there where a model has predicted, or once labels are known"


def too_few(needed: int, reference_rows: int, current_rows: int) -> str:
    """Say which side has fewer usable rows than `needed`; nothing when both have enough."""
    for side, rows in (("reference", reference_rows), ("current", current_rows)):
        if rows < needed:
            return f"the {side} window has {rows} rows with a value; at least {needed} are needed"
    return ""


def drift_score(
    detector: ColumnDetector | JointDetector,
    column: str | None,
    limit: float,
    sizes: tuple[int, int],
    distance: Distance,
) -> DriftScore:
    """Return the score of a column, or of all columns together."""
    return DriftScore(
        detector=detector.known_as,
        column=column,
        statistic=distance.statistic,
        p_value=distance.p_value,
        effect=distance.effect,
        measure=detector.compares if isinstance(detector, ColumnDetector) else "p_value",
        threshold=limit,
        minimum_effect=detector.minimum_effect if isinstance(detector, PValueDetector | JointDetector) else 0.0,
        reference_rows=sizes[0],
        current_rows=sizes[1],
        note=distance.note,
    )


def chosen(detector: SelectingDetector, features: Features) -> tuple[str, ...]:
    """Return the columns that `detector` measures, in order."""
    if detector.columns == "all":
        return tuple(c for c in features.columns if _feature_type(c, features) in detector.types)
    return detector.columns


def require_features(detector: Detector, frame: pd.DataFrame, columns: tuple[str, ...], features: Features) -> None:
    """Raise `DataInvalid` where a feature is not in the data; other columns may be absent."""
    missing = [column for column in columns if column in features.columns and column not in frame.columns]
    if missing:
        msg = (
            f"{detector.known_as} measures {_listed(missing)}, but the columns of the data are "
            f"{_listed(frame.columns)}; correct `columns` or the source; a retry gives the same"
        )
        raise DataInvalid(msg)


def require_same(detector: Detector, prepared: Prepared, columns: tuple[str, ...]) -> None:
    """Raise `UsageError` where the reference was prepared for other columns."""
    if columns != tuple(prepared["columns"].tolist()):
        msg = (
            f"{detector.known_as} measures {_listed(columns)} but its reference was prepared for "
            f"{_listed(prepared['columns'].tolist())}; prepare the reference again; a retry gives the same"
        )
        raise UsageError(msg)


def _feature_type(column: str, features: Features) -> ColumnType | None:
    if column in features.numeric:
        return "numeric"
    return "categorical" if column in features.categorical else None


def is_numeric(detector: SelectingDetector, frame: pd.DataFrame, column: str, features: Features) -> bool:
    """Tell how to measure a column: the only way there is, else as the model uses it, else by its type."""
    if len(detector.types) == 1:
        return "numeric" in detector.types
    feature = _feature_type(column, features)
    return feature == "numeric" if feature else column in frame.columns and frame[column].dtype.kind in "iuf"


def parts(prepared: Prepared) -> list[Prepared]:
    found: list[Prepared] = [{} for _ in prepared["columns"]]
    for key, array in prepared.items():
        place, dot, name = key.partition(".")
        if dot:
            found[int(place)][name] = array
    return found


def place_among(known: NDArray[np.str_], names: NDArray[np.str_]) -> NDArray[np.intp]:
    """Return where each name is among the sorted `known` ones; those that are not come after the last."""
    place = np.searchsorted(known, names)
    return np.where(np.append(known, "")[place] == names, place, known.size)


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
