"""Every test of the ledger runs on SQLite, and on PostgreSQL where a server is installed.

A module that takes `url` or `ledger` names the plugin `postgres`.
"""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from continuous_training.ledger import Ledger, tables


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    Ledger(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(empty_sqlite: Path, tmp_path: Path) -> str:
    shutil.copy(empty_sqlite, tmp_path / "ledger.db")  # migrating takes longer than most tests
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture(scope="session")
def migrated_postgres(postgres: str) -> str:
    with sa.create_engine(postgres, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as connection:
        connection.execute(sa.text("CREATE DATABASE emptied"))
    url = sa.make_url(postgres).set(database="emptied").render_as_string(hide_password=False)
    Ledger(url)
    return url


@pytest.fixture
def postgres_url(migrated_postgres: str) -> str:
    with sa.create_engine(migrated_postgres, poolclass=sa.NullPool).begin() as connection:
        connection.execute(sa.text(f"TRUNCATE {', '.join(tables.metadata.tables)}"))
    return migrated_postgres


@pytest.fixture(params=["sqlite_url", pytest.param("postgres_url", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest) -> str:
    """Give the URL of an empty ledger."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def ledger(url: str) -> Ledger:
    return Ledger(url)
