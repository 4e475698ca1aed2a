"""What every kind of source does, over every place its rows can be in."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from continuous_training.core.errors import DataInvalid, SourceUnavailable
from continuous_training.core.task import Task
from continuous_training.core.window import Window
from continuous_training.sources import SQL, AnySource, Parquet

pytest_plugins = ["postgres"]

TASK = Task(kind="classification", label="late", event_time="scheduled", label_delay=timedelta(days=1))
START = datetime(2013, 3, 1, tzinfo=UTC)
END = datetime(2013, 3, 11, tzinfo=UTC)
LONG_AFTER = datetime(2014, 1, 1, tzinfo=UTC)
COLUMNS = ["number", "carrier", "distance"]


def _rows() -> pd.DataFrame:
    """Flights on the hour, some at the same moment, some a microsecond before midnight, two without a time."""
    hours = [START + timedelta(hours=int(hour)) for hour in range(0, 240, 2)]
    ties = [START + timedelta(days=day) for day in range(10) for _ in range(3)]
    before_midnight = [START + timedelta(days=day, microseconds=-1) for day in range(1, 11)]
    times = [*sorted(hours + ties + before_midnight), None, None]
    count = len(times)
    rows = pd.DataFrame(
        {
            "number": range(count),
            "carrier": [None if n % 17 == 0 else ("AA", "DL", "O'Hare %s")[n % 3] for n in range(count)],
            "distance": [None if n % 13 == 0 else n * 1.5 for n in range(count)],
            "late": [None if n % 19 == 0 else n % 2 for n in range(count)],
            "diverted": [n % 5 == 0 for n in range(count)],
            "scheduled": pd.Series(times, dtype="datetime64[us, UTC]"),
        }
    )
    return rows.sample(frac=1, random_state=7)


ROWS = _rows()
TIMED = ROWS.dropna(subset="scheduled").sort_values("number")


@dataclass
class _Files:
    """Parquet files, in a local folder or in memory behind fsspec."""

    folder: str
    stored: int = 0

    def store(self, rows: pd.DataFrame) -> AnySource:
        self.stored += 1
        url = f"{self.folder}/{self.stored}"
        fs, root = fsspec.url_to_fs(url)
        fs.makedirs(f"{root}/_temporary")
        for part, start in enumerate(range(0, max(len(rows), 1), 60)):
            table = pa.Table.from_pandas(rows.iloc[start : start + 60], preserve_index=False, schema=_schema())
            pq.write_table(table, f"{root}/part-{part}.parquet", filesystem=fs, row_group_size=25)
        with fs.open(f"{root}/_temporary/part-9.parquet", "wb") as file:
            file.write(b"half")
        return Parquet(path=url)

    def unreachable(self) -> AnySource:
        return Parquet(path=f"{self.folder}/nowhere")

    def absent(self) -> AnySource:
        return self.unreachable()


def _schema() -> pa.Schema:
    return pa.schema(
        [
            ("number", pa.int64()),
            ("carrier", pa.string()),
            ("distance", pa.float64()),
            ("late", pa.int64()),
            ("diverted", pa.bool_()),
            ("scheduled", pa.timestamp("us", "UTC")),
        ]
    )


@dataclass
class _Tables:
    """Tables of a database that a connection in the environment names."""

    engine: sa.Engine
    time: sa.types.TypeEngine[datetime]
    stored: int = field(default=0)

    def store(self, rows: pd.DataFrame) -> AnySource:
        self.stored += 1
        table = sa.Table(
            f"flights_{self.stored}",
            sa.MetaData(),
            sa.Column("number", sa.Integer),
            sa.Column("carrier", sa.String),
            sa.Column("distance", sa.Numeric(12, 3, asdecimal=False)),
            sa.Column("late", sa.Integer),
            sa.Column("diverted", sa.Boolean),
            sa.Column("scheduled", self.time),
        )
        table.create(self.engine)
        records = rows.astype(object).where(rows.notna(), None).to_dict("records")
        for record in records:
            if record["scheduled"] is not None:
                record["scheduled"] = record["scheduled"].to_pydatetime()
        if records:
            with self.engine.begin() as connection:
                connection.execute(table.insert(), records)
        return SQL(conn_id="contract", table=table.name)

    def unreachable(self) -> AnySource:
        return SQL(conn_id="contract_unreachable", table="flights_1")

    def absent(self) -> AnySource:
        return SQL(conn_id="contract", table="nowhere")


Backend = _Files | _Tables


@pytest.fixture(
    scope="module",
    params=["parquet", "parquet in memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.services)],
)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    folder = tmp_path_factory.mktemp("source")
    if request.param == "parquet":
        yield _Files(str(folder))
    elif request.param == "parquet in memory":
        yield _Files(f"memory://{secrets.token_hex(4)}")
    elif request.param == "sqlite":
        yield from _sqlite(folder)
    else:
        yield from _postgresql(request.getfixturevalue("postgres"))


def _sqlite(folder: Path) -> Iterator[Backend]:
    engine = sa.create_engine(f"sqlite:///{folder}/rows.db", poolclass=sa.NullPool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_CONTRACT", f"sqlite:///{folder}/rows.db")
        patch.setenv("AIRFLOW_CONN_CONTRACT_UNREACHABLE", f"sqlite:///{folder}/missing/rows.db")
        yield _Tables(engine, sa.DateTime())


def _postgresql(url: str) -> Iterator[Backend]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_CONTRACT", url.replace("postgresql+psycopg", "postgres"))
        patch.setenv("AIRFLOW_CONN_CONTRACT_UNREACHABLE", "postgres://reader:hush@127.0.0.1:1/nowhere")
        yield _Tables(engine, sa.DateTime(timezone=True))
    engine.dispose()


@pytest.fixture(scope="module")
def source(backend: Backend) -> AnySource:
    return backend.store(ROWS)


def read(
    source: AnySource,
    start: datetime = START,
    end: datetime = END,
    columns: Sequence[str] = COLUMNS,
    as_of: datetime = LONG_AFTER,
) -> pd.DataFrame:
    return source.read(Window(start=start, end=end), task=TASK, columns=columns, as_of=as_of, locations={})


def test_the_rows_that_went_in_come_out_with_their_values(source: AnySource) -> None:
    seen = read(source, columns=[*COLUMNS, "diverted"]).sort_values("number", ignore_index=True)
    wanted = TIMED[[*COLUMNS, "diverted", "scheduled", "late"]].reset_index(drop=True)
    wanted["scheduled"] = wanted["scheduled"].astype("datetime64[ns, UTC]")
    pd.testing.assert_frame_equal(seen, wanted)


def test_rows_come_ordered_by_an_event_time_in_nanoseconds_utc_under_a_fresh_index(source: AnySource) -> None:
    seen = read(source)
    assert seen["scheduled"].dtype == "datetime64[ns, UTC]"
    assert seen["scheduled"].is_monotonic_increasing
    assert list(seen.index) == list(range(len(seen)))


def test_two_reads_give_the_same_rows_in_the_same_order(source: AnySource) -> None:
    pd.testing.assert_frame_equal(read(source), read(source))


def test_a_window_holds_its_start_and_not_its_end(source: AnySource) -> None:
    day = timedelta(days=1)
    seen = read(source, START + day, START + 2 * day)
    assert seen["scheduled"].min() == START + day
    assert seen["scheduled"].max() == START + 2 * day - timedelta(microseconds=1)


@settings(deadline=None, max_examples=15)
@given(
    edges=st.lists(
        st.timedeltas(timedelta(days=-2), timedelta(days=12)).map(START.__add__)
        | st.sampled_from(TIMED["scheduled"].tolist()),
        max_size=5,
    )
)
def test_tiles_hold_every_timed_row_exactly_once(source: AnySource, edges: list[datetime]) -> None:
    inner = {pd.Timestamp(edge).to_pydatetime() for edge in edges}
    cuts = sorted(inner | {START - timedelta(days=3), END + timedelta(days=3)})
    numbers = [number for start, end in pairwise(cuts) for number in read(source, start, end)["number"]]
    assert sorted(numbers) == list(TIMED["number"])


def test_only_the_columns_asked_for_come_and_each_comes_once(source: AnySource) -> None:
    assert list(read(source, columns=["carrier"]).columns) == ["carrier", "scheduled", "late"]
    assert list(read(source, columns=["late", "carrier", "scheduled", "late"]).columns) == [
        "late",
        "carrier",
        "scheduled",
    ]


def test_a_label_younger_than_its_delay_is_missing_and_an_older_one_is_not(source: AnySource) -> None:
    as_of = START + timedelta(days=5)
    seen = read(source, as_of=as_of)
    matured = seen["scheduled"] <= as_of - TASK.label_delay
    known = TIMED.set_index("number")["late"].reindex(seen["number"])
    assert 0 < matured.sum() < len(seen)
    assert seen.loc[~matured, "late"].isna().all()
    assert list(seen.loc[matured, "late"].fillna(-1)) == list(known[matured.to_numpy()].fillna(-1))


def test_the_label_has_one_type_whether_or_not_some_are_masked(source: AnySource) -> None:
    assert read(source, as_of=START)["late"].dtype == read(source)["late"].dtype == "float64"


def test_a_window_without_rows_is_an_empty_frame_with_the_same_columns_and_types(source: AnySource) -> None:
    seen = read(source, END + timedelta(days=30), END + timedelta(days=31))
    assert len(seen) == 0
    assert list(seen.columns) == [*COLUMNS, "scheduled", "late"]
    assert seen["scheduled"].dtype == "datetime64[ns, UTC]"
    assert seen["distance"].dtype == "float64"


def test_a_source_without_rows_reads_empty_and_has_no_watermark(backend: Backend) -> None:
    empty = backend.store(ROWS.head(0))
    assert list(read(empty).columns) == [*COLUMNS, "scheduled", "late"]
    assert empty.watermark(task=TASK, locations={}) is None


def test_the_watermark_is_the_newest_event_time_in_utc(source: AnySource) -> None:
    seen = source.watermark(task=TASK, locations={})
    assert seen == END - timedelta(microseconds=1)
    assert seen.utcoffset() == timedelta(0)


def test_a_missing_column_is_named_with_what_there_is_and_the_nearest_spelling(source: AnySource) -> None:
    with pytest.raises(
        DataInvalid, match=r"no column 'carier' \(did you mean 'carrier'\?\).*has carrier, distance.*retry"
    ):
        read(source, columns=["carier"])


def test_a_missing_event_time_is_named_by_read_and_watermark(source: AnySource) -> None:
    task = TASK.model_copy(update={"event_time": "schedule"})
    with pytest.raises(DataInvalid, match=r"'schedule' .did you mean 'scheduled'"):
        source.read(Window(start=START, end=END), task=task, columns=COLUMNS, as_of=LONG_AFTER, locations={})
    with pytest.raises(DataInvalid, match=r"'schedule' .did you mean 'scheduled'"):
        source.watermark(task=task, locations={})


def test_an_event_time_that_is_not_a_time_is_refused(source: AnySource) -> None:
    task = TASK.model_copy(update={"event_time": "distance"})
    with pytest.raises(DataInvalid, match=r"event time 'distance' of .* is double; it must be a timestamp"):
        source.watermark(task=task, locations={})


@pytest.mark.parametrize("case", ["unreachable", "absent"])
def test_rows_that_cannot_be_reached_may_be_there_at_a_retry(backend: Backend, case: str) -> None:
    lost = backend.unreachable() if case == "unreachable" else backend.absent()
    with pytest.raises(SourceUnavailable, match=r"a retry"):
        read(lost)
    with pytest.raises(SourceUnavailable, match=r"a retry"):
        lost.watermark(task=TASK, locations={})


def test_a_source_is_rebuilt_from_its_own_description(source: AnySource) -> None:
    assert type(source).model_validate(source.model_dump()) == source
