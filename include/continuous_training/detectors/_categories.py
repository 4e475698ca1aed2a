"""Which categories there are, whatever their shares."""

import math

import numpy as np

from continuous_training.detectors._columns import Counts, Distance


def new_share(table: Counts) -> Distance:
    """Return the share of the window's rows in categories without reference rows, beyond what is to be expected."""
    reference, current = table
    share = float(current[reference == 0].sum() / current.sum())
    expected = float(np.count_nonzero(reference == 1) / reference.sum())
    beyond = max(0.0, share - expected)
    return Distance(beyond, None, beyond)


def doublings(reference: Counts, current: Counts) -> Distance:
    """Return how often the number of categories has doubled, where equally many rows are looked at."""
    rows = int(min(reference.sum(), current.sum()))
    change = math.log2(_expected(current, rows) / _expected(reference, rows))
    return Distance(abs(change), None, change)


def _expected(counts: Counts, rows: int) -> float:
    """Return how many categories `rows` rows have on average."""
    return float(-np.expm1(rows * np.log1p(-np.minimum(counts / counts.sum(), 1 - 1e-16))).sum())
