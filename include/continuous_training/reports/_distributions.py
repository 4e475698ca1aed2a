"""The maths of distributions: bins and categories of the reference, and counts in them that add up over parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training.detectors._columns import read_categories, read_numbers, spread
from continuous_training.reports.distribution import (
    MOST_CATEGORIES,
    MOST_KNOWN,
    OTHER,
    ColumnKind,
    Distribution,
    DriftColumn,
    ProfileColumn,
)

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

BINS = 20
SAMPLE = 100_000
"""Rows of a reference that are looked at, evenly spaced: a drawing shows no more."""
_TAIL = 0.005
_DIGITS = 15
_LARGEST = np.finfo(np.float64).max
_NAMED = 200  # characters of a category's name


def profile(rows: pd.DataFrame, kinds: Mapping[str, ColumnKind]) -> tuple[ProfileColumn, ...]:
    """Return each column of `rows` as it is distributed; a column without a value has neither bins nor categories."""
    sample = spread(rows, SAMPLE)
    return tuple(_profile(name, kind, sample) for name, kind in kinds.items())


def _profile(name: str, kind: ColumnKind, rows: pd.DataFrame) -> ProfileColumn:
    known = None
    edges: tuple[float, ...] | None = None
    categories: tuple[str, ...] | None = None
    if kind == "numeric":
        edges = _edges(_numbers(rows, name))
    else:
        names, counts = _categories(rows, name)
        frequent = np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]
        categories = (*names[frequent].tolist(), OTHER)
        known = tuple(names.tolist()) if names.size <= MOST_KNOWN else None
    empty = Distribution(rows=0, missing=0, edges=edges, categories=categories, shares=_none(edges, categories))
    column = ProfileColumn(name=name, kind=kind, reference=empty, known=known)
    (told,) = compared([column], tally([column], rows))
    return column.model_copy(update={"reference": told.current})


def _none(edges: Sequence[float] | None, categories: Sequence[str] | None) -> tuple[float, ...]:
    return (0.0,) * (len(categories or ()) if edges is None else len(edges) - 1)


def _edges(values: Floats) -> tuple[float, ...] | None:
    """Return the bounds of equally wide bins over all but the outermost values, or one bin for each of few values."""
    if not values.size:
        return None
    distinct = np.unique(values[: 10 * BINS])
    if distinct.size <= BINS:  # worth looking at all of them
        distinct = np.unique(values)
    if distinct.size <= BINS:
        between = distinct[:-1] / 2 + distinct[1:] / 2
        with np.errstate(over="ignore"):
            first = distinct[0] - (between[0] - distinct[0] if between.size else 0.5)
            last = distinct[-1] + (distinct[-1] - between[-1] if between.size else 0.5)
        edges = np.clip([first, *between, last], -_LARGEST, _LARGEST)
    else:
        low, high = np.quantile(values, [_TAIL, 1 - _TAIL], method="inverted_cdf")
        if low == high:
            low, high = values.min(), values.max()
        share = np.linspace(0, 1, BINS + 1)
        edges = low * (1 - share) + high * share  # no difference, which may be too large for a float
    edges = np.unique(_rounded(edges))
    return tuple(edges.tolist()) if edges.size > 1 else None


def _rounded(edges: Floats) -> Floats:
    """Return bounds without the digits that nobody reads: four more than it takes to tell neighbours apart."""
    with np.errstate(over="ignore", invalid="ignore"):
        width = float(np.diff(edges).min(initial=np.inf))
        if not 0 < width < np.inf:
            return edges
        digits = min(max(4 - math.floor(math.log10(width)), -_DIGITS), _DIGITS)
        rounded: Floats = np.round(edges, digits)
    return rounded if np.isfinite(rounded).all() and (np.diff(rounded) > 0).all() else edges


@dataclass(frozen=True)
class Counted:
    """What some rows of a window have in one column: it adds up over parts."""

    valued: int
    counts: Counts
    outside: int
    new: frozenset[str]

    def __add__(self, other: Counted) -> Counted:
        """Return what both have; of new categories as many as are told, the first in sorted order."""
        new = sorted(self.new | other.new)[:MOST_CATEGORIES]
        return Counted(
            self.valued + other.valued, self.counts + other.counts, self.outside + other.outside, frozenset(new)
        )


@dataclass(frozen=True)
class Tally:
    """What some rows of a window have in each column of a profile."""

    rows: int
    columns: tuple[Counted, ...]

    def __add__(self, other: Tally) -> Tally:
        """Return what both have."""
        added = tuple(one + two for one, two in zip(self.columns, other.columns, strict=True))
        return Tally(self.rows + other.rows, added)


def tally(columns: Sequence[ProfileColumn], rows: pd.DataFrame) -> Tally:
    """Count the rows in the bins and categories of a profile; a column that they lack has no value."""
    return Tally(len(rows), tuple(_count(column, rows) for column in columns))


def _count(column: ProfileColumn, rows: pd.DataFrame) -> Counted:
    reference = column.reference
    if column.kind == "numeric":
        values = _numbers(rows, column.name)
        if reference.edges is None:
            return Counted(values.size, np.zeros(0, dtype=np.int64), 0, frozenset())
        edges = np.array(reference.edges)
        place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        outside = int(np.count_nonzero((values < edges[0]) | (values > edges[-1])))
        return Counted(values.size, np.bincount(place, minlength=len(edges) - 1), outside, frozenset())
    names, counts = _categories(rows, column.name)
    shown = {name: place for place, name in enumerate((reference.categories or ())[:-1])}
    table = np.zeros(len(reference.categories or ()), dtype=np.int64)
    if table.size:
        np.add.at(table, [shown.get(name, table.size - 1) for name in names.tolist()], counts)
    new = [] if column.known is None else sorted(set(names.tolist()) - set(column.known))[:MOST_CATEGORIES]
    return Counted(int(counts.sum()), table, 0, frozenset(new))


def compared(columns: Sequence[ProfileColumn], found: Tally) -> tuple[DriftColumn, ...]:
    """Return each column of a profile beside what was counted of it."""
    return tuple(
        DriftColumn(
            name=column.name,
            kind=column.kind,
            reference=column.reference,
            current=column.reference.model_copy(
                update={
                    "rows": found.rows,
                    "missing": 1 - counted.valued / found.rows if found.rows else 0.0,
                    "shares": tuple(np.round(counted.counts / max(counted.valued, 1), 6).tolist()),
                }
            ),
            outside=counted.outside / max(counted.valued, 1),
            new_categories=tuple(sorted(counted.new)),
        )
        for column, counted in zip(columns, found.columns, strict=True)
    )


def _numbers(rows: pd.DataFrame, name: str) -> Floats:
    if name not in rows.columns:
        return np.zeros(0)
    return read_numbers(rows[name], "the profile")


def _categories(rows: pd.DataFrame, name: str) -> tuple[NDArray[np.str_], Counts]:
    """Return the distinct values of a column, long ones cut, and how many rows have each."""
    if name not in rows.columns:
        return np.zeros(0, dtype=np.str_), np.zeros(0, dtype=np.int64)
    names, counts = read_categories(rows[name])
    if names.size and names.dtype.itemsize > 4 * _NAMED:
        names, place = np.unique([text[:_NAMED] for text in names.tolist()], return_inverse=True)
        counts = np.bincount(place, counts).astype(np.int64)
    return names, counts
