"""The Page-Hinkley statistic of a signal."""

from itertools import accumulate

import numpy as np

from continuous_training.detectors._columns import Floats


def excess(z: Floats, delta: float, alpha: float) -> Floats:
    """Return `PH_t` for t = 0 .. rows: how far the sum lies above its lowest value so far."""
    steps = (z - delta).tolist()
    sums = np.fromiter(accumulate(steps, lambda total, step: alpha * total + step, initial=0.0), np.float64)
    above: Floats = sums - np.minimum.accumulate(sums)
    return above
