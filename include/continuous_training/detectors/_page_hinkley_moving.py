"""The alarms of the Page-Hinkley test with a moving mean, which is river's; the detector here takes the reference's."""

from typing import Literal, NamedTuple

import numpy as np
from scipy.signal import lfilter

from continuous_training.detectors import _stream
from continuous_training.detectors._columns import Floats
from continuous_training.detectors._stream import Indices

_ROUNDING = 1e-7  # relative; two ways to compute the sums differ by much less


class Moving(NamedTuple):
    """The parameters of river 0.23 with their defaults."""

    min_instances: int = 30
    delta: float = 0.005
    threshold: float = 50.0
    alpha: float = 1 - 0.0001
    mode: Literal["up", "down", "both"] = "both"


def alarms(values: Floats, **parameters: float | str) -> Indices:
    """Return the rows at which the test finds a change, and after which it starts anew; parameters as `Moving`."""
    form = Moving(**parameters)  # type: ignore[arg-type]

    def first(left: Floats) -> int | None:
        scale = form.threshold + np.abs(left).max()
        state = _Sums()
        for begin, block in _stream.blocks(left):
            largest, state = _advance(state, block, form)
            near = np.flatnonzero(largest > form.threshold - _ROUNDING * scale)
            if near.size and largest[near[0]] > form.threshold + _ROUNDING * scale:
                return begin + int(near[0])
            if near.size:
                return _row_by_row(left, form)
        return None

    return _stream.restarts(values, first)


class _Sums(NamedTuple):
    rows: int = 0
    total: float = 0.0
    up: float = 0.0
    down: float = 0.0
    lowest: float = np.inf
    highest: float = -1.0


def _advance(state: _Sums, values: Floats, form: Moving) -> tuple[Floats, _Sums]:
    """Add a block of values; return the larger of the excesses that count at each row, and what to go on with."""
    rows = state.rows + np.arange(1, values.size + 1)
    totals = state.total + np.cumsum(values)
    away = values - totals / rows
    up, _ = lfilter([1.0], [1.0, -form.alpha], away - form.delta, zi=[form.alpha * state.up])
    down, _ = lfilter([1.0], [1.0, -form.alpha], away + form.delta, zi=[form.alpha * state.down])
    lowest = np.minimum(np.minimum.accumulate(up), state.lowest)
    highest = np.maximum(np.maximum.accumulate(down), state.highest)
    rise, fall = up - lowest, highest - down
    largest = {"up": rise, "down": fall, "both": np.maximum(rise, fall)}[form.mode]
    largest[rows < form.min_instances] = -np.inf
    last = _Sums(int(rows[-1]), *(float(each[-1]) for each in (totals, up, down, lowest, highest)))
    return largest, last


def _row_by_row(values: Floats, form: Moving) -> int | None:
    """Return the first alarm with every operation in the order of river."""
    mean = up = down = 0.0
    lowest, highest = np.inf, -1.0
    for n, value in enumerate(values.tolist(), 1):
        mean += (1.0 / n) * (value - mean)
        away = value - mean
        up = form.alpha * up + away - form.delta
        down = form.alpha * down + away + form.delta
        lowest, highest = min(lowest, up), max(highest, down)
        rise = form.mode != "down" and up - lowest > form.threshold
        fall = form.mode != "up" and highest - down > form.threshold
        if n >= form.min_instances and (rise or fall):
            return n - 1
    return None
