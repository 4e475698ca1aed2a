"""Count values between marks, which are values of the reference: a summary of any number of rows that adds up.

Between two neighbouring values of the reference its distribution function is constant and the window's only grows, so
the gap between the two is largest at a mark. With a mark at each value of the reference the gap is exact; with fewer,
it is off by at most the share of the reference between two of them, two in `MOST`.
"""

import numpy as np

from continuous_training.detectors._columns import Distance, Floats
from continuous_training.detectors._kolmogorov import tail
from continuous_training.detectors.base import Prepared

MOST = 65_536


def edges(part: Prepared) -> Floats:
    """Return the marks of a column, sorted: all values of the reference, or those that divide its rows evenly.

    The values at either end are marks then too: few rows, but far apart.
    """
    values: Floats = part["values"]
    if values.size <= MOST:
        return values
    places = np.searchsorted(_shares(part)[1:], np.linspace(0, 1, MOST // 2))
    ends = np.arange(MOST // 4)
    chosen: Floats = values[
        np.unique(np.concatenate((np.minimum(places, values.size - 1), ends, values.size - 1 - ends)))
    ]
    return chosen


def between(marks: Floats, values: Floats) -> Floats:
    """Return the number (row 0) and the sum (row 1) of the values in each place.

    Place `2 * i` is below mark `i` and above the one before, place `2 * i + 1` is the mark itself.
    """
    place = np.searchsorted(marks, values, side="left")
    inside = np.minimum(place, marks.size - 1)
    place += place  # twice the number of marks below
    place += marks[inside] == values
    size = 2 * marks.size + 1
    return np.stack([np.bincount(place, minlength=size), np.bincount(place, weights=values, minlength=size)])


def kolmogorov(part: Prepared, read: Floats) -> Distance:
    """Return the largest gap between the distribution functions, with its asymptotic p-value."""
    reference, current = _functions(part, read)
    gap = float(np.abs(current - reference).max())
    rows = float(part["cumulative"][-1]), float(read[0].sum())
    return Distance(gap, tail(gap, float(np.round(max(rows) * min(rows) / sum(rows)))), gap)


def wasserstein(part: Prepared, read: Floats) -> Distance:
    """Return the area between the distribution functions in units of the reference's spread.

    It is exact but for the places inside which the two functions cross: there the gap is taken to change evenly.
    """
    unit = float(part["unit"])
    if not unit:
        return Distance(note="the column has no spread in the reference, so there is no unit to measure in")
    marks, (reference, current) = edges(part), _functions(part, read)
    rows = read[0].sum()
    with np.errstate(over="ignore", invalid="ignore"):
        tails = read[0][0] * marks[0] - read[1][0], read[1][-1] - read[0][-1] * marks[-1]
        widths = np.diff(marks)
        # the area under a function between two marks: its value at the first, and each value's way to the second
        inside = read[0][2:-1:2] * marks[1:] - read[1][2:-1:2]
        signed = current[1, :-1] * widths + inside / rows - _reference_area(part, marks, reference, widths)
        first, last = current[1, :-1] - reference[1, :-1], current[0, 1:] - reference[0, 1:]
        apart = np.abs(first) + np.abs(last)
        crossed = np.where(first * last < 0, widths * (first**2 + last**2) / np.where(apart > 0, 2 * apart, 1), 0)
        distance = float((sum(tails) / rows + np.maximum(np.abs(signed), crossed).sum()) / unit)
    if not (np.isfinite(unit) and np.isfinite(distance)):
        return Distance(note="the column has numbers that are too large to measure a distance between")
    return Distance(distance, None, distance)


def _reference_area(part: Prepared, marks: Floats, reference: Floats, widths: Floats) -> Floats:
    """Return the area under the reference's distribution function between each two marks."""
    level: Floats = reference[1, :-1] * widths
    if marks.size == part["values"].size:
        return level
    values, shares = part["values"], np.diff(_shares(part))
    place = np.searchsorted(marks, values, side="left")
    hidden = marks[np.minimum(place, marks.size - 1)] != values
    ways = shares[hidden] * (marks[place[hidden]] - values[hidden])
    return level + np.bincount(place[hidden] - 1, weights=ways, minlength=widths.size)


def _functions(part: Prepared, read: Floats) -> tuple[Floats, Floats]:
    """Return the reference's distribution function just before (row 0) and at (row 1) each mark, and the window's."""
    values, shares, marks = part["values"], _shares(part), edges(part)
    place = np.searchsorted(values, marks)
    current = np.cumsum(read[0]) / read[0].sum()
    return np.stack([shares[place], shares[place + 1]]), np.stack([current[:-1:2], current[1::2]])


def _shares(part: Prepared) -> Floats:
    """Return the share of the reference's rows at or below its first `i` values."""
    if "cumulative" in part:
        cumulative: Floats = part["cumulative"] / part["cumulative"][-1]
        return cumulative
    return np.concatenate(([0.0], np.cumsum(part["shares"])))
