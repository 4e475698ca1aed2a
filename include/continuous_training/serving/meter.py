"""What a server counts, as plain numbers in memory that worker processes may share: counting one request takes a microsecond.

Each worker has a block of its own; whoever tells adds the blocks up. `admin` makes Prometheus' text of the sums.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from http import HTTPStatus
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from continuous_training.trainers.bundle import SCORE_BUCKETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from continuous_training.trainers.bundle import Prediction

ROUTES = ("invocations", "infer", "what_if", "health", "metadata", "unknown")
CLASSES = ("2xx", "4xx", "5xx")
SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REFUSALS = (400, 404, 405, 413, 415, 500, 503)
SCORES = SCORE_BUCKETS - 1
_MANY = 64
_PLACES = {
    "requests": len(ROUTES) * len(CLASSES),
    "durations": len(ROUTES) * (len(SECONDS) + 1),
    "seconds": len(ROUTES),
    "refusals": len(REFUSALS),
    "rows": 1,
    "in_flight": 1,
    "scores": SCORES + 1,
    "score_sum": 1,
}
_START = dict(zip(_PLACES, accumulate(_PLACES.values(), initial=0), strict=False))
_SIZE = sum(_PLACES.values())
_FLOAT = 8


class Board:
    """The blocks of all workers, in memory that processes forked later share."""

    def __init__(self, workers: int = 1) -> None:
        self._cells = memoryview(mmap.mmap(-1, workers * _SIZE * _FLOAT)).cast("d")
        self._workers = workers

    def block(self, worker: int = 0) -> memoryview[float]:
        """Return the cells of one worker."""
        return self._cells[worker * _SIZE : (worker + 1) * _SIZE]

    def total(self, name: str) -> list[float]:
        """Return what all workers have counted under a name."""
        blocks = (self.block(worker)[_START[name] : _START[name] + _PLACES[name]] for worker in range(self._workers))
        return [sum(values) for values in zip(*blocks, strict=True)]


class Meter:
    """Counts what one worker does.

    Parameters
    ----------
    cells
        Its block of the board.
    bounds
        Upper bounds of the histogram of predictions, as `score_bounds` of the bundle gives them.
    """

    def __init__(self, cells: memoryview[float], bounds: Sequence[float]) -> None:
        self._cells = cells
        self._bounds = bounds
        cells[_START["in_flight"]] = 0  # of a worker before, that was killed

    def begin(self) -> None:
        """Count a request that has begun."""
        self._cells[_IN_FLIGHT] += 1

    def end(self, route: int, status: int, seconds: float) -> None:
        """Count a request that was answered.

        Parameters
        ----------
        route
            Its place in `ROUTES`.
        """
        cells = self._cells
        cells[_IN_FLIGHT] -= 1
        cells[_REQUESTS + route * len(CLASSES) + max(0, status // 100 - 3)] += 1
        cells[_DURATIONS + route * (len(SECONDS) + 1) + bisect_left(SECONDS, seconds)] += 1
        cells[_SECONDS + route] += seconds
        if status >= HTTPStatus.BAD_REQUEST:
            cells[_REFUSALS + (REFUSALS.index(status) if status in REFUSALS else 0)] += 1

    def leave(self) -> None:
        """Count a request whose client left before it was read."""
        self._cells[_IN_FLIGHT] -= 1

    def predicted(self, predictions: Sequence[Prediction]) -> None:
        """Count predictions by how high they are; with more than two classes by the highest probability."""
        cells = self._cells
        cells[_ROWS] += len(predictions)
        scores = [max(score) if isinstance(score, list) else score for score in predictions]
        cells[_SCORE_SUM] += sum(scores)
        if len(scores) > _MANY:
            self._many(scores)
            return
        for score in scores:
            cells[_SCORES + bisect_left(self._bounds, score)] += 1

    def _many(self, scores: list[float]) -> None:
        import numpy as np

        places = np.searchsorted(self._bounds, scores)
        for place, count in enumerate(np.bincount(places, minlength=SCORES + 1).tolist()):
            self._cells[_SCORES + place] += count


_REQUESTS, _DURATIONS, _SECONDS, _REFUSALS, _ROWS, _IN_FLIGHT, _SCORES, _SCORE_SUM = _START.values()


class Histogram(NamedTuple):
    """Upper bounds, how many lie at or below each, and the sum of all; the last bound is infinite."""

    bounds: list[str]
    counts: list[float]
    total: float


def histogram(bounds: Sequence[float], counts: Sequence[float], total: float) -> Histogram:
    """Return a histogram as Prometheus wants it.

    >>> histogram([0.5, 1.0], [2, 0, 1], 3.5)
    Histogram(bounds=['0.5', '1.0', '+Inf'], counts=[2, 2, 3], total=3.5)
    """
    return Histogram([*map(repr, bounds), "+Inf"], list(accumulate(counts)), total)
