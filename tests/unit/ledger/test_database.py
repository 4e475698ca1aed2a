"""Opening, migrating, and a database that cannot be used."""

import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from continuous_training import migrations
from continuous_training.core.errors import ArtefactCorrupt, StoreUnavailable, UsageError
from continuous_training.ledger import Ledger, tables
from ledger_parts import NOW, a_run, dump, in_threads, promotion

pytest_plugins = ["postgres"]

PASSWORD = "s3cr%40t/canary"


def test_an_empty_database_gets_exactly_the_tables_the_code_speaks_of(url: str) -> None:
    ledger = Ledger(url)

    def ours(_object: object, name: str, kind: str, *_: object) -> bool:
        return kind != "table" or name != tables.VERSION_TABLE

    with ledger.read() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours})
        assert compare_metadata(context, tables.metadata) == []
        indexes = {
            table: {
                (one["name"], tuple(one["column_names"]), bool(one["unique"]))
                for one in sa.inspect(connection).get_indexes(table)
            }
            for table in tables.metadata.tables
        }
    for name, table in tables.metadata.tables.items():
        assert indexes[name] == {(one.name, tuple(c.name for c in one.columns), one.unique) for one in table.indexes}


def test_the_code_names_the_newest_migration_as_its_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [tables.HEAD]


def test_opening_a_ledger_again_changes_nothing_and_needs_no_migration_library(url: str) -> None:
    Ledger(url).promote("m", **promotion(1, seen=0))
    before = dump(Ledger(url))
    code = (
        f"import sys; from continuous_training.ledger import Ledger; Ledger({url!r}); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "False\n"
    assert dump(Ledger(url)) == before


def test_importing_the_ledger_loads_no_library_of_the_work_plane() -> None:
    code = "import sys, continuous_training.ledger; print({'pandas', 'numpy', 'mlflow', 'alembic', 'airflow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "set()\n"


def test_a_missing_file_is_made_with_its_folder_by_whoever_is_first(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a/b/ledger.db"
    assert in_threads(lambda n: Ledger(url).begin_run(a_run(n), now=NOW), 4) == [True] * 4
    assert len(Ledger(url).runs("m")) == 4


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(url: str) -> None:
    ledger = Ledger(url)
    ledger.promote("m", **promotion(1, seen=0))
    before = dump(ledger)
    number = sa.text(f"UPDATE {tables.VERSION_TABLE} SET version_num = :number")
    with ledger.write() as connection:
        connection.execute(number, {"number": "0999"})
    with pytest.raises(UsageError, match=r"schema 0999, .*newer version.* up to 0001; upgrade airflow-provider"):
        Ledger(url)
    with ledger.write() as connection:
        connection.execute(number, {"number": tables.HEAD})
    assert dump(Ledger(url)) == before


def test_a_migration_that_fails_leaves_an_empty_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        connection.execute(sa.text("CREATE TABLE ct_runs (key INTEGER)"))
    with pytest.raises(StoreUnavailable, match="ct_runs already exists"):
        Ledger(url)
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["ct_runs"]


def test_a_ledger_shares_a_database_with_another_program_that_uses_alembic(url: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32))"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('f00')"))
    assert Ledger(url).champion("m") is None
    with engine.begin() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all() == ["f00"]
        connection.execute(sa.text("DROP TABLE alembic_version"))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://ct:pw@host/db", "cannot be kept in 'mysql'"),
        ("sqlite://", "in memory would be forgotten"),
        ("sqlite:///:memory:", "in memory would be forgotten"),
        ("ledger.db", "cannot be read"),
        (f"postgresql://ct:pass@{PASSWORD}@host/db", "cannot be read"),
        (f"postgresql://ct:pass@word/{PASSWORD}@host/db", "cannot be read"),
        (f"postgresql://ct:{PASSWORD}@host:port/db", "cannot be read"),
    ],
)
def test_a_url_that_cannot_hold_a_ledger_is_refused_with_what_can_and_without_its_password(url: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        Ledger(url)
    assert "sqlite:////folder/ledger.db or postgresql://" in str(refused.value)
    assert PASSWORD not in _everything(refused.value)


def test_a_server_that_is_down_is_unavailable_and_its_password_is_nowhere_in_the_error() -> None:
    url = f"postgresql://ct:{PASSWORD}@127.0.0.1:1/ct?application_name=canary-too"
    told = r"postgresql://127\.0\.0\.1:1/ct cannot be read or written now .* a retry is safe"
    with pytest.raises(StoreUnavailable, match=told) as refused:
        Ledger(url)
    for secret in (PASSWORD, "s3cr@t/canary", "canary-too"):
        assert secret not in _everything(refused.value)


def test_a_locked_file_is_unavailable_after_the_time_it_was_given(sqlite_url: str) -> None:
    ledger = Ledger(sqlite_url, lock_timeout=0.05)
    with ledger.write(), pytest.raises(StoreUnavailable, match="database is locked"):
        ledger.begin_run(a_run(1), now=NOW)
    assert ledger.begin_run(a_run(1), now=NOW)


def test_a_full_disk_is_unavailable_and_keeps_nothing_of_what_did_not_fit(sqlite_url: str) -> None:
    ledger = Ledger(sqlite_url)

    @sa.event.listens_for(ledger._writer, "connect")
    def small(connection: object, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the present size for one that is smaller

    before = dump(ledger)
    with pytest.raises(StoreUnavailable, match="database or disk is full"):
        ledger.promote("m", **{**promotion(1, seen=0), "reason": "long " * 20_000})
    assert dump(ledger) == before


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database " * 100)
    with pytest.raises(ArtefactCorrupt, match=r"is not a ledger or is damaged \(file is not a database\); restore it"):
        Ledger(f"sqlite:///{tmp_path}/ledger.db")


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="the folder of ledger"):
        Ledger(f"sqlite:///{tmp_path}/file/below/ledger.db")


def test_a_commit_is_on_the_disk_and_the_whole_ledger_is_one_file(sqlite_url: str, tmp_path: Path) -> None:
    ledger = Ledger(sqlite_url)
    with ledger.write() as connection:
        settings = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode")]
    assert settings == [3, "delete"]
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"]


def test_an_error_of_ours_is_not_taken_for_an_outage(ledger: Ledger) -> None:
    row = sa.insert(tables.models).values(model="m", fence=0, seq=0, hash="")
    ledger.promote("m", **promotion(1, seen=0))
    with pytest.raises(sa.exc.IntegrityError), ledger.write() as connection:
        connection.execute(row)


def _everything(error: BaseException) -> str:
    return repr(error) + "".join(traceback.format_exception(error))
