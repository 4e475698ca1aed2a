"""Read a table by window, as a stream, with bound parameters only."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from continuous_training.core.errors import DataInvalid, SourceUnavailable, UsageError
from continuous_training.core.task import Task
from continuous_training.core.window import Window
from continuous_training.sources import _rows
from continuous_training.sources._connection import connection_url

_ROWS_AT_ONCE = 20_000
_ISO_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*"
_KINDS: tuple[tuple[type[sa.types.TypeEngine[Any]], pa.DataType], ...] = (
    (sa.Boolean, pa.bool_()),
    (sa.Integer, pa.int64()),
    (sa.Numeric, pa.float64()),
    (sa.Float, pa.float64()),
    (sa.Date, pa.date32()),
    (sa.types.NullType, pa.null()),  # the driver knows better: SQLite columns without a type, PostgreSQL extensions
)


def read(
    conn_id: str, table: str, window: Window, *, task: Task, columns: Sequence[str], as_of: datetime
) -> pd.DataFrame:
    """Return the rows of `window` from `table` of the database that connection `conn_id` names."""
    names = _rows.wanted(task, columns)
    with _open(conn_id, table) as source:
        _rows.require(names, source.types, source.place)
        tables = list(source.scan(names, task.event_time, window))
    schema = pa.schema(
        [(name, _rows.UTC_TIME if name == task.event_time else _arrow_type(source.types[name])) for name in names]
    )
    return _rows.to_frame(tables, schema, task=task, as_of=as_of)


def watermark(conn_id: str, table: str, *, task: Task) -> datetime | None:
    """Return the newest event time in `table`, or `None` when no row has one."""
    with _open(conn_id, table) as source:
        _rows.require([task.event_time], source.types, source.place)
        return source.newest(task.event_time)


class _Table:
    """A table or view whose event time column has a time type."""

    def __init__(self, connection: sa.Connection, name: str, place: str) -> None:
        schema, _, bare = name.rpartition(".")
        self.place = place
        self.types = _reflect(connection, bare, schema or None, place)
        self._connection = connection
        self._rows = sa.table(bare, schema=schema or None)

    def scan(self, names: Sequence[str], event_time: str, window: Window) -> Iterator[pa.Table]:
        """Yield the columns `names` of the rows in the window, a batch at a time."""
        time = self._time(event_time)
        selected = [time if name == event_time else sa.column(name, _fetched(self.types[name])) for name in names]
        query = sa.select(*selected).select_from(self._rows).where(*self._inside(time, window))
        query = query.order_by(time, *selected)  # rows of one moment in one order: the same rows give the same bytes
        streamed = self._connection.execution_options(yield_per=_ROWS_AT_ONCE)
        for rows in streamed.execute(query).partitions():
            columns = dict(zip(names, zip(*rows, strict=True), strict=True))
            yield pa.table(
                {
                    name: self._moments(values, name) if name == event_time else self._array(values, name)
                    for name, values in columns.items()
                }
            )

    def newest(self, event_time: str) -> datetime | None:
        """Return the newest event time, or `None` when no row has one."""
        time = self._time(event_time)
        newest = self._connection.scalar(sa.select(sa.func.max(time)).select_from(self._rows))
        return None if newest is None else _rows.moment(newest)

    def _time(self, name: str) -> sa.ColumnClause[Any]:
        _rows.require_time(_arrow_type(self.types[name]), name, self.place)
        return sa.column(name, self.types[name])

    def _inside(self, time: sa.ColumnClause[Any], window: Window) -> list[sa.ColumnElement[bool]]:
        kind = _arrow_type(time.type)
        return [time >= _rows.edge(window.start, kind).as_py(), time < _rows.edge(window.end, kind).as_py()]

    def _moments(self, values: Sequence[Any], name: str) -> pa.Array:
        return _rows.in_nanoseconds(self._array(values, name), name)

    def _array(self, values: Sequence[Any], name: str) -> pa.Array:
        kind = _arrow_type(self.types[name])
        if pa.types.is_string(kind):
            values = [value if value is None or isinstance(value, str) else str(value) for value in values]
        try:
            return pa.array(values, type=None if pa.types.is_null(kind) else kind)
        except (pa.ArrowException, OverflowError) as error:
            msg = (
                f"column {name!r} of {self.place} holds a value that is not {self.types[name]} ({error}); "
                "correct it; a retry gives the same"
            )
            raise DataInvalid(msg) from error


class _SQLiteTable(_Table):
    """A table of SQLite, which has no time type: event times are ISO 8601 text, with or without an offset.

    Text in different ISO forms does not sort by time, so the database selects whole days with a day to spare, which an
    index can serve, and the window is cut here.
    """

    def __init__(self, connection: sa.Connection, name: str, place: str) -> None:
        super().__init__(connection, name, place)
        self.types = {
            name: sa.String() if isinstance(kind, sa.DateTime | sa.Date | sa.Time) else kind
            for name, kind in self.types.items()
        }

    def scan(self, names: Sequence[str], event_time: str, window: Window) -> Iterator[pa.Table]:
        for rows in super().scan(names, event_time, window):
            time = rows[event_time]
            start, end = (_rows.edge(moment, time.type) for moment in (window.start, window.end))
            yield rows.filter(pc.and_(pc.greater_equal(time, start), pc.less(time, end)))

    def newest(self, event_time: str) -> datetime | None:
        time = self._time(event_time)
        self._refuse_other_values(time)
        newest = self._connection.scalar(sa.select(sa.func.max(time)).select_from(self._rows))
        return None if newest is None else self._parse(newest, event_time)

    def _time(self, name: str) -> sa.ColumnClause[Any]:
        return sa.column(name, sa.String()) if isinstance(self.types[name], sa.String) else super()._time(name)

    def _inside(self, time: sa.ColumnClause[Any], window: Window) -> list[sa.ColumnElement[bool]]:
        self._refuse_other_values(time)
        return [time >= _day(window.start, -1), time < _day(window.end, 2)]

    def _moments(self, values: Sequence[Any], name: str) -> pa.Array:
        moments = [self._parse(value, name) for value in values]
        return _rows.in_nanoseconds(pa.array(moments, pa.timestamp("us", "UTC")), name)

    def _refuse_other_values(self, time: sa.ColumnClause[Any]) -> None:
        """Look for numbers and text in another form: they do not sort by time and would silently be in no window."""
        other = sa.or_(sa.func.typeof(time) != "text", time.op("NOT GLOB")(_ISO_DATE))
        query = sa.select(time).select_from(self._rows).where(time.is_not(None), other).limit(1)
        for (value,) in self._connection.execute(query):
            raise self._no_time(value, time.name)

    def _parse(self, value: str, name: str) -> datetime:
        try:
            return _rows.moment(datetime.fromisoformat(value))
        except ValueError as error:
            raise self._no_time(value, name) from error

    def _no_time(self, value: object, name: str) -> DataInvalid:
        return DataInvalid(
            f"event time {name!r} of {self.place} holds {value!r}; SQLite keeps times as ISO 8601 text "
            "(2013-03-01 06:30:00, read as UTC unless it has an offset); correct those rows; a retry gives the same"
        )


def _day(moment: datetime, days: int) -> str:
    try:
        return (moment + timedelta(days=days)).date().isoformat()
    except OverflowError:
        return (date.min if days < 0 else date.max).isoformat()


def _reflect(
    connection: sa.Connection, name: str, schema: str | None, place: str
) -> dict[str, sa.types.TypeEngine[Any]]:
    inspector = sa.inspect(connection)
    try:
        return {column["name"]: column["type"] for column in inspector.get_columns(name, schema=schema)}
    except sa.exc.NoSuchTableError as error:
        known = [*inspector.get_table_names(schema=schema), *inspector.get_view_names(schema=schema)]
        msg = (
            f"there is no {place}{_rows.nearest(name, known)}; correct the name, or create the table and let this "
            "connection's user read it; a retry looks again"
        )
        raise SourceUnavailable(msg) from error


def _arrow_type(kind: sa.types.TypeEngine[Any]) -> pa.DataType:
    if isinstance(kind, sa.DateTime):
        return pa.timestamp("us", "UTC" if kind.timezone else None)
    return next((arrow for sql, arrow in _KINDS if isinstance(kind, sql)), pa.string())


def _fetched(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    return sa.Numeric(asdecimal=False) if isinstance(kind, sa.Numeric) else kind


@contextlib.contextmanager
def _open(conn_id: str, table: str) -> Iterator[_Table]:
    url = connection_url(conn_id)
    place = f"table {table!r} of connection {conn_id!r}"
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool, execution_options={"postgresql_readonly": True})
    except (ImportError, sa.exc.ArgumentError) as error:
        msg = (
            f"connection {conn_id!r} is of type {url.drivername!r}, for which no SQLAlchemy driver is installed "
            f"({error}); install it or correct the type; a retry gives the same"
        )
        raise UsageError(msg) from error
    try:
        with engine.connect() as connection:
            sqlite = engine.dialect.name == "sqlite"
            yield (_SQLiteTable if sqlite else _Table)(connection, table, place)
    except sa.exc.DBAPIError as error:
        raise _foreign(error, place, url) from error


def _foreign(error: sa.exc.DBAPIError, place: str, url: sa.URL) -> Exception:
    text = " ".join(str(error.orig).split())
    if url.password:
        text = text.replace(str(url.password), "***")
    if error.connection_invalidated or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        msg = (
            f"{place} cannot be read now ({text}); check that the database is up, reachable and lets this user in; "
            "a retry connects again"
        )
        return SourceUnavailable(msg)
    msg = f"the database refused to read {place} ({text}); correct the table, its rights or its rows; a retry gives the same"
    return DataInvalid(msg)
