"""The two-sample Kolmogorov-Smirnov statistic without sorting the window, and its p-value."""

import math
import warnings

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from continuous_training.detectors._columns import Distance, Floats
from continuous_training.detectors.base import Prepared

_CELLS = 8192
_EXACT_ROWS = 10_000  # as in SciPy: with more rows on one side the exact p-value is not worth its time
_FAR = 16.0  # n * d**2 from which the p-value is below 3e-14


def prepare(values: Floats) -> Prepared:
    """Return the distribution function of `values` and how many lie below the edges of a grid of equal cells.

    `values` come back sorted and distinct; `cumulative[i]` is the number of rows at or below the first `i` of them;
    `grid` is the start of the first cell and the cells per unit; `below[i]` is the number of rows below edge `i`.
    """
    distinct, counts = np.unique(values, return_counts=True)
    cumulative = _running_total(counts)
    grid = _grid(distinct, cumulative)
    below = _running_total(np.bincount(_cells(values, grid), minlength=_CELLS))
    return {"values": distinct, "cumulative": cumulative, "grid": grid, "below": below}


def measure(part: Prepared, values: Floats, *, exact: bool) -> Distance:
    """Return the statistic of `values` against the prepared reference, and its p-value."""
    rows = int(part["cumulative"][-1]), values.size
    if exact and max(rows) <= _EXACT_ROWS:
        reference = np.repeat(part["values"], np.diff(part["cumulative"]))
        with warnings.catch_warnings():
            # SciPy warns when it falls back to the asymptotic p-value, which is what we would do
            warnings.simplefilter("ignore", RuntimeWarning)
            result = stats.ks_2samp(reference, values)
        return Distance(float(result.statistic), float(result.pvalue), float(result.statistic))
    gap = largest_gap(part, values)
    return Distance(gap, _asymptotic(gap, *rows), gap)


def largest_gap(part: Prepared, values: Floats) -> float:
    """Return the largest distance between the distribution functions of the reference and of `values`, exactly.

    Counting rows per cell gives both functions at the edges of the cells, and bounds how far apart they can be inside
    each cell. Only rows of cells that could hide a larger gap than the one at the edges are sorted.
    """
    cells = _cells(values, part["grid"])
    inside = np.bincount(cells, minlength=_CELLS)
    ranks = _running_total(inside)
    reference, current = part["below"] / part["below"][-1], ranks / values.size
    gap = float(np.abs(reference - current).max())
    bound = np.maximum(reference[1:] - current[:-1], current[1:] - reference[:-1])
    hiding = (bound > gap) & (inside > 0)
    if not hiding.any():
        return gap
    suspects = np.sort(values[np.flatnonzero(hiding[cells])])
    chosen = np.flatnonzero(hiding)
    sizes = inside[chosen]
    lower = np.arange(suspects.size) + np.repeat(ranks[chosen] - (np.cumsum(sizes) - sizes), sizes)
    return max(gap, _gap_at(part, suspects, lower, values.size))


def _gap_at(part: Prepared, points: Floats, lower: NDArray[np.int64], rows: int) -> float:
    """Return the largest gap just before and at sorted `points` of the window, of which `lower[i]` rows come before."""
    distinct, cumulative = part["values"], part["cumulative"]
    position = np.searchsorted(distinct, points, side="right")
    tied = distinct[np.maximum(position - 1, 0)] == points
    at = cumulative[position] / cumulative[-1]
    before = cumulative[position - tied] / cumulative[-1]
    return float(max(((lower + 1) / rows - at).max(), (before - lower / rows).max()))


def _asymptotic(gap: float, reference_rows: int, current_rows: int) -> float:
    larger, smaller = float(max(reference_rows, current_rows)), float(min(reference_rows, current_rows))
    n = float(np.round(larger * smaller / (larger + smaller)))
    if n * gap**2 > _FAR:
        # the exact series takes up to 100 ms here; this form (Maag and Dicaire 1971) is off by less than 1e-14
        return min(1.0, 2 * math.exp(-((6 * n * gap + 1) ** 2) / (18 * n)))
    return float(np.clip(stats.kstwo.sf(gap, n), 0, 1))


def _grid(distinct: Floats, cumulative: NDArray[np.int64]) -> Floats:
    if not distinct.size:
        return np.array([0.0, 1.0])
    ends = np.searchsorted(cumulative[1:], cumulative[-1] * np.array([0.001, 0.999]))
    low, high = distinct[ends]
    with np.errstate(over="ignore", divide="ignore"):
        scale = _CELLS / (high - low)
    # a constant column, or one wider than a float can say: any scale is correct, this one is not fast
    return np.array([low, scale if 0 < scale < math.inf else 1.0])


def _cells(values: Floats, grid: Floats) -> NDArray[np.intp]:
    """Return the cell of each value; a larger value never has a lower cell, whatever the rounding."""
    low, scale = grid
    with np.errstate(over="ignore"):
        place = values - low
        place *= scale
    np.clip(place, 0, _CELLS - 1, out=place)
    cells: NDArray[np.intp] = place.astype(np.intp)
    return cells


def _running_total(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(counts)))
