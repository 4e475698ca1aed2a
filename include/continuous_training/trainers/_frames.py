"""The maths of the preparation for pandas: a million rows at a time."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from continuous_training.core.errors import DataInvalid
from continuous_training.trainers import _preparation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from continuous_training.trainers.preparation import Class

MOST_CATEGORIES = 10_000
MOST_CLASSES = 100
MOST_RELEVANT = 30  # a gain is 2 ** relevance - 1, and LightGBM knows 31 of them


def numbers(name: str, series: pd.Series) -> Any:
    """Return the numbers of a column, missing ones as NaN."""
    plain = pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_complex_dtype(series.dtype)
    if not plain:
        return _preparation.numbers(name, series.tolist())
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def category_codes(name: str, series: pd.Series, codes: dict[str, float]) -> NDArray[np.float64]:
    """Return the code of each row: one look-up for each distinct value, not for each row."""
    places, texts = _distinct(name, series)
    other = float(len(codes))
    # The last element is what place -1 finds: missing.
    table = np.array([np.nan if text is None else codes.get(text, other) for text in texts] + [np.nan])
    codes_by_row: NDArray[np.float64] = table[places]
    return codes_by_row


def categories(frame: pd.DataFrame, name: str, rare: int) -> tuple[str, ...]:
    """Return the categories of a column that at least `rare` rows have, sorted."""
    places, texts = _distinct(name, _preparation.column(frame, name))
    counts: Counter[str] = Counter()
    for text, count in zip(texts, np.bincount(places[places >= 0], minlength=len(texts)).tolist(), strict=True):
        if text is not None:
            counts[text] += count
    frequent = sorted((-count, text) for text, count in counts.items() if count >= rare)
    return tuple(sorted(text for _, text in frequent[:MOST_CATEGORIES]))


def _distinct(name: str, series: pd.Series) -> tuple[NDArray[np.intp], list[str | None]]:
    """Return for each row the place of its category in the list that follows; -1 is missing."""
    if series.dtype == object and pd.api.types.infer_dtype(series, skipna=True) != "string":
        # Hashing calls True, 1 and 1.0 equal; as categories true is not 1.
        texts = [_preparation.category(name, value) for value in series.tolist()]
        series = pd.Series(texts, dtype=object)
    places, values = pd.factorize(series)
    return places, [_preparation.category(name, value) for value in values.tolist()]


def without_duplicates(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return the rows that differ from all rows before them in at least one of the named columns."""
    kinds = {name: _preparation.column(frame, name).dtype.kind for name in names}
    plain = [name for name, kind in kinds.items() if kind in "fiubM"]
    suspects = np.arange(len(frame))
    if plain:
        # Hashing numbers is cheap, text is not: only rows whose numbers agree are compared as a whole.
        hashes = pd.util.hash_pandas_object(frame[plain], index=False)
        suspects = suspects[hashes.duplicated(keep=False).to_numpy()]
    try:
        repeated = suspects[frame.iloc[suspects][list(names)].duplicated().to_numpy()]
    except TypeError as error:
        msg = f"rows cannot be compared: {error}; a column holds lists or objects; convert it; a retry gives the same"
        raise DataInvalid(msg) from error
    if not repeated.size:
        return frame
    keep = np.ones(len(frame), dtype=bool)
    keep[repeated] = False
    return frame[keep]


def regression_label(series: pd.Series, name: str, *, learn: bool) -> NDArray[np.float64]:
    """Return the label's numbers with NaN where it is unknown."""
    label = np.array(_preparation.numbers(name, series), dtype=np.float64)
    label[np.isinf(label)] = np.nan
    if learn and np.isnan(label).all():
        raise _no_label(name, len(label))
    return label


def relevance(series: pd.Series, name: str, *, learn: bool) -> NDArray[np.float64]:
    """Return the relevance of each row, a whole number from 0, with NaN where it is unknown."""
    label = regression_label(series, name, learn=learn)
    wrong = np.flatnonzero((label != np.floor(label)) & ~np.isnan(label) | (label < 0) | (label > MOST_RELEVANT))
    if wrong.size:
        msg = (
            f"label {name!r} holds {_preparation.shown(series.iloc[wrong[0]])}; a relevance is a whole number from 0 (not "
            f"relevant) to {MOST_RELEVANT}; if it is a quantity, write task: {{kind: regression}}; a retry gives the same"
        )
        raise DataInvalid(msg)
    return label


def class_label(
    series: pd.Series, name: str, classes: Sequence[Class] | None
) -> tuple[NDArray[np.float64], tuple[Class, ...]]:
    """Return the class number of each row with NaN where it is unknown, and the classes."""
    places, values = pd.factorize(series)
    seen = [_class(name, value) for value in values.tolist()]
    if classes is None:
        classes = _learned(name, len(series), seen)
    numbers = {value: float(number) for number, value in enumerate(classes)}
    table = np.array([np.nan if value is None else numbers.get(value, np.nan) for value in seen] + [np.nan])
    return table[places], tuple(classes)


def _learned(name: str, rows: int, seen: Sequence[Class | None]) -> tuple[Class, ...]:
    known = {value for value in seen if value is not None}
    if not known:
        raise _no_label(name, rows)
    if len(known) == 1:
        msg = (
            f"label {name!r} has the one class {_preparation.shown(*known)} in all {rows} training rows; a classifier "
            "needs two; use a longer reference window; a retry gives the same"
        )
        raise DataInvalid(msg)
    if len(known) > MOST_CLASSES:
        msg = (
            f"label {name!r} has {len(known)} classes, at most {MOST_CLASSES} are allowed; if it is a quantity, write "
            "task: {kind: regression}; a retry gives the same"
        )
        raise DataInvalid(msg)
    try:
        return tuple(sorted(known))
    except TypeError as error:
        msg = f"label {name!r} mixes text with numbers; use one type for all classes; a retry gives the same"
        raise DataInvalid(msg) from error


def _class(name: str, value: Any) -> Class | None:
    if isinstance(value, bool | int | str):
        return value
    if _preparation.missing(value) or (isinstance(value, float | Decimal) and not isfinite(value)):
        return None
    if not isinstance(value, float | Decimal) or not _preparation.whole(value):
        msg = (
            f"label {name!r} holds {_preparation.shown(value)}; classes are text, whole numbers or true/false; if it "
            "is a quantity, write task: {kind: regression}; a retry gives the same"
        )
        raise DataInvalid(msg)
    return int(value)


def _no_label(name: str, rows: int) -> DataInvalid:
    return DataInvalid(
        f"label {name!r} is missing in all {rows} training rows; check task.label and task.label_delay; "
        "a retry gives the same until labels arrive"
    )
