"""The maths of the preparation for lists and arrays. Needs numpy only: it runs for every request that is served."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from continuous_training.core.errors import DataInvalid

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    # Each column is a list, an array or a Series.
    Columns: TypeAlias = Mapping[str, Any] | pd.DataFrame

_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating, Decimal)
_SHOWN = 60  # characters of a value in an error
_LARGEST = sys.float_info.max


class Encoder:
    """Columns to a matrix, with everything that does not depend on the rows looked up once."""

    def __init__(
        self, ranges: Mapping[str, tuple[float | None, float | None]], categories: Mapping[str, Sequence[str]]
    ) -> None:
        self._names = [*ranges, *categories]
        # Comparing with the largest float sends infinities the way of other values that are out of range.
        self._low = np.array([-_LARGEST if low is None else low for low, _ in ranges.values()])
        self._high = np.array([_LARGEST if high is None else high for _, high in ranges.values()])
        self._codes = [{text: float(code) for code, text in enumerate(texts)} for texts in categories.values()]
        self._numeric = list(zip(ranges, self._low.tolist(), self._high.tolist(), strict=True))
        self._ranged = [
            (place, low, high)
            for place, (_, low, high) in enumerate(self._numeric)
            if (low, high) != (-_LARGEST, _LARGEST)
        ]
        self._categorical = list(zip(categories, self._codes, strict=True))

    def matrix(self, columns: Columns) -> NDArray[np.float64]:
        """Return the float64 matrix (rows, columns) of `columns`."""
        found = [column(columns, name) for name in self._names]
        rows = _rows(self._names, found)
        split = len(self._low)
        matrix = np.empty((rows, len(found)), order="F")  # columns are filled one by one: ten times faster than "C"
        for position in range(split):
            matrix[:, position] = numbers(self._names[position], found[position])
        for position, codes in enumerate(self._codes, start=split):
            matrix[:, position] = _category_codes(self._names[position], found[position], codes)
        block = matrix[:, :split]
        block[(block < self._low) | (block > self._high)] = nan
        return matrix

    def row(self, given: Mapping[str, Any]) -> list[float]:
        """Return one row as `matrix` does, in a fifth of its time."""
        try:
            values = [given[name] for name in self._names]
        except KeyError as error:
            raise _absent(*error.args) from None
        split = len(self._numeric)
        row = values[:split] if self._plain(values[:split]) else self._row_numbers(values)
        for (name, codes), value in zip(self._categorical, values[split:], strict=True):
            text = value if type(value) is str else category(name, value, 0)
            row.append(nan if text is None else codes.get(text, float(len(codes))))
        return row

    def _plain(self, values: list[Any]) -> bool:
        """Tell whether these are the numbers already, as in most requests; all but the last line runs in C."""
        if not set(map(type, values)) <= {float} or not isfinite(sum(values)):
            return False
        return all(low <= values[place] <= high for place, low, high in self._ranged)

    def _row_numbers(self, values: list[Any]) -> list[float]:
        row: list[float] = []
        for (name, low, high), value in zip(self._numeric, values, strict=False):
            number = _number(name, value, 0)
            row.append(nan if number < low or number > high else number)
        return row


def column(columns: Columns, name: str) -> Any:
    """Return the values of one column; they have a length."""
    if name not in columns:
        raise _absent(name)
    values = columns[name]
    listed = hasattr(values, "__len__") and getattr(values, "ndim", 1) == 1
    if not listed or isinstance(values, str | bytes | Mapping | set):
        msg = f"column {name!r} must be one list of values, got {shown(values)}; a retry gives the same"
        raise DataInvalid(msg)
    return values


def _absent(name: str) -> DataInvalid:
    msg = f"column {name!r} is missing; give a value, or null, for every feature; a retry gives the same"
    return DataInvalid(msg)


def _rows(names: Sequence[str], found: Sequence[Any]) -> int:
    rows = len(found[0])
    for name, values in zip(names, found, strict=True):
        if len(values) != rows:
            msg = (
                f"column {name!r} has {len(values)} values and column {names[0]!r} has {rows}; "
                "give every column the same number of rows; a retry gives the same"
            )
            raise DataInvalid(msg)
    return rows


def numbers(name: str, values: Any) -> Any:
    """Return the numbers of a column, missing ones as NaN; infinite ones stay."""
    if type(values) is list:  # the shortest way for a request
        return [value if type(value) is float else _number(name, value, row) for row, value in enumerate(values)]
    if isinstance(values, np.ndarray):
        if values.dtype.kind in "fiub":
            return values
        return [_number(name, value, row) for row, value in enumerate(_items(name, values))]
    if hasattr(values, "dtype"):
        from continuous_training.trainers import _frames

        return _frames.numbers(name, values)
    return [_number(name, value, row) for row, value in enumerate(values)]


def _items(name: str, array: NDArray[Any]) -> list[Any]:
    if array.dtype.kind in "mM":  # as a list, nanoseconds would pass for numbers
        msg = f"column {name!r} holds times ({array.dtype}); make numbers or text of them; a retry gives the same"
        raise DataInvalid(msg)
    items: list[Any] = array.tolist()
    return items


def _number(name: str, value: Any, row: int) -> float:
    if isinstance(value, _NUMBERS):
        try:
            return float(value)
        except OverflowError:
            return inf
        except ValueError:  # a signalling NaN of Decimal
            return nan
    if missing(value):
        return nan
    msg = (
        f"column {name!r} must hold numbers, got {shown(value)} in row {row}; "
        "convert it, or list the column under features.categorical; a retry gives the same"
    )
    raise DataInvalid(msg)


def _category_codes(name: str, values: Any, codes: dict[str, float]) -> Any:
    other = float(len(codes))
    if hasattr(values, "dtype") and not isinstance(values, np.ndarray):
        from continuous_training.trainers import _frames

        return _frames.category_codes(name, values, codes)
    if isinstance(values, np.ndarray):
        values = _items(name, values)
    texts = (value if type(value) is str else category(name, value, row) for row, value in enumerate(values))
    return [nan if text is None else codes.get(text, other) for text in texts]


def category(name: str, value: Any, row: int | None = None) -> str | None:
    """Return the text that names a category, or `None` when the value is missing.

    Whole numbers read the same however they are stored, because a column of integers with a gap arrives as floats.

    >>> category("gate", 5.0), category("gate", Decimal("5")), category("gate", float("nan"))
    ('5', '5', None)
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, _NUMBERS):
        return _number_text(value)
    if missing(value):
        return None
    place = "" if row is None else f" in row {row}"
    msg = (
        f"column {name!r} must hold categories: text, numbers or true/false; got {shown(value)}{place}; "
        "convert it to text; a retry gives the same"
    )
    raise DataInvalid(msg)


def _number_text(value: Any) -> str | None:
    if whole(value):
        return str(int(value))
    if isinstance(value, Decimal) and value.is_snan():
        return None
    number = float(value)
    return repr(number) if isfinite(number) else None


def whole(value: float | Decimal) -> bool:
    """Tell whether a number is whole; a Decimal too large for a float is not, because it must not be written out."""
    if isinstance(value, Decimal) and (not value.is_finite() or value.adjusted() >= sys.float_info.max_10_exp):
        return False
    return isfinite(value) and value == int(value)


def missing(value: Any) -> bool:
    """Tell whether `value` stands for nothing: None, and pandas' own signs for it, which numpy code may not import."""
    return value is None or type(value).__name__ in {"NAType", "NaTType"}


def shown(value: Any) -> str:
    """Return a value for an error message: short, with its type."""
    text = repr(value)
    return f"{text if len(text) <= _SHOWN else text[:_SHOWN] + '...'} ({type(value).__name__})"
