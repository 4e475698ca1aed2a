"""What is usual in a column: how far its middle and spread move between stretches of the reference, and its runs."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from continuous_training.triage._table import Floats, Ints

CELL_ROWS = 20
"""Rows from which the quartiles of a cell say something."""
FEWEST_CELLS = 3
"""Cells from which their movement is called usual."""
_HUGE = 1e300
"""Numbers from which differences may overflow: no unit is looked for among them."""
_SCATTER = 2654435761
"""Multiplier that scatters row numbers over 32 bits; source: Knuth, The Art of Computer Programming 3, 6.4."""
_RUN = 8
"""Rows from which a run of one value is looked at; a third of them would not make a long one."""


class Quartiles(NamedTuple):
    """Rows that have a value other than zero, and their tenths 1 and 9 and quartiles 1 to 3, for each cell."""

    rows: Ints
    lowest: Floats
    low: Floats
    middle: Floats
    high: Floats
    highest: Floats


@dataclass(frozen=True)
class Sorted:
    """The values of a column in rising order, without missing ones and zeros (which no unit changes), and their rows."""

    values: Floats
    rows: NDArray[np.intp]

    @classmethod
    def of(cls, values: Floats) -> "Sorted":
        """Sort `values`."""
        kept = np.flatnonzero(np.isfinite(values) & (values != 0))
        rows = kept[np.argsort(values[kept])]
        return cls(values[rows], rows)

    def most(self) -> int:
        """Return how many rows have the most frequent value."""
        return round(mode_share(self.values)[0] * self.values.size)

    def thinned(self, rows: int) -> "Sorted":
        """Return about `rows` of the rows, chosen by their number but not at equal distances: sources may alternate."""
        if self.values.size <= rows:
            return self
        kept = self.rows.astype(np.uint32) * np.uint32(_SCATTER) < np.uint32(rows / self.values.size * 2**32)
        return Sorted(self.values[kept], self.rows[kept])

    def quartiles(self, cells: Ints, count: int) -> Quartiles:
        """Return the quartiles of each of `count` cells; `cells[i]` is the cell of row i, negative for none."""
        code = cells[self.rows]
        inside = code >= 0
        code, values = (code, self.values) if inside.all() else (code[inside], self.values[inside])
        sizes = np.bincount(code, minlength=count).astype(np.int64)
        narrow = code.astype(np.int16) if count < np.iinfo(np.int16).max else code  # sorted by radix, ten times faster
        grouped = values if count == 1 else values[np.argsort(narrow, kind="stable")]
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        filled = np.append(grouped, np.nan)
        at = [filled[np.where(sizes > 0, starts + (sizes - 1) * k // 20, grouped.size)] for k in (2, 5, 10, 15, 18)]
        return Quartiles(sizes, *at)


def movement(quartiles: Quartiles, groups: int) -> Floats:
    """Return centre and radius over each group's cells of the middle and of the logs of two spreads, (groups, 6).

    The spreads are those of the inner half and of the inner four fifths. Cells are ordered by group. NaN where a group
    has too few cells with enough rows.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        spreads = np.log([quartiles.high - quartiles.low, quartiles.highest - quartiles.lowest])
    usable = (quartiles.rows >= CELL_ROWS) & (np.abs(quartiles.middle) < _HUGE)
    measured = [np.where(usable & np.isfinite(part), part, np.nan) for part in (quartiles.middle, *spreads)]
    return np.hstack([_centre_and_radius(part.reshape(groups, part.size // max(groups, 1))) for part in measured])


def _centre_and_radius(cells: Floats) -> Floats:
    result = np.full((cells.shape[0], 2), np.nan)
    enough = np.isfinite(cells).sum(axis=1) >= FEWEST_CELLS
    if enough.any():
        centre = np.nanmedian(cells[enough], axis=1)
        result[enough, 0] = centre
        with np.errstate(over="ignore"):
            result[enough, 1] = np.nanmax(np.abs(cells[enough] - centre[:, None]), axis=1)
    return result


def missing_shares(missing: NDArray[np.bool_], cells: Ints, count: int) -> Floats:
    """Return the share of missing values of each cell; NaN where a cell has too few rows."""
    inside = cells >= 0
    rows = np.bincount(cells[inside], minlength=count)
    if not missing.any():
        return np.where(rows >= CELL_ROWS, 0.0, np.nan)
    empty = np.bincount(cells[inside & missing], minlength=count)
    return np.where(rows >= CELL_ROWS, empty / np.maximum(rows, 1), np.nan)


class Runs(NamedTuple):
    """The longest run of one value in each group, and the share of the group's other rows that have that value."""

    length: Ints
    elsewhere: Floats


def longest_runs(values: Floats, groups: Ints, count: int) -> Runs:
    """Return the longest runs, 0 where they are short; rows must be ordered by group, then by time.

    Missing values do not end a run.
    """
    kept = np.isfinite(values) & (groups >= 0)
    v, g = (values, groups) if kept.all() else (values[kept], groups[kept])
    length, elsewhere = np.zeros(count, dtype=np.int64), np.zeros(count)
    starts = np.flatnonzero(np.concatenate(([True], (v[1:] != v[:-1]) | (g[1:] != g[:-1])))) if v.size else g
    sizes = np.diff(np.append(starts, v.size))
    chosen = np.flatnonzero(sizes >= _RUN)
    order = chosen[np.lexsort((sizes[chosen], g[starts[chosen]]))]
    if not order.size:
        return Runs(length, elsewhere)
    owner = g[starts[order]]
    last = order[np.flatnonzero(np.append(owner[1:] != owner[:-1], True))]
    at, value = g[starts[last]], np.full(count, np.nan)
    length[at], value[at] = sizes[last], v[starts[last]]
    same = np.bincount(g[v == value[g]], minlength=count)
    elsewhere = (same - length) / np.maximum(np.bincount(g, minlength=count) - length, 1)
    return Runs(length, np.where(length > 0, elsewhere, 0.0))


def mode_share(ordered: Floats) -> tuple[float, float]:
    """Return the largest share of one value in sorted values, and that value."""
    if not ordered.size:
        return 0.0, float("nan")
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sizes = np.diff(np.append(starts, ordered.size))
    top = int(sizes.argmax())
    return float(sizes[top] / ordered.size), float(ordered[starts[top]])
