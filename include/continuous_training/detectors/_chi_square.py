"""Chi-square statistic, p-value and Cramér's V of two rows of counts."""

import math

import numpy as np
from scipy.special import chdtrc

from continuous_training.detectors._columns import Counts, Distance


def measure(table: Counts, *, continuity: bool) -> Distance:
    """Return the distance between the two rows of `table`; one category alone is no distance, with p-value 1.

    These are the numbers of `scipy.stats.chi2_contingency`, without what it spends on tables of any shape.
    """
    freedom = table.shape[1] - 1
    if not freedom:
        return Distance(0.0, 1.0, 0.0)
    expected = table.sum(axis=1, keepdims=True) * (table.sum(axis=0) / table.sum())
    gaps = np.abs(table - expected)
    if continuity and freedom == 1:
        gaps -= np.minimum(0.5, gaps)
    statistic = float((gaps**2 / expected).sum())
    return Distance(statistic, float(chdtrc(freedom, statistic)), cramers_v(statistic, table))


def cramers_v(statistic: float, table: Counts) -> float:
    """Return the effect of a table with two rows: the root of the statistic per row of data."""
    return math.sqrt(statistic / int(table.sum()))
