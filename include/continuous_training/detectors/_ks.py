"""The two-sample Kolmogorov-Smirnov statistic without sorting the window, and its p-value."""

import math
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from continuous_training.detectors._columns import Counts, Distance, Floats
from continuous_training.detectors._kolmogorov import tail
from continuous_training.detectors.base import Prepared

_CELLS = 1024, 65_536  # fewest and most
_ROWS_PER_CELL = 6
_GROUPS = 8  # most groups of cells that are searched one by one
_BLOCK = 131_072  # rows whose intermediate results stay in the processor's cache
_TAIL = 1e-4  # share of the rows at either end that may be in one cell together
_NEAR = 0.05  # share of the distinct numbers that lie within one unit of the centre
_MOST = 1e30  # far from where single precision ends
_ONE = np.float32(1).view(np.int32)
_EXACT_ROWS = 10_000  # as in SciPy: with more rows on one side the exact p-value is not worth its time


Places = NDArray[np.uint16]


class Grid(NamedTuple):
    """Cells of equal width: of the numbers, or with a `unit` of the logarithm, nearly, of their distance to `centre`.

    Within one unit of the centre the cells are equally wide, and further out wider in proportion to the distance.
    """

    scale: float = 1.0
    start: float = 0.0
    centre: float = 0.0
    unit: float = 0.0

    def along(self, values: NDArray[np.float32]) -> None:
        """Put in the place of `values` how far along the cells' axis they are."""
        if not self.unit:
            return
        values -= np.float32(self.centre)
        values *= np.float32(1 / self.unit)
        distance = np.abs(values)
        distance += np.float32(1)
        # exponent and fraction, read as one whole number, are a logarithm with straight lines between powers of two
        bits = distance.view(np.int32)
        bits -= _ONE
        distance[:] = bits
        np.copysign(distance, values, out=values)


def prepare(values: Floats) -> Prepared:
    """Return the distribution function of `values` and its place in a grid of cells.

    `values` come back sorted and distinct; `cumulative[i]` is the number of rows at or below the first `i` of them;
    `edges[i]` is the number of distinct values below edge `i` of the grid, and `below[i]` the share of rows.
    """
    distinct, counts = np.unique(values, return_counts=True)
    cumulative = _running_total(counts)
    cells = 2 ** round(math.log2(min(max(values.size / _ROWS_PER_CELL, _CELLS[0]), _CELLS[1])))
    grids = _grids(distinct, cumulative, cells)
    edges = [_running_total(_cells(distinct, grid, cells)[1]) for grid in grids]
    crowds = [_crowding(cumulative[edge], edge) for edge in edges]
    best = int(np.argmin(crowds))
    best *= 2 * crowds[best] < crowds[0]  # equal cells are the fastest to find
    return {
        "values": distinct,
        "cumulative": cumulative,
        "grid": np.array(grids[best]),
        "edges": edges[best],
        "below": cumulative[edges[best]] / max(cumulative[-1], 1),
    }


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
    each cell. Only rows of cells that could hide a larger gap than the one at the edges are looked at, and only those
    of cells where the reference has several values are sorted.
    """
    edges = part["edges"]
    place, inside = _cells(values, Grid(*part["grid"].tolist()), edges.size - 1)
    ranks, below = _running_total(inside), part["below"]
    ahead = ranks / values.size
    ahead -= below
    gap = float(max(ahead.max(), -ahead.min()))
    # within a cell one side can have all of its rows before the first of the other's
    bound = np.maximum(ahead[1:], -ahead[:-1])
    bound += below[1:] - below[:-1]
    hiding = (bound > gap) & (inside > 0)
    single = hiding & (edges[1:] - edges[:-1] == 1)
    if inside[single].sum() > values.size // _GROUPS:
        gap = max(gap, _gap_at_single(part, values, place, np.flatnonzero(single), ranks))
        hiding = (bound > gap) & hiding & ~single
    chosen = np.flatnonzero(hiding)
    # looking up every row's cell costs more than a comparison for each group of cells that are not far apart
    far = np.flatnonzero(np.diff(ranks[chosen]) > values.size // _GROUPS) + 1
    for group in np.split(chosen, far) if chosen.size else ():
        points = np.sort(_values_in(group, place, values))
        sizes = inside[group]
        lower = np.arange(points.size) + np.repeat(ranks[group] - (np.cumsum(sizes) - sizes), sizes)
        gap = max(gap, _gap_at(part, points, lower, values.size))
    return gap


def _values_in(cells: NDArray[np.intp], place: Places, values: Floats) -> Floats:
    """Return the values whose place is among the sorted `cells`."""
    first, width = cells[0], int(cells[-1] - cells[0]) + 1
    among = np.zeros(width, dtype=np.bool_)
    among[cells - first] = True
    found = []
    for i in range(0, values.size, _BLOCK):
        away = place[i : i + _BLOCK] - np.uint16(first)
        rows = np.flatnonzero(away < width)
        if width > cells.size:
            rows = rows[among[away[rows]]]
        found.append(values[i : i + _BLOCK][rows])
    return np.concatenate(found)


def _gap_at_single(part: Prepared, values: Floats, place: Places, cells: NDArray[np.intp], ranks: Counts) -> float:
    """Return the largest gap just before and at the reference's only value in each of the `cells`."""
    first = part["edges"][cells]
    only = np.full(ranks.size - 1, np.nan)
    only[cells] = part["values"][first]
    counts = np.zeros((2, only.size), dtype=np.int64)
    for i in range(0, values.size, _BLOCK):
        some, here = values[i : i + _BLOCK], place[i : i + _BLOCK]
        value = only.take(here)
        for side, beside in enumerate((some < value, some > value)):
            if beside.any():
                counts[side] += np.bincount(here[beside], minlength=only.size)
    lower, upper = ranks[cells] + counts[0][cells], ranks[cells + 1] - counts[1][cells]
    cumulative = part["cumulative"]
    before = lower / values.size - cumulative[first] / cumulative[-1]
    at = upper / values.size - cumulative[first + 1] / cumulative[-1]
    return float(max(np.abs(before).max(), np.abs(at).max()))


def _gap_at(part: Prepared, points: Floats, lower: Counts, rows: int) -> float:
    """Return the largest gap just before and at sorted `points` of the window, of which `lower[i]` rows come before."""
    start, stop = np.maximum(np.searchsorted(part["values"], points[[0, -1]]) - (1, 0), 0)
    # a search among few numbers stays in the processor's cache
    distinct, cumulative = part["values"][start : stop + 1], part["cumulative"][start : stop + 2]
    total = part["cumulative"][-1]
    position = np.searchsorted(distinct, points, side="right")
    tied = distinct[np.maximum(position - 1, 0)] == points
    at = cumulative[position] / total
    before = cumulative[position - tied] / total
    return float(max(((lower + 1) / rows - at).max(), (before - lower / rows).max()))


@np.errstate(over="ignore", invalid="ignore")
def _grids(distinct: Floats, cumulative: Counts, cells: int) -> list[Grid]:
    """Return a grid of equal cells, and others for columns that are skewed or have one value in many rows."""
    if not distinct.size:
        return [Grid()]
    single = distinct.astype(np.float32)
    low, middle, high = single[np.searchsorted(cumulative[1:], cumulative[-1] * np.array([_TAIL, 0.5, 1 - _TAIL]))]
    mode = single[np.argmax(np.diff(cumulative))]
    found = [_fitted(Grid(), low, high, cells)]
    for centre, near in ((middle, _NEAR), (low, _NEAR), (mode, 0.0)):
        away = np.abs(single - centre)
        away = away[away > 0]
        unit = float(np.quantile(away, near)) if away.size else 0.0
        if 1 / _MOST < unit < _MOST and abs(centre) < _MOST:
            found.append(_fitted(Grid(centre=float(centre), unit=unit), low, high, cells))
    return found


def _fitted(grid: Grid, low: np.float32, high: np.float32, cells: int) -> Grid:
    """Return `grid` with `cells` cells from `low` to `high`."""
    ends = np.array([low, high])
    grid.along(ends)
    first, last = ends.tolist()
    width = last - first
    scale = cells / width if width > 0 else math.inf
    # a constant column, or one too wide or narrow for single precision: any grid is correct, this one is not fast
    usable = 1 / _MOST < scale < _MOST and abs(first * scale) < _MOST
    return grid._replace(scale=scale, start=first * scale) if usable else Grid()


def _crowding(below: Counts, edges: Counts) -> float:
    """Return how many rows there are, on average over rows, in the same cell beside another value."""
    rows = np.diff(below)[np.diff(edges) > 1].astype(np.float64)
    return float(rows @ rows)


@np.errstate(over="ignore")
def _cells(values: Floats, grid: Grid, cells: int) -> tuple[Places, Counts]:
    """Return the cell of each value and the values in each cell; a larger value never has a lower cell."""
    scale, start = np.float32(grid.scale), np.float32(grid.start)
    place, inside = np.empty(values.size, dtype=np.uint16), np.zeros(cells, dtype=np.int64)
    size = min(_BLOCK, values.size)
    # NumPy compares two arrays several times faster than an array and a number
    block, first, last = (np.full(size, number, dtype=np.float32) for number in (0, 0, cells - 1))
    for i in range(0, values.size, _BLOCK):
        some, here = values[i : i + _BLOCK], place[i : i + _BLOCK]
        cell = block[: some.size]
        cell[:] = some
        grid.along(cell)
        cell *= scale
        cell -= start
        np.maximum(cell, first[: some.size], out=cell)
        np.minimum(cell, last[: some.size], out=cell)
        here[:] = cell
        inside += np.bincount(here, minlength=cells)
    return place, inside


def _running_total(counts: Counts) -> Counts:
    return np.concatenate(([0], np.cumsum(counts)))
