"""Find clocks that were shifted, from when in the day rows happen."""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from continuous_training.core.window import Window
from continuous_training.triage._columns import PERIODS, Finding, Grouping, periods_of, stretches
from continuous_training.triage._table import Floats, Ints, Profile, Table
from continuous_training.triage._usual import CELL_ROWS, FEWEST_CELLS

HOUR = 3600 * 10**9
DAY = 24 * HOUR
_BINS = 96
"""Quarters of an hour in a day."""
_HALF_HOUR, _ONE_HOUR = 2, 4
_LEAST = 0.4
"""Hours of movement of the daily rhythm below which no shift is looked for."""
_GROWTH = 3.0
"""How many times its usual movement the rhythm must have moved."""
_UNDONE = 0.25
"""What may be left of the movement once the shift is undone: a changed rhythm leaves more."""
_CHANCE_HOURS = 14.0
"""Hours by which the rhythm of n rows moves by chance at most, times the root of n."""
_CLOCKS = {24: "hours", 1440: "minutes", 86400: "seconds"}
_OUTSIDE = 0.01
"""Share of rows outside the window from which clocks are called wrong."""
_SUMMER_TIMES = ("America/New_York", "Europe/Berlin", "Australia/Sydney", "America/Santiago")
"""Zones whose rules for daylight saving stand for those of most places that have it."""


def local(times: Ints, timezone: str) -> Ints:
    """Return what a clock in `timezone` shows, as nanoseconds."""
    if timezone == "UTC" or not times.size:
        return times
    shown = pd.DatetimeIndex(times.view("datetime64[ns]"), tz="UTC").tz_convert(timezone).tz_localize(None)
    return np.asarray(shown.asi8, dtype=np.int64)


def edges(window: Window) -> tuple[int, int]:
    """Return start and end in nanoseconds."""
    return int(pd.Timestamp(window.start).value), int(pd.Timestamp(window.end).value)


def fit(table: Table, groupings: list[Grouping], timezone: str) -> Profile:
    """Return the daily rhythm of the event time, of each source, and of columns that hold the time of the day."""
    quarters = _quarters(local(table.times, timezone))
    days, count = stretches(table.times, DAY)
    periods = periods_of(table.times)
    profile: Profile = {"rhythm": _rhythm(quarters, [(days, count), (periods, PERIODS)])}
    for g in groupings:
        rows = [np.flatnonzero(g.groups == i) for i in range(len(g.names))]
        profile[f"rhythm.{g.column}"] = np.array([_rhythm(quarters[r], [(periods[r], PERIODS)]) for r in rows]).reshape(
            len(rows), _BINS + 1
        )
    for name, values in table.numbers.items():
        top = _clock(values)
        if top:
            kept = np.isfinite(values)
            cells = [(days[kept], count), (periods[kept], PERIODS)]
            profile[f"clock.{name}"] = _rhythm(_of_day(values[kept], top), cells)
            profile[f"top.{name}"] = np.array(top)
    return profile


def examine(
    profile: Profile, table: Table, groupings: list[Grouping], window: Window, timezone: str, min_rows: int
) -> Iterator[Finding]:
    """Yield a shift of the event time, in all rows or one source, or of a column that holds the time of the day."""
    start, end = edges(window)
    outside = float(((table.times < start) | (table.times >= end)).mean())
    if outside > _OUTSIDE:
        yield Finding("time_shift", "", f"{outside:.1%} of the rows have an event time outside the window")
    summer = timezone == "UTC" and _clocks_changed(int(profile["first"]), end)
    quarters = _quarters(local(table.times, timezone))
    days, count = stretches(table.times, DAY)
    text = _in_all_or_days(profile["rhythm"], quarters, (days, count), min_rows, summer=summer)
    if text:
        yield Finding("time_shift", "", text)
    for name, values in table.numbers.items():
        if f"clock.{name}" in profile:
            kept = np.isfinite(values)
            bins = _of_day(values[kept], int(profile[f"top.{name}"]))
            text = _in_all_or_days(profile[f"clock.{name}"], bins, (days[kept], count), min_rows, summer=summer)
            if text:
                yield Finding("time_shift", name, text)
    for g in groupings:
        for i, name in enumerate(g.names):
            bins = quarters[g.groups == i]
            rhythm = profile[f"rhythm.{g.column}"][i]
            text = _shift(rhythm[:_BINS], float(rhythm[-1]), bins, summer=summer) if bins.size >= min_rows else ""
            if text:
                yield Finding("time_shift", "", text, (g.column, name))


def _in_all_or_days(rhythm: Floats, bins: Ints, days: tuple[Ints, int], min_rows: int, *, summer: bool) -> str:
    """Describe the shift of all rows, or of two days at least; empty when there is none."""
    usual_day, usual_period = (float(x) for x in rhythm[_BINS:])
    if bins.size < min_rows:
        return ""
    text = _shift(rhythm[:_BINS], usual_day if days[1] < FEWEST_CELLS else usual_period, bins, summer=summer)
    if text or days[1] < FEWEST_CELLS:
        return text
    parts = (bins[days[0] == day] for day in range(days[1]))
    found = [_shift(rhythm[:_BINS], usual_day, part, summer=summer) for part in parts if part.size >= min_rows]
    shifted = [text for text in found if text]
    return f"{shifted[0]}, on {len(shifted)} of {days[1]} days" if len(shifted) > 1 else ""


def _shift(reference: Floats, usual: float, bins: Ints, *, summer: bool) -> str:
    """Describe by how much the rhythm was shifted; empty unless undoing a shift brings it back."""
    if not (np.isfinite(usual) and bins.size):
        return ""
    counts = np.bincount(bins, minlength=_BINS).astype(np.float64)
    chance = _CHANCE_HOURS / np.sqrt(bins.size)
    moved = _hours(counts, reference)
    if moved < max(_LEAST, _GROWTH * usual, 2 * chance):
        return ""
    shifts = np.arange(_HALF_HOUR, _BINS, _HALF_HOUR)
    left = np.array([_hours(np.roll(counts, -shift), reference) for shift in shifts])
    best = int(left.argmin())
    shift = int(shifts[best]) if shifts[best] <= _BINS // 2 else int(shifts[best]) - _BINS
    if left[best] > max(_UNDONE * moved, min(1.5 * usual, 0.5 * moved)) or (summer and abs(shift) == _ONE_HOUR):
        return ""
    return f"the daily rhythm is shifted by {shift / 4:+g} hours: undone it is off by {left[best]:.2f} hours, now by {moved:.2f}"


def _hours(counts: Floats, reference: Floats) -> float:
    """Return by how many hours a row must move on average to turn one daily rhythm into the other (round the clock).

    Source: Werman, Peleg and Rosenfeld (1985), a distance metric for multidimensional histograms.
    """
    gap = np.cumsum(counts / counts.sum() - reference / reference.sum())
    return float(np.abs(gap - np.median(gap)).mean() * 24)


def _rhythm(bins: Ints, cells: list[tuple[Ints, int]]) -> Floats:
    """Return the rows of each quarter of an hour, then the farthest that a cell is from them, in hours, per cells."""
    whole = np.bincount(bins, minlength=_BINS).astype(np.float64)
    usual = []
    for codes, count in cells:
        table = np.bincount(codes * _BINS + bins, minlength=count * _BINS).reshape(count, _BINS)
        full = table[table.sum(axis=1) >= CELL_ROWS]
        far = [max(0.0, _hours(row, whole) - _CHANCE_HOURS / 4 / np.sqrt(row.sum())) for row in full]
        usual.append(max(far) if len(far) >= FEWEST_CELLS else np.nan)
    return np.concatenate([whole, usual])


def _quarters(clock: Ints) -> Ints:
    return clock % DAY // (DAY // _BINS)


def _of_day(values: Floats, top: int) -> Ints:
    bins: Ints = np.floor(values * _BINS / top).astype(np.int64) % _BINS
    return bins


def _clock(values: Floats) -> int:
    """Return how many units a day has when a column seems to hold the time of the day, else 0."""
    kept = values[np.isfinite(values)]
    if kept.size < _BINS or kept.min() < 0 or np.any(kept != np.floor(kept)):
        return 0
    return next((top for top in _CLOCKS if 0.85 * top <= kept.max() < top and kept.min() <= 0.4 * top), 0)


def _clocks_changed(first: int, end: int) -> bool:
    """Tell whether daylight saving began or ended somewhere in between."""
    at = [datetime.fromtimestamp(ns / 1e9, tz=UTC) for ns in (first, end)]
    days = min((at[1] - at[0]).days, 366)
    moments = [at[1] - timedelta(days=day) for day in range(days + 1)] + [at[0]]
    return any(len({m.astimezone(zoneinfo.ZoneInfo(zone)).utcoffset() for m in moments}) > 1 for zone in _SUMMER_TIMES)
