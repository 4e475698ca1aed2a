"""Open the ledger's database, bring it to the newest schema, and give out transactions."""

import contextlib
import functools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from continuous_training.core.errors import (
    ArtefactCorrupt,
    ContinuousTrainingError,
    MissingExtra,
    StoreUnavailable,
    UsageError,
)
from continuous_training.ledger.tables import HEAD, VERSION_TABLE, runs

_MIGRATIONS = Path(__file__).parents[1] / "migrations"
_MIGRATION_LOCK = 0x63746C65646765  # any number that no other program takes in the same database
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
_NO_RIGHT = "42501"


class Database:
    """A SQLite file or a PostgreSQL database that holds a ledger.

    Parameters
    ----------
    url:
        SQLAlchemy URL: `sqlite:////srv/ct/ledger.db`, `postgresql://user:password@host/database`. A missing SQLite
        file is created with its folder.
    lock_timeout:
        Seconds to wait for somebody else's lock, and for PostgreSQL to accept a connection.

    Raises
    ------
    StoreUnavailable
        The database is down, locked or full: a retry may succeed.
    UsageError
        The URL is not one of the above, or the ledger was written by a newer version of this package.
    ArtefactCorrupt
        The file is not a SQLite database, or is damaged.

    Notes
    -----
    SQLite runs with its rollback journal and `synchronous=EXTRA`: a commit survives a power loss, and between commits the
    ledger is one file. Write-ahead logging would be faster, but needs memory shared by all users of the file, and before
    SQLite 3.51.3 could damage the file in a rare race of two writers; a ledger writes a few rows an hour.
    Connections are not pooled: they would not survive a fork, and an idle worker would hold one. What is kept for the
    process are compiled statements: compiling them took most of the time of a call.
    """

    def __init__(self, url: str, *, lock_timeout: float = 30.0) -> None:
        parsed = _parse(url)
        self.place = sa.URL.create(
            parsed.get_backend_name(), None, None, parsed.host, parsed.port, parsed.database
        ).render_as_string()
        if parsed.drivername == "sqlite":
            _make_folder(parsed)
            engine = _sqlite(parsed, lock_timeout)
        else:
            engine = _postgresql(parsed, lock_timeout)
        self._writer = engine.execution_options(write=True)
        snapshot: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reader = engine if parsed.drivername == "sqlite" else engine.execution_options(**snapshot)
        self._upgrade()

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Give a transaction that sees one state of the ledger throughout."""
        with self._translated(), self._reader.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Give a transaction that is kept whole when the block ends, and leaves nothing when it raises."""
        with self._translated(), self._writer.begin() as connection:
            yield connection

    def probe(self) -> datetime:
        """Return the database's own time, read in a transaction that may write and changes nothing.

        Raises
        ------
        StoreUnavailable
            The database is down, or this user may not write.
        """
        with self.write() as connection:
            connection.execute(sa.update(runs).where(sa.false()).values(text=runs.c.text))
            told: datetime = connection.execute(sa.select(sa.func.now())).scalar_one()
        return told.replace(tzinfo=told.tzinfo or UTC)  # SQLite tells UTC and does not say so

    def _upgrade(self) -> None:
        with self.read() as connection:
            if _version(connection) == HEAD:
                return
        with self.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            self._migrate(connection)

    def _migrate(self, connection: sa.Connection) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        found = _version(connection)  # somebody else may have migrated while this one waited for the lock
        if found is not None and found not in known:
            msg = (
                f"ledger {self.place} has schema {found}, written by a newer version of this package; this version knows "
                f"schemas up to {HEAD}; upgrade airflow-provider-continuous-training here, or name another ledger; "
                "a retry is refused the same way"
            )
            raise UsageError(msg)
        command.upgrade(config, "head")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            translated = self._translate(error)
            if translated is None:
                raise
            raise translated from error

    def _translate(self, error: sa.exc.DBAPIError) -> ContinuousTrainingError | None:
        cause = " ".join(str(error.orig).split())
        down = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError)
        if isinstance(error, down) or getattr(error.orig, "sqlstate", None) == _NO_RIGHT:
            msg = (
                f"ledger {self.place} cannot be read or written now ({cause}); it must run, be reachable, have space, grant "
                "this user its rights, and not be locked by another program; a retry is safe: what was kept is not done twice"
            )
            return StoreUnavailable(msg)
        if type(error) is sa.exc.DatabaseError:
            msg = f"ledger {self.place} is not a ledger or is damaged ({cause}); restore it from a backup; a retry reads the same"
            return ArtefactCorrupt(msg)
        return None


def _parse(url: str) -> sa.URL:
    allowed = "it must look like sqlite:////folder/ledger.db or postgresql://user:password@host:5432/database"
    unreadable = f"the ledger's URL cannot be read; {allowed}, with special characters of the password percent-encoded"
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise UsageError(unreadable) from None  # the cause would quote what may be a part of the password
    backend = parsed.get_backend_name()
    if backend not in _DRIVERS:
        msg = f"the ledger cannot be kept in {backend!r}; {allowed}"
        raise UsageError(msg)
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        msg = f"a ledger in memory would be forgotten at once; {allowed}"
        raise UsageError(msg)
    if backend == "postgresql" and "@" in f"{parsed.host}{parsed.database}":
        raise UsageError(unreadable)  # a bare @ in a password moves its rest into the host, which errors show
    return parsed.set(drivername=_DRIVERS[backend])


def _make_folder(url: sa.URL) -> None:
    try:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the folder of ledger {url.database} cannot be made ({error}); check its rights and space; a retry tries again"
        raise StoreUnavailable(msg) from error


@functools.lru_cache(maxsize=16)
def _sqlite(url: sa.URL, lock_timeout: float) -> sa.Engine:
    engine = sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True, connect_args={"timeout": lock_timeout})

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions by its own rules
        connection.execute("PRAGMA synchronous = EXTRA")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # IMMEDIATE: two writers that both read first and then want to write could never both go on.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")

    return engine


@functools.lru_cache(maxsize=16)
def _postgresql(url: sa.URL, lock_timeout: float) -> sa.Engine:
    options = {"connect_timeout": max(2, round(lock_timeout))}  # libpq reads less than 2 as 2
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True, connect_args=options)
    except ModuleNotFoundError as error:
        msg = "a ledger in PostgreSQL needs psycopg: pip install 'airflow-provider-continuous-training[postgres]'; a retry gives the same"
        raise MissingExtra(msg) from error

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(lock_timeout * 1000)}")

    return engine


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    number = sa.column("version_num", sa.String)
    return connection.execute(sa.select(number).select_from(sa.table(VERSION_TABLE))).scalar()
