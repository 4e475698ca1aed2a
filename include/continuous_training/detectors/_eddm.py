"""How much closer together wrong rows are than they were."""

import math
from typing import NamedTuple

import numpy as np

from continuous_training.detectors import _stream
from continuous_training.detectors._columns import Floats
from continuous_training.detectors._stream import Indices
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.eddm import EDDM

_ROUNDING = 1e-7  # two ways to compute a share differ by much less, however long the stream


class Gaps(NamedTuple):
    """The gaps between wrong rows since row `start`: the last wrong row, their number and squares, and the largest reach.

    Rows count from 1. The reach is the mean plus two standard deviations of the gaps.
    """

    start: float = 0.0
    last: float = 0.0
    wrong: float = 0.0
    squares: float = 0.0
    largest: float = -1.0


def alarms(values: Floats, *, warm_start: int = 30, beta: float = 0.9) -> Indices:
    """Return the rows at which EDDM finds a change, and after which it starts anew; parameters as in river 0.23.

    `values` are 1 for a wrong row and 0 for a right one.
    """
    found: list[float] = []
    rows, place, gaps = _wrong_rows(values), 0, Gaps()
    while (next_place := _first(rows[place:], gaps, warm_start, beta)) is not None:
        place += next_place + 1
        found.append(float(rows[place - 1]))
        gaps = Gaps(start=found[-1], last=found[-1])
    return np.array(found, dtype=np.int64) - 1


def advance(gaps: Gaps, rows: Floats, warm_start: int) -> tuple[Floats, Gaps]:
    """Add a block of wrong rows; return the share left of the largest reach at each, 1 where not judged."""
    wrong, length, sizes = np.arange(gaps.wrong + 1, gaps.wrong + rows.size + 1), rows - gaps.start, rows.copy()
    sizes[1:] -= rows[:-1]
    sizes[0] -= gaps.last
    squares = (sizes * sizes).cumsum() + gaps.squares
    mean = length / wrong  # the gaps add up to the last row
    reach = mean + 2 * np.sqrt(np.maximum(squares - length * mean, 0) / np.maximum(wrong - 1, 1))
    reach[: length.searchsorted(warm_start, side="right")] = -1.0
    largest = np.maximum(np.maximum.accumulate(reach), gaps.largest)
    shares = reach / largest
    shares[: max(0, warm_start - int(gaps.wrong))] = 1.0
    return shares, Gaps(gaps.start, float(rows[-1]), float(wrong[-1]), float(squares[-1]), float(largest[-1]))


def prepare(detector: EDDM, values: Floats) -> Prepared:
    """Return the gaps since the last change in the reference."""
    found = alarms(values, warm_start=detector.warm_start, beta=1 - detector.threshold)
    start = float(found[-1] + 1) if found.size else 0.0
    gaps, rows = Gaps(start=start, last=start), _wrong_rows(values)
    for _, block in _stream.blocks(rows[rows > start]):
        _, gaps = advance(gaps, block, detector.warm_start)
    return {"gaps": np.array(gaps)}


def measure(detector: EDDM, prepared: Prepared, values: Floats, _z: Floats) -> float | str:
    """Return the largest fall in the window below the largest reach, as a share."""
    gaps, before = Gaps(*prepared["gaps"].tolist()), int(prepared["rows"])
    if note := _stream.unsettled(detector.kind, before - int(gaps.start), detector.min_rows):
        return note
    least = 1.0
    for _, block in _stream.blocks(_wrong_rows(values) + before):
        shares, gaps = advance(gaps, block, detector.warm_start)
        least = min(least, float(shares.min()))
    if gaps.wrong <= detector.warm_start:
        return (
            f"{int(gaps.wrong)} rows were wrong since {detector.kind} last found a change; more than {detector.warm_start} "
            "are needed"
        )
    return 1 - least


def _first(rows: Floats, gaps: Gaps, warm_start: int, beta: float) -> int | None:
    """Return the place in `rows` of the first alarm."""
    start = gaps.start
    for begin, block in _stream.blocks(rows):
        shares, gaps = advance(gaps, block, warm_start)
        near = (shares < beta + _ROUNDING).nonzero()[0]
        if near.size:
            sure = shares[near[0]] < beta - _ROUNDING
            return begin + int(near[0]) if sure else _row_by_row(rows - start, warm_start, beta)
    return None


def _row_by_row(rows: Floats, warm_start: int, beta: float) -> int | None:
    """Return the place of the first alarm with every operation in the order of river."""
    last, mean, squares, largest = 0.0, 0.0, 0.0, -1.0
    for wrong, row in enumerate(rows.tolist(), 1):
        gap, old = row - last, mean
        mean += (1.0 / wrong) * (gap - mean)
        squares += (gap - old) * (gap - mean)
        last = row
        if row <= warm_start:
            continue
        reach = mean + 2 * (math.sqrt(squares / (wrong - 1)) if wrong > 1 else 0.0)
        if reach > largest:
            largest = reach
        elif wrong > warm_start and reach / largest < beta:
            return wrong - 1
    return None


def _wrong_rows(values: Floats) -> Floats:
    return np.flatnonzero(values).astype(np.float64) + 1
