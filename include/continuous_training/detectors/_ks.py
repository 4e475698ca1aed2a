"""The two-sample Kolmogorov-Smirnov statistic without sorting the window, and its p-value."""

import math
import warnings

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from continuous_training.detectors._columns import Counts, Distance, Floats
from continuous_training.detectors._kolmogorov import tail
from continuous_training.detectors.base import Prepared

_CELLS = 1024, 32_768  # fewest and most
_ROWS_PER_CELL = 12
_BLOCK = 65_536  # rows whose intermediate results stay in the processor's cache
_MOST = 1e30  # far from where single precision ends
_EXACT_ROWS = 10_000  # as in SciPy: with more rows on one side the exact p-value is not worth its time


def prepare(values: Floats) -> Prepared:
    """Return the distribution function of `values` and its values at the edges of a grid of equal cells.

    `values` come back sorted and distinct; `cumulative[i]` is the number of rows at or below the first `i` of them;
    `grid` is the number of cells per unit and what to take away to make the first one 0; `below[i]` is the share of
    rows below edge `i`.
    """
    distinct, counts = np.unique(values, return_counts=True)
    cumulative = _running_total(counts)
    cells = 2 ** round(math.log2(min(max(values.size / _ROWS_PER_CELL, _CELLS[0]), _CELLS[1])))
    grid = _grid(distinct, cumulative, cells)
    below = _running_total(_cells(values, grid, cells)[1]) / max(values.size, 1)
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
    larger, smaller = float(max(rows)), float(min(rows))
    return Distance(gap, tail(gap, float(np.round(larger * smaller / (larger + smaller)))), gap)


def largest_gap(part: Prepared, values: Floats) -> float:
    """Return the largest distance between the distribution functions of the reference and of `values`, exactly.

    Counting rows per cell gives both functions at the edges of the cells, and bounds how far apart they can be inside
    each cell. Only rows of cells that could hide a larger gap than the one at the edges are sorted.
    """
    reference = part["below"]
    place, inside = _cells(values, part["grid"], reference.size - 1)
    ranks = _running_total(inside)
    ahead = ranks / values.size
    ahead -= reference
    gap = float(max(ahead.max(), -ahead.min()))
    # within a cell one side can have all of its rows before the first of the other's
    rise = np.diff(reference)
    hiding = (np.maximum(ahead[1:], -ahead[:-1]) + rise > gap) & (inside > 0)
    if not hiding.any():
        return gap
    suspects = np.sort(values[np.flatnonzero(hiding.take(place))])
    chosen = np.flatnonzero(hiding)
    sizes = inside[chosen]
    lower = np.arange(suspects.size) + np.repeat(ranks[chosen] - (np.cumsum(sizes) - sizes), sizes)
    return max(gap, _gap_at(part, suspects, lower, values.size))


def _gap_at(part: Prepared, points: Floats, lower: Counts, rows: int) -> float:
    """Return the largest gap just before and at sorted `points` of the window, of which `lower[i]` rows come before."""
    distinct, cumulative = part["values"], part["cumulative"]
    position = np.searchsorted(distinct, points, side="right")
    tied = distinct[np.maximum(position - 1, 0)] == points
    at = cumulative[position] / cumulative[-1]
    before = cumulative[position - tied] / cumulative[-1]
    return float(max(((lower + 1) / rows - at).max(), (before - lower / rows).max()))


def _grid(distinct: Floats, cumulative: Counts, cells: int) -> Floats:
    if not distinct.size:
        return np.array([1.0, 0.0])
    ends = np.searchsorted(cumulative[1:], cumulative[-1] * np.array([0.001, 0.999]))
    low, high = distinct[ends]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scale = cells / (high - low)
        start = low * scale
    # a constant column, or one too wide or narrow for single precision: any grid is correct, this one is not fast
    usable = 1 / _MOST < scale < _MOST and abs(start) < _MOST
    return np.array([scale, start] if usable else [1.0, 0.0])


def _cells(values: Floats, grid: Floats, cells: int) -> tuple[NDArray[np.uint16], Counts]:
    """Return the cell of each value and the values in each cell; a larger value never has a lower cell."""
    scale, start = grid.astype(np.float32)
    place, inside = np.empty(values.size, dtype=np.uint16), np.zeros(cells, dtype=np.int64)
    size = min(_BLOCK, values.size)
    # NumPy compares two arrays several times faster than an array and a number
    block, first, last = (np.full(size, number, dtype=np.float32) for number in (0, 0, cells - 1))
    index = np.empty(size, dtype=np.intp)
    with np.errstate(over="ignore"):
        for i in range(0, values.size, _BLOCK):
            some = values[i : i + _BLOCK]
            cell, whole = block[: some.size], index[: some.size]
            cell[:] = some
            cell *= scale
            cell -= start
            np.maximum(cell, first[: some.size], out=cell)
            np.minimum(cell, last[: some.size], out=cell)
            whole[:] = cell
            place[i : i + _BLOCK] = cell
            inside += np.bincount(whole, minlength=cells)
    return place, inside


def _running_total(counts: Counts) -> Counts:
    return np.concatenate(([0], np.cumsum(counts)))
