from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest

from continuous_training.core.errors import DataInvalid
from continuous_training.core.task import Task
from continuous_training.sources import _rows

NOON = datetime(2013, 3, 1, 12, tzinfo=UTC)


def _frame(labels: pa.Array, as_of: datetime, delay: timedelta = timedelta(hours=1)) -> pd.DataFrame:
    task = Task(kind="classification", label="y", event_time="t", label_delay=delay)
    times = pa.array([NOON + timedelta(hours=hour) for hour in range(len(labels))], _rows.UTC_TIME)
    table = pa.table({"y": labels, "t": times})
    return _rows.to_frame([table], table.schema, task=task, as_of=as_of)


def test_a_label_is_known_from_the_moment_its_delay_has_passed() -> None:
    labels = pa.array([1.0, 2.0, 3.0])
    assert _frame(labels, NOON + timedelta(hours=2))["y"].notna().tolist() == [True, True, False]
    just_before = NOON + timedelta(hours=2, microseconds=-1)
    assert _frame(labels, just_before)["y"].notna().tolist() == [True, False, False]


def test_an_as_of_without_a_zone_is_utc() -> None:
    assert _frame(pa.array([1.0]), NOON.replace(tzinfo=None) + timedelta(hours=1))["y"].notna().all()


def test_no_label_is_known_at_the_beginning_of_the_calendar() -> None:
    assert _frame(pa.array([1.0]), datetime(1, 1, 1, tzinfo=UTC), timedelta(days=3660))["y"].isna().all()


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (pa.array([0, 1, 1]), "float64"),
        (pa.array([0, 1, 1], pa.uint8()), "float64"),
        (pa.array([0.5, 1, 1]), "float64"),
        (pa.array([True, False, True]), "object"),
        (pa.array(["late", "late", "on time"]), "object"),
    ],
)
def test_the_type_of_a_label_does_not_depend_on_how_many_are_known(labels: pa.Array, dtype: str) -> None:
    for hours in (0, 2, 24):
        seen = _frame(labels, NOON + timedelta(hours=hours))["y"]
        assert seen.dtype == dtype
        assert seen.dropna().tolist() == labels.to_pylist()[: min(hours, 3)]


def test_rows_of_one_moment_keep_their_order_while_others_are_sorted() -> None:
    task = Task(kind="regression", label="y", event_time="t")
    times = pa.array([NOON + timedelta(hours=number % 2) for number in range(200)], _rows.UTC_TIME)
    table = pa.table({"y": [float(number) for number in range(200)], "t": times})
    seen = _rows.to_frame([table], table.schema, task=task, as_of=NOON + timedelta(days=1))
    assert seen["y"].tolist() == [*range(0, 200, 2), *range(1, 200, 2)]


@pytest.mark.parametrize(
    ("kind", "at", "first"),
    [
        (pa.timestamp("s"), NOON + timedelta(microseconds=1), NOON.replace(tzinfo=None) + timedelta(seconds=1)),
        (pa.timestamp("s", "UTC"), NOON, NOON),
        (pa.timestamp("ms", "UTC"), NOON + timedelta(microseconds=1), NOON + timedelta(milliseconds=1)),
        (pa.timestamp("us", "UTC"), NOON + timedelta(microseconds=1), NOON + timedelta(microseconds=1)),
        (pa.timestamp("ns", "UTC"), NOON, NOON),
        (pa.date32(), NOON, date(2013, 3, 2)),
        (pa.date32(), datetime(2013, 3, 1, tzinfo=UTC), date(2013, 3, 1)),
        (
            pa.timestamp("s"),
            datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None),
        ),
    ],
)
def test_an_edge_is_the_first_value_of_its_type_not_before_the_moment(
    kind: pa.DataType, at: datetime, first: date
) -> None:
    assert _rows.edge(at, kind).as_py() == first


def test_an_edge_beyond_what_nanoseconds_can_say_lies_before_every_row() -> None:
    assert _rows.edge(datetime(1, 1, 1, tzinfo=UTC), pa.timestamp("ns")).value == -(2**63 - 1)


def test_event_times_that_nanoseconds_cannot_say_are_refused_by_year() -> None:
    times = pa.chunked_array([pa.array([datetime(3000, 1, 1, tzinfo=UTC)], pa.timestamp("us"))])
    with pytest.raises(DataInvalid, match=r"event time 't' .*outside the years 1677 to 2262"):
        _rows.in_nanoseconds(times, "t")


def test_missing_columns_are_listed_with_no_more_names_than_one_can_read() -> None:
    many = [f"column_{number:03}" for number in range(100)]
    with pytest.raises(DataInvalid, match=r"no column 'b', 'column_5' .did you mean 'column_0..'.*and 70 more"):
        _rows.require(["b", "column_5", "column_001"], many, "table 'flights'")
