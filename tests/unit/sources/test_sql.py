import json
import sqlite3
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from continuous_training.core.errors import DataInvalid, SourceUnavailable, UsageError
from continuous_training.core.task import Task
from continuous_training.core.window import Window
from continuous_training.sources import SQL

pytest_plugins = ["postgres"]

TASK = Task(kind="regression", label="y", event_time="t")
START = datetime(2013, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)

Store = Callable[..., SQL]


def read(source: SQL, *columns: str, start: datetime = START, end: datetime | None = None) -> pd.DataFrame:
    window = Window(start=start, end=end or start + DAY)
    return source.read(window, task=TASK, columns=columns, as_of=START + 9999 * DAY, locations={})


def watermark(source: SQL) -> datetime | None:
    return source.watermark(task=TASK, locations={})


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Create `rows (t, y, x)` in an SQLite file and return its source."""
    file = tmp_path / "Rows ?#%.db"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(file)}))

    def store(rows: Sequence[tuple[object, ...]], time: str = "DATETIME", x: str = "REAL", table: str = "rows") -> SQL:
        with sqlite3.connect(file) as connection:
            connection.execute(f'CREATE TABLE "{table}" (t {time}, y REAL, x {x})')
            padded = [(*row, *[None] * (3 - len(row))) for row in rows]
            connection.executemany(f'INSERT INTO "{table}" VALUES (?, ?, ?)', padded)
        connection.close()
        return SQL(conn_id="shop", table=table)

    return store


@pytest.fixture
def postgresql(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Create `rows (t, y, x)` in PostgreSQL and return its source."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", postgres_database)

    def store(values: str, time: str = "timestamptz", x: str = "float8", table: str = "rows") -> SQL:
        engine = sa.create_engine(postgres_database, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE TABLE {table} (t {time}, y float8, x {x})")
            if values:
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES {values}")
        return SQL(conn_id="shop", table=table)

    return store


@pytest.mark.parametrize(
    "table",
    [
        "", "rows; drop table rows", "rows--", 'rows"', "rows'", "select 1", "(select 1)", "a.b.c", "a..b", ".a", "a.",
        "1rows", "rows\n", "rows\0", "rows r", "rows,users", "{{ table }}", "x" * 200,
    ],
)  # fmt: skip
def test_a_table_name_that_is_more_than_a_name_is_refused(table: str) -> None:
    with pytest.raises(ValidationError):
        SQL(conn_id="shop", table=table)


@pytest.mark.parametrize("conn_id", ["", "a b", "a/b", "a\n", "x" * 300, "a=b"])
def test_a_connection_name_that_is_more_than_a_name_is_refused(conn_id: str) -> None:
    with pytest.raises(ValidationError):
        SQL(conn_id=conn_id, table="rows")


def test_a_query_cannot_be_written_in_a_model_file() -> None:
    with pytest.raises(ValidationError, match=r"query"):
        SQL.model_validate({"kind": "sql", "conn_id": "shop", "table": "rows", "query": "select 1"})


@pytest.mark.parametrize("table", ["order", "Mixed_Case", "group"])
def test_reserved_words_and_mixed_case_are_quoted(sqlite: Store, table: str) -> None:
    assert len(read(sqlite([("2013-03-01", 1.0)], table=table))) == 1


def test_a_column_name_that_looks_like_code_is_a_name(sqlite: Store) -> None:
    with pytest.raises(DataInvalid, match=r"no column 'y; drop table rows'"):
        read(sqlite([("2013-03-01", 1.0)]), "y; drop table rows")


SAME_MOMENT = [
    "2013-03-01", "2013-03-01 00:00", "2013-03-01 00:00:00", "2013-03-01 00:00:00.000000", "2013-03-01T00:00:00Z",
    "2013-02-28 19:00:00-05:00", "2013-03-01T14:00+14:00",
]  # fmt: skip


@pytest.mark.parametrize("text", SAME_MOMENT)
@pytest.mark.parametrize("kind", ["DATETIME", "TEXT", "TIMESTAMP", "DATE"])
def test_every_way_sqlite_writes_a_moment_is_inside_from_its_start_to_before_its_end(
    sqlite: Store, text: str, kind: str
) -> None:
    source = sqlite([(text, 1.0)], time=kind)
    tick = timedelta(microseconds=1)
    assert read(source)["t"].tolist() == [pd.Timestamp(START)]
    assert len(read(source, start=START - DAY, end=START)) == 0
    assert len(read(source, start=START - DAY, end=START + tick)) == 1
    assert len(read(source, start=START + tick)) == 0
    assert watermark(source) == START


def test_times_written_in_different_ways_come_in_the_order_of_time(sqlite: Store) -> None:
    source = sqlite([("2013-03-01T05:00:00Z", 2.0), ("2013-03-01 23:00:00", 3.0), ("2013-02-28 22:00:00-05:00", 1.0)])
    assert read(source)["y"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "value",
    [
        1362096000,
        1.5,
        "01/03/2013",
        "",
        b"2013-03-01",
        "20130301T000000Z",
        "2013-W09-5",
        "2013/03/01",
        "2013-03-01 noon",
    ],
)
def test_a_value_that_is_no_time_is_named_instead_of_falling_out_of_every_window(sqlite: Store, value: object) -> None:
    source = sqlite([("2013-03-01", 1.0), (value, 2.0), ("2014-03-02", 3.0)])
    with pytest.raises(DataInvalid, match=r"event time 't' of table 'rows' .* holds .*ISO 8601"):
        read(source)


def test_a_numeric_event_time_column_is_refused_in_sqlite(sqlite: Store) -> None:
    with pytest.raises(DataInvalid, match=r"event time 't' of table 'rows' of connection 'shop' is int64"):
        read(sqlite([], time="INTEGER"))


@pytest.mark.parametrize("moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)])
def test_windows_at_the_ends_of_the_calendar_are_read(sqlite: Store, moment: datetime) -> None:
    assert len(read(sqlite([("2013-03-01", 1.0)]), start=moment)) == 0


def test_a_value_that_does_not_fit_its_column_is_named(sqlite: Store) -> None:
    source = sqlite([("2013-03-01", 1.0, "many")], x="INTEGER")
    with pytest.raises(DataInvalid, match=r"column 'x' of table 'rows' .* holds a value that is not INTEGER.*'many'"):
        read(source, "x")


def test_an_sqlite_column_without_a_type_is_read_as_what_it_holds(sqlite: Store) -> None:
    assert read(sqlite([("2013-03-01", 1.0, 7)], x=""), "x")["x"].tolist() == [7]


@pytest.mark.parametrize("kind", ["DATETIME", "DATE", "TIME"])
def test_an_sqlite_time_that_is_not_the_event_time_comes_as_its_text(sqlite: Store, kind: str) -> None:
    assert read(sqlite([("2013-03-01", 1.0, "3pm")], x=kind), "x")["x"].tolist() == ["3pm"]


def test_a_missing_sqlite_file_is_not_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(SourceUnavailable, match=r"unable to open database file.*a retry connects again"):
        watermark(SQL(conn_id="shop", table="rows"))
    assert not list(tmp_path.iterdir())


def test_a_database_is_read_while_another_process_writes_to_it(sqlite: Store, tmp_path: Path) -> None:
    source = sqlite([("2013-03-01", 1.0)])
    writer = sqlite3.connect(next(tmp_path.iterdir()))
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("INSERT INTO rows VALUES ('2013-03-01', 2.0, NULL)")
    assert len(read(source)) == 1
    writer.commit()
    assert len(read(source)) == 2
    writer.close()


def test_a_view_is_a_table(sqlite: Store, tmp_path: Path) -> None:
    sqlite([("2013-03-01", 1.0, 3.0)])
    with sqlite3.connect(next(tmp_path.iterdir())) as connection:
        connection.execute("CREATE VIEW doubled AS SELECT t, y, x * 2 AS x FROM rows")
    connection.close()
    assert read(SQL(conn_id="shop", table="doubled"), "x")["x"].tolist() == [6]


def test_a_missing_table_is_named_with_the_nearest_one(sqlite: Store) -> None:
    sqlite([], table="flights")
    with pytest.raises(SourceUnavailable, match=r"no table 'flight' of connection 'shop' .did you mean 'flights'"):
        watermark(SQL(conn_id="shop", table="flight"))


def test_a_driver_that_is_not_installed_is_a_wrong_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "nosuchdb://reader:hush@db/shop")
    with pytest.raises(UsageError, match=r"connection 'shop' is of type 'nosuchdb'.*install it") as caught:
        watermark(SQL(conn_id="shop", table="rows"))
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_a_database_that_does_not_answer_may_answer_at_a_retry_and_its_password_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "postgres://reader:hush@127.0.0.1:1/shop")
    with pytest.raises(SourceUnavailable, match=r"cannot be read now.*a retry connects again") as caught:
        watermark(SQL(conn_id="shop", table="rows"))
    assert "hush" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.services
@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date", "timestamptz(0)"])
def test_every_postgresql_time_type_is_read_as_utc_whatever_the_servers_time_zone(
    postgresql: Store, postgres_database: str, kind: str
) -> None:
    source = postgresql("('2013-02-28Z', 0), ('2013-03-01Z', 1), ('2013-03-02Z', 2), (NULL, 3)", time=kind)
    engine = sa.create_engine(postgres_database, poolclass=sa.NullPool)
    with engine.begin() as connection:
        name = sa.make_url(postgres_database).database
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET timezone = 'America/New_York'")
    assert read(source)["t"].tolist() == [pd.Timestamp(START)]
    assert len(read(source, start=START + timedelta(microseconds=1))) == 1
    assert watermark(source) == START + DAY


@pytest.mark.services
@pytest.mark.parametrize("kind", ["text", "bigint"])
def test_a_postgresql_event_time_that_is_no_time_is_refused(postgresql: Store, kind: str) -> None:
    with pytest.raises(
        DataInvalid, match=r"event time 't' of table 'rows' .* is (string|int64); it must be a timestamp"
    ):
        read(postgresql("", time=kind))


@pytest.mark.services
@pytest.mark.parametrize(
    ("kind", "text", "value", "dtype"),
    [
        ("numeric(9,2)", "1.25", 1.25, "float64"),
        ("real", "1.25", 1.25, "float64"),
        ("bigint", "9007199254740993", 9007199254740993, "int64"),
        ("boolean", "true", True, "bool"),
        ("varchar(9)", "'AA'", "AA", "object"),
        ("uuid", "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "object"),
    ],
)
def test_postgresql_types_come_as_numbers_booleans_and_text(
    postgresql: Store, kind: str, text: str, value: object, dtype: str
) -> None:
    seen = read(postgresql(f"('2013-03-01Z', 1, {text})", x=kind), "x")["x"]
    assert seen.tolist() == [value]
    assert seen.dtype == dtype


@pytest.mark.services
def test_a_table_of_another_schema_is_read(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with sa.create_engine(postgres_database, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql('CREATE SCHEMA "Lake"')
        connection.exec_driver_sql("""CREATE TABLE "Lake".rows AS SELECT timestamp '2013-03-01' AS t, 1.0 AS y""")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", postgres_database)
    assert len(read(SQL(conn_id="shop", table="Lake.rows"))) == 1


@pytest.mark.services
def test_what_a_user_may_not_read_is_refused_for_good(postgresql: Store, postgres_database: str) -> None:
    source = postgresql("('2013-03-01Z', 1)")
    url = sa.make_url(postgres_database)
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {url.database} LOGIN PASSWORD 'hush'")
    with pytest.MonkeyPatch.context() as patch:
        reader = url.set(username=url.database, password="hush")
        patch.setenv("AIRFLOW_CONN_SHOP", reader.render_as_string(hide_password=False))
        with pytest.raises(
            DataInvalid, match=r"refused to read table 'rows' .*permission denied.*a retry gives the same"
        ):
            read(source)


@pytest.mark.services
def test_a_read_cannot_change_the_database(postgresql: Store, postgres_database: str) -> None:
    source = postgresql("('2013-03-01Z', 1)")
    with sa.create_engine(postgres_database, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION bump() RETURNS float8 LANGUAGE sql AS 'INSERT INTO rows VALUES (now(), 9); SELECT 1.0::float8'"
        )
        connection.exec_driver_sql("CREATE VIEW sly AS SELECT t, bump() AS y FROM rows")
    with pytest.raises(DataInvalid, match=r"read-only transaction"):
        read(source.model_copy(update={"table": "sly"}))


@pytest.mark.services
def test_an_infinite_event_time_is_refused_with_its_cause(postgresql: Store) -> None:
    with pytest.raises(DataInvalid, match=r"refused to read table 'rows'.*timestamp too large"):
        watermark(postgresql("('infinity', 1)"))
