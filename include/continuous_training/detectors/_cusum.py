"""The cumulative sums of a signal."""

from collections.abc import Iterator

import numpy as np

from continuous_training.detectors import _stream
from continuous_training.detectors._columns import Floats
from continuous_training.detectors._stream import Indices
from continuous_training.detectors.stream import Direction


def alarms(z: Floats, *, allowance: float, threshold: float, direction: Direction = "increase") -> Indices:
    """Return the rows at which a sum exceeds the threshold, and after which it starts anew."""

    def first(left: Floats) -> int | None:
        for begin, sums in _sums(left, allowance, direction):
            beyond = np.flatnonzero(sums > threshold)
            if beyond.size:
                return begin + int(beyond[0])
        return None

    return _stream.restarts(z, first)


def largest(z: Floats, allowance: float, direction: Direction) -> float:
    """Return the largest sum of either kind."""
    return max(float(sums.max()) for _, sums in _sums(z, allowance, direction))


def _sums(z: Floats, allowance: float, direction: Direction) -> Iterator[tuple[int, Floats]]:
    """Go over blocks of rows: the sum at each row, or the larger of the two sums."""
    signs = (1, -1) if direction == "both" else (1,)
    last = dict.fromkeys(signs, 0.0)
    for begin, block in _stream.blocks(z):
        sums = {sign: _above_zero(last[sign], sign * block - allowance) for sign in signs}
        last = {sign: float(sums[sign][-1]) for sign in signs}
        yield begin, np.maximum.reduce(list(sums.values()))


def _above_zero(start: float, steps: Floats) -> Floats:
    """Return `S_t = max(0, S_(t-1) + step_t)`: how far the plain sum lies above its lowest, where that is below zero."""
    plain = np.cumsum(np.append(start, steps))
    above: Floats = plain - np.minimum(np.minimum.accumulate(plain), 0.0)
    return above[1:]
