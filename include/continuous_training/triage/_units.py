"""Tell that numbers are in another unit: undone by a known conversion they look usual, as they are they do not."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from continuous_training.triage._table import Floats, Ints

_FACTORS = {
    "10": 10.0, "100": 100.0, "1000": 1e3, "10^4": 1e4, "10^5": 1e5, "10^6": 1e6, "10^9": 1e9,
    "1.609344 (miles to kilometres)": 1.609344, "3.28084 (metres to feet)": 1 / 0.3048, "2.54 (inches to centimetres)": 2.54,
    "25.4 (inches to millimetres)": 25.4, "3.6 (m/s to km/h)": 3.6, "2.20462 (kilograms to pounds)": 2.204623,
    "28.3495 (ounces to grams)": 28.349523, "33.8639 (inHg to hPa)": 33.8639,
    "60": 60.0, "3600": 3600.0, "24": 24.0, "1440": 1440.0, "86400": 86400.0, "1024": 1024.0, "1048576": 1048576.0,
}  # fmt: skip
_RARE_FACTORS = {
    "1.852 (knots to km/h)": 1.852, "1.15078 (knots to mph)": 1.150779, "1.94384 (m/s to knots)": 1.943844,
    "2.23694 (m/s to mph)": 2.236936, "3.78541 (gallons to litres)": 3.785412, "6.89476 (psi to kPa)": 6.894757,
    "4.184 (calories to joules)": 4.184, "7": 7.0, "12": 12.0,
}  # fmt: skip
"""Tried only where the distinct values decide: a shape alone would fit one of so many factors by accident."""
_LARGE = 8.0
"""Factor from which a matching shape is enough: the world rarely multiplies by this from one window to the next."""
_UNMOVED = 9.0
"""Factor needed where the middle is about zero, so that only the spread tells: growing variance is a drift."""
_FAR = 3.0
"""Tolerances by which unusual values must differ before a unit is looked for."""
_NEARLY = 0.1
"""What may be left of the movement of the middle once a large factor is undone."""
_CERTAIN = 5.0
_PRECISE = 0.03
"""For a small factor the middle must move by many tolerances and land on the conversion almost exactly."""
_NOT_KNOWN, _KNOWN = 0.5, 0.95
"""Shares of values that are (not) among the distinct values of the reference, before and after undoing."""
_LISTED_ROWS = 20
_TINY = 1e-300
_EXACT = 1e-9
"""Relative difference of numbers that only differ in how they were calculated."""


class Conversion(NamedTuple):
    """Values became `factor * value + offset`."""

    name: str
    factor: float
    offset: float


def _both_ways(factors: dict[str, float]) -> tuple[Conversion, ...]:
    times = (Conversion(f"multiplied by {name}", factor, 0.0) for name, factor in factors.items())
    return (*times, *(Conversion(f"divided by {name}", 1 / factor, 0.0) for name, factor in factors.items()))


CONVERSIONS = (
    *_both_ways(_FACTORS),
    Conversion("from Celsius to Fahrenheit", 1.8, 32.0),
    Conversion("from Fahrenheit to Celsius", 1 / 1.8, -32 / 1.8),
    Conversion("from Celsius to kelvin", 1.0, 273.15),
    Conversion("from kelvin to Celsius", 1.0, -273.15),
    Conversion("with the sign turned", -1.0, 0.0),
)


class Shape(NamedTuple):
    """Rows, tenth 1, quartiles and tenth 9 of some values."""

    rows: int
    lowest: float
    low: float
    middle: float
    high: float
    highest: float


def departed(shape: Shape, usual: Sequence[float]) -> bool:
    """Tell whether the middle or a spread are far from usual."""
    near = _tolerances(shape, usual)
    return near is not None and any(o > _FAR * n for o, n in zip(_off(shape, usual, 1.0, 0.0), near, strict=True))


def by_shape(shape: Shape, usual: Sequence[float]) -> Conversion | None:
    """Return the conversion after whose undoing middle and spreads are usual, while now they are far from it.

    `usual` is a row of what `movement` gives.
    """
    near = _tolerances(shape, usual)
    if near is None or not departed(shape, usual):
        return None
    now = _off(shape, usual, 1.0, 0.0)[0]
    found = []
    for conversion in CONVERSIONS:
        off = _off(shape, usual, conversion.factor, conversion.offset)
        parts = [o / n for o, n in zip(off, near, strict=True)]
        if max(parts) <= 1 and _plausible(conversion, now / near[0], off[0] / max(now, _TINY)):
            found.append((sum(parts), conversion))
    return min(found)[1] if found else None


def _tolerances(shape: Shape, usual: Sequence[float]) -> list[float] | None:
    """Return by how much the middle and the log spreads may be off: what is usual and what is chance."""
    if not all(map(math.isfinite, usual)) or shape.high <= shape.low:
        return None
    chance = 4 / math.sqrt(shape.rows)
    # standard errors for normal values: 1.25 deviations of the median, about 1.2 of the log of a spread; tails are heavier
    errors = (0.93 * math.exp(usual[2]), 1.6, 1.6)
    return [1.5 * radius + chance * error for radius, error in zip(usual[1::2], errors, strict=True)]


def _off(shape: Shape, usual: Sequence[float], factor: float, offset: float) -> list[float]:
    size = math.log(abs(factor))
    spreads = (math.log(shape.high - shape.low) - size, math.log(shape.highest - shape.lowest) - size)
    measured = ((shape.middle - offset) / factor, *spreads)
    return [abs(value - centre) for value, centre in zip(measured, usual[::2], strict=True)]


def is_large(conversion: Conversion) -> bool:
    """Tell whether a matching shape is enough for it."""
    return abs(math.log(abs(conversion.factor))) >= math.log(_LARGE)


def _plausible(conversion: Conversion, moved: float, left: float) -> bool:
    size = abs(math.log(abs(conversion.factor)))
    if moved <= _FAR:
        return size >= math.log(_UNMOVED)
    return left <= _NEARLY if is_large(conversion) else moved >= _CERTAIN and left <= _PRECISE


def by_values(values: Floats, known: Floats) -> Conversion | None:
    """Return the conversion after whose undoing the values are those the reference knows, while now most are not.

    This needs a column of few distinct values (`known`, sorted); then a handful of rows is enough. Conversions that
    were rounded are undone within their rounding, and a conversion counts only if values a little off it would not fit.
    """
    if known.size < _LISTED_ROWS or values.size < _LISTED_ROWS or _among(values, known, 0.0) > _NOT_KNOWN:
        return None
    rounding = _rounding(values)
    gap = float(np.median(np.diff(known)))
    for conversion in (*CONVERSIONS, *_both_ways(_RARE_FACTORS)):
        undone = (values - conversion.offset) / conversion.factor
        within = rounding / 2 / abs(conversion.factor) * 1.01
        if _among(undone, known, within) < _KNOWN:
            continue
        beside = np.mean([_among(undone + gap * part, known, within) for part in (0.382, -0.276)])
        if beside < _NOT_KNOWN:
            return conversion
    return None


def strange_cells(values: Floats, cells: Ints, count: int, known: Floats) -> NDArray[np.bool_]:
    """Tell in which of `count` cells most values are not among the known ones: only there `by_values` finds anything."""
    if known.size < _LISTED_ROWS:
        return np.zeros(count, dtype=bool)
    strange = _nearest(values, known) > _EXACT * np.abs(values)
    inside = cells >= 0
    rows = np.bincount(cells[inside], minlength=count)
    result: NDArray[np.bool_] = np.bincount(cells[inside & strange], minlength=count) > _NOT_KNOWN * rows
    return result


def _among(values: Floats, known: Floats, within: float) -> float:
    return float(np.mean(_nearest(values, known) <= np.maximum(within, _EXACT * np.abs(values))))


def _nearest(values: Floats, known: Floats) -> Floats:
    """Return the distance of each value to the nearest known one."""
    place = np.searchsorted(known, values)
    below, above = known[np.maximum(place - 1, 0)], known[np.minimum(place, known.size - 1)]
    distance: Floats = np.minimum(np.abs(values - below), np.abs(values - above))
    return distance


def _rounding(values: Floats) -> float:
    """Return the decimal step that all values are multiples of, 0 when they have more than four decimals."""
    for step in (1.0, 0.1, 0.01, 0.001, 0.0001):
        scaled = values / step
        if np.all(np.abs(scaled - np.round(scaled)) < 1e-6 * np.maximum(1, np.abs(scaled))):
            return step
    return 0.0
