"""A real PostgreSQL for tests: started on loopback from the installed server binaries, thrown away afterwards.

Write `pytest_plugins = ["postgres"]` in a test module, then let a test take `postgres` (one server a session) or
`postgres_database` (an empty database on it, for one test), and mark it `@pytest.mark.services`. Such tests are skipped
where no server is installed.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services import free_ports

_DEBIAN = Path("/usr/lib/postgresql")
_FOR_TESTS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c unix_socket_directories="


def server_binaries() -> Path | None:
    """Return the folder with `initdb` and `pg_ctl`, or `None` when no PostgreSQL server is installed."""
    versions = [path.parent for path in _DEBIAN.glob("*/bin/initdb")]
    if versions:
        return max(versions, key=lambda folder: float(folder.parent.name))
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@contextlib.contextmanager
def postgres_url() -> Iterator[str]:
    """Start an empty server, yield its SQLAlchemy URL (with password), and stop it."""
    binaries = server_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    with tempfile.TemporaryDirectory(prefix="ct-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        password = secrets.token_urlsafe(12)
        (folder / "password").write_text(password)
        owner = _owner()
        if owner is not None:  # the server refuses to run as root
            shutil.chown(folder, owner)
            shutil.chown(folder / "password", owner)
        (port,) = free_ports(1)
        control = (f"{binaries}/pg_ctl", "-D", f"{folder}/data", "-w", "-t", "60")
        create = ("-U", "ct", "-A", "scram-sha-256", f"--pwfile={folder}/password", "-E", "UTF8", "--locale=C", "-N")
        _as(owner, folder, f"{binaries}/initdb", "-D", f"{folder}/data", *create)
        options = f"-c listen_addresses=127.0.0.1 -c port={port} {_FOR_TESTS}"
        _as(owner, folder, *control, "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://ct:{password}@127.0.0.1:{port}/postgres"
        finally:
            _as(owner, folder, *control, "-m", "immediate", "stop")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Yield the SQLAlchemy URL of one server for the whole session."""
    with postgres_url() as url:
        yield url


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """Yield the SQLAlchemy URL of an empty database for one test."""
    name = f"test_{secrets.token_hex(6)}"
    admin = sa.create_engine(postgres, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield sa.make_url(postgres).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


def _owner() -> str | None:
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name for account in pwd.getpwall()}
    return "postgres" if "postgres" in accounts else "nobody"


def _as(owner: str | None, folder: Path, *command: str) -> None:
    group = pwd.getpwnam(owner).pw_gid if owner else None
    log = folder / "commands"
    with log.open("ab") as output:  # a pipe would be held open by the server
        done = subprocess.run(
            command,
            stdout=output,
            stderr=output,
            cwd=folder,
            user=owner,
            group=group,
            check=False,
            extra_groups=[] if owner else None,
        )
    if done.returncode:
        server = (folder / "log").read_text() if (folder / "log").exists() else ""
        pytest.fail(f"{' '.join(command)} failed:\n{log.read_text()}{server}")
