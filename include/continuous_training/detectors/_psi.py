"""Bins at quantiles of the reference, and the index between two rows of counts."""

import math

import numpy as np

from continuous_training.detectors._columns import Counts, Distance, Floats
from continuous_training.detectors.base import Prepared


def prepare(values: Floats, *, bins: int) -> Prepared:
    """Return the inner `edges` of at most `bins` equally filled bins, and the `counts` of `values` in them.

    A bin holds its lower edge and not its upper one. Where most rows have one value it has a bin of its own between
    everything below and everything above, so that a column that was constant can still be seen to move.
    """
    ordered = np.sort(values)
    edges = np.unique(ordered[np.arange(1, bins) * ordered.size // bins]) if ordered.size else ordered
    if edges.size == 1:
        edges = np.array([edges[0], np.nextafter(edges[0], math.inf)])
    return {"edges": edges, "counts": _count(values, edges)}


def table(counts: Counts) -> Distance:
    """Return the index between the two rows of `counts`."""
    filled = counts + 0.5
    reference, current = filled / filled.sum(axis=1, keepdims=True)
    index = float(((current - reference) * np.log(current / reference)).sum())
    return Distance(index, None, index)


def count(part: Prepared, values: Floats) -> Counts:
    """Return how many of `values` lie in each bin."""
    return _count(values, part["edges"])


def _count(values: Floats, edges: Floats) -> Counts:
    # comparing with each edge is several times faster than a search per row while edges are few
    lower = np.empty(values.size, dtype=np.bool_)
    below = [np.count_nonzero(np.less(values, edge, out=lower)) for edge in edges]
    return np.diff([0, *below, values.size]).astype(np.int64)
