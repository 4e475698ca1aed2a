"""How far the rate of wrong rows lies above its lowest, in the standard deviations of then."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from continuous_training.detectors import _stream
from continuous_training.detectors._columns import Floats
from continuous_training.detectors._stream import Indices
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.ddm import DDM

_ROUNDING = 1e-11  # two ways to compute a rate differ by much less, however long the stream


class Lowest(NamedTuple):
    """Rows and wrong rows since the last alarm, and the rate and its deviation where their sum was lowest, if judged."""

    rows: float = 0.0
    wrong: float = 0.0
    rate: float = math.inf
    deviation: float = math.inf


class Track(NamedTuple):
    """For each row: rate plus deviation, if that is exact, and rate and deviation where their sum was lowest so far."""

    level: Floats
    exact: NDArray[np.bool_]
    rate: Floats
    deviation: Floats


def alarms(values: Floats, *, warm_start: int = 30, drift_threshold: float = 3.0) -> Indices:
    """Return the rows at which DDM finds a change, and after which it starts anew; parameters as in river 0.23.

    `values` are 1 for a wrong row and 0 for a right one.
    """

    def first(left: Floats) -> int | None:
        lowest = Lowest()
        for begin, block in _stream.blocks(left):
            before = lowest.rate + lowest.deviation
            track, lowest = advance(lowest, block, warm_start)
            margin = track.level - (track.rate + drift_threshold * track.deviation)
            beyond = np.flatnonzero(margin > 0)[:1]
            if _unclear(before, track, margin)[: beyond[0] + 1 if beyond.size else None].any():
                return _row_by_row(left, warm_start, drift_threshold)
            if beyond.size:
                return begin + int(beyond[0])
        return None

    return _stream.restarts(values, first)


def advance(lowest: Lowest, values: Floats, warm_start: int) -> tuple[Track, Lowest]:
    """Add a block of values; return the track of its rows, and what to go on with."""
    rows = lowest.rows + np.arange(1, values.size + 1)
    wrong = lowest.wrong + np.cumsum(values)
    rate = wrong / rows
    deviation = np.sqrt(rate * (1 - rate) / rows)
    level = rate + deviation
    sums = np.append(lowest.rate + lowest.deviation, np.where(rows > warm_start, level, math.inf))
    is_lowest = (sums[1:] <= np.minimum.accumulate(sums)[:-1]) & (rows > warm_start)
    place = np.maximum.accumulate(np.append(0, np.where(is_lowest, np.arange(1, values.size + 1), 0)))[1:]
    rates, deviations = np.append(lowest.rate, rate), np.append(lowest.deviation, deviation)
    track = Track(level, deviation == 0, rates[place], deviations[place])
    return track, Lowest(float(rows[-1]), float(wrong[-1]), float(track.rate[-1]), float(track.deviation[-1]))


def prepare(detector: DDM, values: Floats) -> Prepared:
    """Return what DDM knows at the end of the reference."""
    found = alarms(values, warm_start=detector.warm_start, drift_threshold=detector.threshold)
    lowest = Lowest()
    for _, block in _stream.blocks(_stream.since_last(values, found)):
        _, lowest = advance(lowest, block, detector.warm_start)
    return {"lowest": np.array(lowest)}


def measure(detector: DDM, prepared: Prepared, values: Floats, _z: Floats) -> float | str:
    """Return the largest distance in the window, in lowest deviations."""
    lowest = Lowest(*prepared["lowest"].tolist())
    needed = max(detector.min_rows, detector.warm_start + 1)
    if note := _stream.unsettled(detector.kind, int(lowest.rows), needed):
        return note
    if not lowest.deviation:
        all_are = "wrong" if lowest.rate else "right"
        return (
            f"all {int(lowest.rows)} rows of the reference since {detector.kind} last found a change there are {all_are}, "
            "so there is no unit to measure in"
        )
    largest = 0.0
    for _, block in _stream.blocks(values):
        track, lowest = advance(lowest, block, detector.warm_start)
        largest = max(largest, float(((track.level - track.rate) / track.deviation).max()))
    return largest


def _unclear(before: float, track: Track, margin: Floats) -> NDArray[np.bool_]:
    """Tell in which rows rounding could decide."""
    lowest = np.append(before, track.rate + track.deviation)[:-1]
    close = np.minimum(np.abs(track.level - lowest), np.abs(margin)) <= _ROUNDING
    unclear: NDArray[np.bool_] = close & ~track.exact
    return unclear


def _row_by_row(values: Floats, warm_start: int, drift_threshold: float) -> int | None:
    """Return the first alarm with every operation in the order of river."""
    rate, lowest, lowest_rate, lowest_deviation = 0.0, math.inf, math.inf, math.inf
    for n, value in enumerate(values.tolist(), 1):
        rate += (1.0 / n) * (value - rate)
        deviation = math.sqrt(rate * (1 - rate) / n)
        if n <= warm_start:
            continue
        if rate + deviation <= lowest:
            lowest_rate, lowest_deviation, lowest = rate, deviation, rate + deviation
        if rate + deviation > lowest_rate + drift_threshold * lowest_deviation:
            return n - 1
    return None
