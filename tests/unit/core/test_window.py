"""Windows are half-open stretches of UTC, and tiles cover every moment exactly once."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from continuous_training.core.window import Window, in_utc, last_tile_end

zones = st.sampled_from(
    [UTC, timezone(timedelta(hours=5, minutes=45)), ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")]
)
moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=zones)  # noqa: DTZ001 - Hypothesis adds the zone
lengths = st.integers(1, 400 * 86_400 * 10**6).map(lambda microseconds: timedelta(microseconds=microseconds))  # fmt: skip


@given(moment=moments, every=lengths, anchor=moments)
def test_every_moment_lies_in_exactly_one_tile(moment: datetime, every: timedelta, anchor: datetime) -> None:
    start = last_tile_end(moment, every, anchor)
    assert start <= moment < start + every
    assert (start - in_utc(anchor)) % every == timedelta(0)


@given(moment=moments, every=lengths, anchor=moments, tiles=st.integers(1, 20))
def test_tiles_follow_one_another_without_gap_or_overlap(
    moment: datetime, every: timedelta, anchor: datetime, tiles: int
) -> None:
    end = last_tile_end(moment, every, anchor)
    assert last_tile_end(end, every, anchor) == end
    assert last_tile_end(end - timedelta(microseconds=1), every, anchor) == end - every
    assert last_tile_end(end + tiles * every, every, anchor) == end + tiles * every


@given(moment=moments, every=lengths, anchor=moments, steps=st.integers(-20, 20))
def test_any_tile_may_be_the_anchor(moment: datetime, every: timedelta, anchor: datetime, steps: int) -> None:
    other = in_utc(anchor) + steps * every
    assert last_tile_end(moment, every, other) == last_tile_end(moment, every, anchor)


def test_a_day_across_a_change_of_clocks_is_24_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    before, after = datetime(2024, 3, 30, 12, tzinfo=berlin), datetime(2024, 3, 31, 12, tzinfo=berlin)
    assert last_tile_end(after, timedelta(days=1), before) == in_utc(before)
    assert last_tile_end(after + timedelta(hours=1), timedelta(days=1), before) == in_utc(before) + timedelta(days=1)


def test_a_time_without_a_zone_is_utc_and_others_are_converted() -> None:
    naive = datetime(2024, 1, 1)  # noqa: DTZ001
    window = Window(start=naive, end=datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=-5))))
    assert window.start == datetime(2024, 1, 1, tzinfo=UTC)
    assert window.end.tzinfo is UTC
    assert str(window) == "2024-01-01T00:00Z/2024-01-02T05:00Z"


@pytest.mark.parametrize("length", [timedelta(0), timedelta(microseconds=-1), timedelta(days=-7)])
def test_a_window_must_start_before_it_ends(length: timedelta) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    with pytest.raises(ValidationError, match="must start before it ends"):
        Window(start=start, end=start + length)


@given(moments, lengths)
def test_a_window_survives_json(start: datetime, length: timedelta) -> None:
    window = Window(start=start, end=in_utc(start) + length)
    assert Window.model_validate_json(window.model_dump_json()) == window
