"""Test the newest rows of a signal against a sample of those before, at every row."""

import math
import random
import warnings
from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import stats

from continuous_training.detectors import _stream
from continuous_training.detectors._columns import Floats
from continuous_training.detectors._stream import Indices
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.kswin import KSWIN
from continuous_training.detectors.stream import Direction

_LEAST = 0.1  # a smaller distance is no change in river, whatever its p-value
_BLOCKS = 32, 512
_FEW = 5


def alarms(
    values: Floats,
    *,
    alpha: float = 0.005,
    window_size: int = 100,
    stat_size: int = 30,
    seed: int,
    direction: Direction = "both",
) -> Indices:
    """Return the rows at which KSWIN finds a change, and after which it starts anew; parameters as in river 0.23."""

    def first(left: Floats) -> int | None:
        for row, found in p_values(left, window_size, stat_size, seed, direction):
            beyond = np.flatnonzero(found <= alpha)
            if beyond.size:
                return row + int(beyond[0])
        return None

    return _stream.restarts(values, first)


def p_values(
    values: Floats, window_size: int, stat_size: int, seed: int, direction: Direction
) -> Iterator[tuple[int, Floats]]:
    """Go over blocks of rows from the first that fills a window; yield the p-value at each, 1 where it does not count."""
    draw = random.Random(seed)  # noqa: S311 - the numbers that river draws
    first, size = window_size - 1, _BLOCKS[0]
    while first < values.size:
        windows = sliding_window_view(values[first + 1 - window_size : first + size], window_size)
        picked = _samples(draw, len(windows), window_size - stat_size, stat_size)
        sample, newest = np.take_along_axis(windows, picked, axis=1), windows[:, -stat_size:]
        distances = _distances(sample, newest)
        different, place = np.unique(distances, return_inverse=True)
        found = np.array([_p_value(stat_size, int(distance)) for distance in different])[place]
        if direction == "increase":
            found[newest.mean(axis=1) <= sample.mean(axis=1)] = 1.0
        yield first, found
        first, size = first + size, min(2 * size, _BLOCKS[1])


def prepare(detector: KSWIN, values: Floats) -> Prepared:
    """Return the last window of the reference, from the last change found near its end."""
    last = values[-2 * detector.window_size :]
    found = alarms(
        last,
        alpha=detector.p_value,
        window_size=detector.window_size,
        stat_size=detector.stat_size,
        seed=detector.seed,
        direction=detector.direction,
    )
    return {"window": _stream.since_last(last, found)[-detector.window_size :]}


def measure(detector: KSWIN, prepared: Prepared, values: Floats, _z: Floats) -> float | str:
    """Return the smallest p-value of the tests in the window."""
    window = prepared["window"]
    if note := _stream.unsettled(detector.kind, window.size, detector.window_size):
        return note
    both = np.concatenate((window[1:], values))
    tests = p_values(both, detector.window_size, detector.stat_size, detector.seed, detector.direction)
    return min(float(found.min()) for _, found in tests)


def _samples(draw: random.Random, count: int, older: int, size: int) -> Indices:
    """Return what `draw.sample(range(older), size)` gives `count` times, all at once.

    Where `older` is small against `size`, it picks from what is left and moves the last into the gap.
    """
    if older > 21 + 4 ** math.ceil(math.log(size * 3, 4)) or size <= _FEW:  # here it remembers what it has picked
        return np.array([draw.sample(range(older), size) for _ in range(count)])
    bits, picks = draw.getrandbits, []
    left = [(n, n.bit_length()) for n in range(older, older - size, -1)]
    for _ in range(count):
        for n, width in left:
            pick = bits(width)
            while pick >= n:
                pick = bits(width)
            picks.append(pick)
    columns = np.array(picks).reshape(count, size).T
    pool, rows = np.tile(np.arange(older)[:, None], count), np.arange(count)
    picked = np.empty((size, count), dtype=np.int64)
    for i, column in enumerate(columns):
        picked[i] = pool[column, rows]
        pool[column, rows] = pool[older - 1 - i]
    return picked.T


def _distances(first: Floats, second: Floats) -> Indices:
    """Return the Kolmogorov-Smirnov distance of each row of `first` from that of `second`, in values of one side."""
    both = np.concatenate((first, second), axis=1)
    order = np.argsort(both, axis=1)
    ordered = np.take_along_axis(both, order, axis=1)
    ahead = np.cumsum(np.where(order < first.shape[1], 1, -1), axis=1)
    tied = ordered[:, :-1] == ordered[:, 1:]  # the distribution functions are compared after the last of equal values
    distances: Indices = np.abs(np.where(tied, 0, ahead[:, :-1])).max(axis=1)
    return distances


@cache
def _p_value(size: int, distance: int) -> float:
    """Return the p-value of SciPy for two samples of `size`; 1 where river takes no distance for a change."""
    if distance / size <= _LEAST:
        return 1.0
    values = np.arange(size, dtype=np.float64)
    with warnings.catch_warnings():
        # SciPy warns where it cannot say the exact p-value and takes the asymptotic one, as river does
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.ks_2samp(values, values + (distance - 0.5)).pvalue)
