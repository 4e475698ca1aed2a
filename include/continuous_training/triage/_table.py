"""Read rows for triage: in time order, numbers as floats, categories as codes, and nothing that raises on bad values."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training.core.task import Features, Task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Profile = dict[str, NDArray[Any]]

PLACEHOLDERS = frozenset(
    {"", "na", "n/a", "nan", "none", "null", "nil", "unknown", "undefined", "missing", "-", "--", "?", "#n/a", "<na>"}
)
"""Names, in lower case, that stand for a missing category in files people and programs write."""

_CLASSES = {
    "string": "text",
    "bytes": "text",
    "empty": "empty",
    "datetime64": "time",
    "datetime": "time",
    "date": "time",
    "timedelta64": "time",
    "timedelta": "time",
    "integer": "number",
    "floating": "number",
    "mixed-integer-float": "number",
    "decimal": "number",
    "boolean": "number",
}


@dataclass(frozen=True)
class Categories:
    """The distinct names of a categorical column, sorted, and the place of each row's name; -1 is missing."""

    names: NDArray[np.str_]
    codes: Ints


@dataclass(frozen=True)
class Table:
    """The rows with an event time, in its order; `classes` says of each feature column what its values are."""

    times: Ints
    timeless: int
    numbers: dict[str, Floats]
    categories: dict[str, Categories]
    classes: dict[str, str]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return int(self.times.size)

    def values(self, column: str) -> Floats:
        """Return a column as floats with NaN for missing; categories as their codes."""
        if column in self.numbers:
            return self.numbers[column]
        codes = self.categories[column].codes
        return np.where(codes < 0, np.nan, codes)


def read(frame: pd.DataFrame, task: Task, features: Features) -> Table:
    """Return the rows of `frame`; the event time must be a column of it, a feature that is not is `absent`."""
    moments = _moments(frame[task.event_time])
    ticks = moments.to_numpy(dtype="datetime64[ns]").view(np.int64)
    known = moments.notna().to_numpy()
    order = np.flatnonzero(known)
    if order.size and np.any(np.diff(ticks[order]) < 0):
        order = order[np.argsort(ticks[order], kind="stable")]
    straight = order.size == len(frame) and bool((np.diff(order) == 1).all())
    numbers: dict[str, Floats] = {}
    categories: dict[str, Categories] = {}
    classes = {column: _class(frame[column]) if column in frame.columns else "absent" for column in features.columns}
    for column in features.numeric:
        if classes[column] != "absent":
            values = _numbers(frame[column])
            numbers[column] = values if straight else values[order]
    for column in features.categorical:
        if classes[column] != "absent":
            found = _categories(frame[column])
            categories[column] = found if straight else Categories(found.names, found.codes[order])
    return Table(ticks[order], int((~known).sum()), numbers, categories, classes)


def _moments(series: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return times in UTC; a time without a zone is read as UTC, what is no time is missing."""
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        return series.dt.tz_convert("UTC")
    textual = series.dtype.kind == "O" and pd.api.types.infer_dtype(series, skipna=True) == "string"
    return pd.to_datetime(series, errors="coerce", utc=True, format="ISO8601" if textual else None)


def _class(series: "pd.Series[Any]") -> str:
    """Return number, text, time, mixed or empty (nothing but missing values)."""
    if series.dtype.kind in "biuf":
        return "number" if series.dtype.kind != "f" or series.notna().any() else "empty"
    if series.dtype.kind in "mM":
        return "time" if series.notna().any() else "empty"
    values = series.cat.categories if isinstance(series.dtype, pd.CategoricalDtype) else series
    return _CLASSES.get(pd.api.types.infer_dtype(values, skipna=True), "mixed")


def _numbers(series: "pd.Series[Any]") -> Floats:
    if series.dtype.kind in "mM":
        return np.full(len(series), np.nan)
    if series.dtype.kind not in "biuf":
        series = pd.to_numeric(series.astype(object).where(series.notna(), np.nan), errors="coerce")
    values = (
        series.to_numpy(dtype=np.float64, na_value=np.nan)
        if not isinstance(series.dtype, np.dtype)
        else series.to_numpy(dtype=np.float64)
    )
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


def _categories(series: "pd.Series[Any]") -> Categories:
    codes, uniques = pd.factorize(series)
    texts = [_name(value) for value in uniques]
    names, place = np.unique(np.array(texts, dtype=np.str_), return_inverse=True)
    missing = np.array([name.strip().lower() in PLACEHOLDERS for name in names.tolist()], dtype=bool)
    kept = np.where(missing, -1, np.cumsum(~missing) - 1) if names.size else np.zeros(0, dtype=np.int64)
    lookup = np.append(kept[place], -1).astype(np.int64)
    return Categories(names[~missing], lookup[codes])


def _name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
