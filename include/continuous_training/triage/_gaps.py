"""Find parts of a window without rows, from how many rows each hour of the week usually has."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from continuous_training.core.window import Window
from continuous_training.triage._columns import Finding
from continuous_training.triage._table import Floats, Ints, Profile, Table
from continuous_training.triage._time import DAY, HOUR, edges, local

_WEEK = 168
_WEEKS, _DAYS = 2, 2
"""Weeks (days) that the reference must span for a weekly (daily) rhythm of the number of rows."""
_ROWS, _SHARE, _GROWTH = 20.0, 0.02, 3.0
"""A gap is where this many rows, this share of the window and this multiple of the largest usual gap are expected."""
_DAY_ROWS = 50
"""Rows that a day must usually have for its number of rows to be judged."""
_MONDAY = 3
"""1970-01-01 was a Thursday."""


def fit(table: Table, timezone: str) -> Profile:
    """Return rows per hour for each hour of the week, the fewest rows of each weekday, and the largest gap in rows."""
    clock = local(table.times, timezone)
    rates = _rates(clock)
    first, last = int(table.times[0]), int(table.times[-1])
    gap, _ = _largest_gap(rates, table.times, (first, last), timezone)
    return {"rates": rates, "weekdays": _fewest(clock), "gap": np.array(gap)}


def examine(profile: Profile, table: Table, window: Window, timezone: str, row_share: float) -> Iterator[Finding]:
    """Yield a stretch of the window without rows, else a day with far too few."""
    start, end = edges(window)
    if int(profile["span"]) < end - start:
        return  # too little is known of when rows are usual
    times = table.times[(table.times >= start) & (table.times < end)]
    gap, (since, until) = _largest_gap(profile["rates"], times, (start, end), timezone)
    total = _expected(profile["rates"], np.array([start, end]), (start, end), timezone)
    if gap > max(_ROWS, _SHARE * float(total[1] - total[0]), _GROWTH * float(profile["gap"])):
        text = f"no row from {_text(since)} to {_text(until)}, where about {gap:.0f} are usual"
        yield Finding("partial_window", "", text)
        return
    clock = local(times, timezone)
    first, last = (int(x) for x in local(np.array([start, end]), timezone))
    rows = dict(zip(*np.unique(clock // DAY, return_counts=True), strict=True))
    for day in range(-(-first // DAY), last // DAY):
        usual, found = float(profile["weekdays"][(day + _MONDAY) % 7]), int(rows.get(day, 0))
        if usual >= _DAY_ROWS and found < row_share * usual:
            text = f"{found} rows on {_text(day * DAY)[:10]}; the fewest on that weekday were {usual:.0f}"
            yield Finding("partial_window", "", text)
            return


def _text(at: int) -> str:
    return f"{pd.Timestamp(at):%Y-%m-%dT%H:%M}"


def _rates(clock: Ints) -> Floats:
    """Return the mean rows of each hour of the week, and of its neighbour if that has fewer.

    Taking the lower of neighbours keeps daylight saving and a late start of the day from looking like a gap.
    """
    hours, span = clock // HOUR, int(clock[-1] - clock[0])
    rows = np.bincount(hours - hours[0])
    place = (hours[0] + np.arange(rows.size) + _MONDAY * 24) % _WEEK
    if span < _WEEKS * 7 * DAY:
        place %= 24
    if span < _DAYS * DAY:
        place *= 0
    size = int(_WEEK if span >= _WEEKS * 7 * DAY else 24 if span >= _DAYS * DAY else 1)
    means = np.bincount(place, weights=rows, minlength=size) / np.maximum(np.bincount(place, minlength=size), 1)
    if size == 1:
        means[:] = clock.size / max(span / HOUR, 1e-9)
    low = np.minimum(means, np.minimum(np.roll(means, 1), np.roll(means, -1)))
    return np.resize(low, _WEEK)


def _expected(rates: Floats, times: Ints, span: tuple[int, int], timezone: str) -> Floats:
    """Return the rows expected from the start of `span` to each time in it."""
    first, last = span[0] // HOUR, span[1] // HOUR + 1
    hours = np.arange(first, last + 1, dtype=np.int64)
    place = (local(hours * HOUR, timezone) // HOUR + _MONDAY * 24) % _WEEK
    total = np.concatenate(([0.0], np.cumsum(rates[place])))[:-1]
    at: Floats = np.interp((times - first * HOUR) / HOUR, np.arange(hours.size), total)
    return at


def _largest_gap(rates: Floats, times: Ints, span: tuple[int, int], timezone: str) -> tuple[float, tuple[int, int]]:
    """Return the most rows expected between two neighbouring rows or an edge of `span`, and where that is."""
    points = np.concatenate(([span[0]], times, [span[1]])).astype(np.int64)
    gaps = np.diff(_expected(rates, points, span, timezone))
    widest = int(gaps.argmax())
    return float(gaps[widest]), (int(points[widest]), int(points[widest + 1]))


def _fewest(clock: Ints) -> Floats:
    """Return the fewest rows of each weekday over the whole days of the reference; 0 for a weekday seen less than twice."""
    days = clock // DAY
    rows = np.bincount(days - days[0])[1:-1]
    weekday = (int(days[0]) + 1 + np.arange(rows.size) + _MONDAY) % 7
    fewest = np.zeros(7)
    for day in range(7):
        found = rows[weekday == day]
        fewest[day] = found.min() if found.size > 1 else 0
    return fewest
