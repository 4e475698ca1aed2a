"""The Jensen-Shannon distance between two rows of counts."""

import math

from scipy.special import rel_entr

from continuous_training.detectors._columns import Counts, Distance


def table(counts: Counts) -> Distance:
    """Return the distance between the two rows of `counts`."""
    reference, current = counts / counts.sum(axis=1, keepdims=True)
    middle = (reference + current) / 2
    divergence = float((rel_entr(reference, middle) + rel_entr(current, middle)).sum() / 2)
    distance = min(1.0, math.sqrt(max(divergence, 0.0) / math.log(2)))
    return Distance(distance, None, distance)
