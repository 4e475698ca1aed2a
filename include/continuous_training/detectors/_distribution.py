"""Distances between two distribution functions, in units of the reference's spread."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from continuous_training.detectors._columns import Distance, Floats
from continuous_training.detectors.base import Prepared


def prepare(values: Floats, *, unit: Literal["std", "iqr"]) -> Prepared:
    """Return the distinct `values`, sorted, with their `shares` of the rows, and the length of one `unit`.

    The unit is 0 where all values are the same, and not finite where they are too far apart to say.
    """
    distinct, counts = np.unique(values, return_counts=True)
    length = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        if distinct.size > 1 and unit == "std":
            length = float(np.sort(values).std())  # in the same order, whatever the order of rows
        elif distinct.size > 1:
            low, high = np.quantile(values, [0.25, 0.75], method="inverted_cdf")
            length = float(high - low)
    return {"values": distinct, "shares": counts / max(values.size, 1), "unit": np.array(length)}


def wasserstein(part: Prepared, values: Floats) -> Distance:
    """Return the area between the two distribution functions."""
    return _measure(part, values, lambda widths, gaps: float(np.abs(gaps) @ widths))


def energy(part: Prepared, values: Floats) -> Distance:
    """Return the root of twice the area under the squared gap."""
    return _measure(part, values, lambda widths, gaps: math.sqrt(2 * (gaps**2 @ widths)))


def _measure(part: Prepared, values: Floats, area: Callable[[Floats, Floats], float]) -> Distance:
    unit = float(part["unit"])
    if not unit:
        return Distance(note="the column has no spread in the reference, so there is no unit to measure in")
    points = np.concatenate([part["values"], np.sort(values)])
    steps = np.concatenate([part["shares"], np.full(values.size, -1 / values.size)])
    order = np.argsort(points, kind="stable")  # both halves are sorted: merging them is quick
    with np.errstate(over="ignore", invalid="ignore"):
        distance = area(np.diff(points[order] / unit), np.cumsum(steps[order])[:-1])
    if not (math.isfinite(unit) and math.isfinite(distance)):
        return Distance(note="the column has numbers that are too large to measure a distance between")
    return Distance(distance, None, distance)
