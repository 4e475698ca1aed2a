"""Where ADWIN cuts its window, and how far apart the means before and after each cut are."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from continuous_training.detectors import _stream
from continuous_training.detectors._columns import Floats
from continuous_training.detectors._stream import Indices
from continuous_training.detectors.adwin import ADWIN
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.stream import Direction


class Settings(NamedTuple):
    """The parameters of river 0.23 with their defaults, and `direction`, which is both there."""

    delta: float = 0.002
    clock: int = 32
    max_buckets: int = 5
    min_window_length: int = 5
    grace_period: int = 10
    direction: Direction = "both"


class Window(NamedTuple):
    """The rows since the last alarm: where its buckets end, the sum up to each end, and the squares about the mean."""

    ends: Indices = np.zeros(1, dtype=np.int64)
    totals: Floats = np.zeros(1)
    squares: Floats = np.zeros(1)


def alarms(values: Floats, **parameters: float | str) -> Indices:
    """Return the rows at which ADWIN finds a change, and after which it starts anew; parameters as `Settings`."""
    settings = Settings(**parameters)  # type: ignore[arg-type]

    def first(left: Floats) -> int | None:
        window = Window()
        for begin, block in _stream.blocks(left):
            rows, ratios, window = advance(window, block, settings)
            beyond = np.flatnonzero(ratios > 1)
            if beyond.size:
                return begin + int(rows[beyond[0]])
        return None

    return _stream.restarts(values, first)


def advance(window: Window, values: Floats, settings: Settings) -> tuple[Indices, Floats, Window]:
    """Add a block of values; return the rows where the window is checked, the largest ratio at each, and the window.

    A ratio is the difference of the means after and before a cut, over what chance allows. Until something is cut off,
    the buckets depend on nothing but the number of rows, so all checks of a block are done together.
    """
    old = int(window.ends[-1])
    count = np.arange(old + 1, old + values.size + 1)
    totals = np.cumsum(np.append(window.totals[-1], values))
    mean_before = totals[:-1] / np.maximum(count - 1, 1)
    squares = np.cumsum(np.append(window.squares, (count - 1) * (values - mean_before) ** 2 / count))[1:]
    rows = np.flatnonzero((count % settings.clock == 0) & (count > max(settings.grace_period, 1)))
    known = _Totals(window.ends, np.append(window.totals, totals[1:]))
    ratios = _largest_ratios(count[rows], squares[rows], known, settings)
    ends = np.concatenate([[0], *(cut[valid] for cut, valid in _cuts(count[-1:], settings.max_buckets))])
    return rows, ratios, Window(ends, known.until(ends), squares[-1:])


def prepare(detector: ADWIN, values: Floats) -> Prepared:
    """Return the window that is left at the end of the reference."""
    with np.errstate(over="ignore", invalid="ignore"):
        z = (values - values.mean()) / values.std()
        settled = _stream.since_last(z, alarms(z, delta=detector.delta, direction=detector.direction))
        window = Window()
        for _, block in _stream.blocks(settled):
            _, _, window = advance(window, block, _settings(detector))
    return window._asdict()


def measure(detector: ADWIN, prepared: Prepared, _values: Floats, z: Floats) -> float | str:
    """Return the largest ratio at any check in the window."""
    window = Window(prepared["ends"], prepared["totals"], prepared["squares"])
    if note := _stream.unsettled(detector.kind, int(window.ends[-1]), detector.min_rows):
        return note
    largest = -np.inf
    for _, block in _stream.blocks(z):
        _, ratios, window = advance(window, block, _settings(detector))
        largest = max(largest, float(ratios.max(initial=-np.inf)))
    if not np.isfinite(window.squares).all():
        return math.nan
    if largest == -np.inf:
        return f"{detector.kind} checks every {Settings().clock} rows, which the window does not have"
    return largest


def _settings(detector: ADWIN) -> Settings:
    return Settings(delta=detector.delta, direction=detector.direction)


class _Totals(NamedTuple):
    """Sums of the first rows: up to the ends of the old buckets, then row by row."""

    ends: Indices
    sums: Floats

    def until(self, rows: Indices) -> Floats:
        place = rows + (self.ends.size - 1 - self.ends[-1])
        early = rows < self.ends[-1]
        place[early] = np.searchsorted(self.ends, rows[early])
        sums: Floats = self.sums[place]
        return sums


def _largest_ratios(count: Indices, squares: Floats, totals: _Totals, settings: Settings) -> Floats:
    """Return the largest ratio of all cuts at each number of rows; minus infinity where no cut is allowed."""
    total, chance = totals.until(count), np.log(2 * np.log(count) / settings.delta)
    noise = 2 * squares / count * chance
    least, largest = settings.min_window_length, np.full(count.size, -np.inf)
    for cut, is_end in _cuts(count, settings.max_buckets):
        valid = is_end & (cut >= least) & (cut <= count - max(least, 1))
        first = totals.until(np.where(valid, cut, 0))
        before = np.where(valid, cut, float(least))
        after = np.where(valid, count - cut, float(least))
        scale = 1 / (before - (least - 1)) + 1 / (after - (least - 1))
        ratio = ((total - first) / after - first / before) / (np.sqrt(noise * scale) + 2 / 3 * chance * scale)
        if settings.direction == "both":
            ratio = np.abs(ratio)
        np.maximum(largest, np.where(valid, ratio, -np.inf).max(axis=0, initial=-np.inf), out=largest)
    return largest


def _cuts(count: Indices, most: int) -> Iterator[tuple[Indices, NDArray[np.bool_]]]:
    """Yield where the buckets end that hold the first `count` rows, from old to new, and which of these there are.

    There is a row for each of at most `most` buckets of one size, and a column for each number of rows in `count`. As soon
    as there are more buckets of one size, the two oldest of them become one of twice that size.
    """
    levels = []
    while count.any():
        pairs = np.maximum(0, (count - most + 1) // 2)
        levels.append(count - 2 * pairs)
        count = pairs
    start = np.zeros_like(count)
    place = np.arange(1, most + 1)[:, None]
    for level in reversed(range(len(levels))):
        yield start + (place << level), place <= levels[level]
        start = start + (levels[level] << level)
