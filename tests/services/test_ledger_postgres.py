"""What the ledger does on PostgreSQL that it cannot do on SQLite; everything else is in `tests/unit/ledger`."""

import contextlib
import threading

import psycopg
import pytest
import sqlalchemy as sa

from continuous_training.core.errors import StoreUnavailable
from continuous_training.ledger import Ledger, chain, tables
from ledger_parts import NOW, a_decision, a_run, dump, in_threads, promotion

pytest_plugins = ["postgres"]
pytestmark = pytest.mark.services


def test_many_that_open_an_empty_database_at_once_migrate_it_once(postgres_database: str) -> None:
    assert in_threads(lambda n: Ledger(postgres_database).begin_run(a_run(n), now=NOW), 6) == [True] * 6
    with Ledger(postgres_database).read() as connection:
        assert connection.execute(sa.text(f"SELECT version_num FROM {tables.VERSION_TABLE}")).scalars().all() == [
            tables.HEAD
        ]


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_any_way_to_write_the_scheme_uses_the_driver_that_is_installed(postgres_database: str, scheme: str) -> None:
    url = sa.make_url(postgres_database).set(drivername=scheme).render_as_string(hide_password=False)
    assert Ledger(url).champion("m") is None


def test_a_wrong_password_is_unavailable_and_not_shown(postgres_database: str) -> None:
    url = sa.make_url(postgres_database).set(password="wrong-canary").render_as_string(hide_password=False)
    with pytest.raises(StoreUnavailable, match="password authentication failed") as refused:
        Ledger(url)
    assert "canary" not in f"{refused.value!r} {refused.value.__cause__!r} {refused.value.__cause__}"


def test_a_user_without_rights_is_told_so_as_something_a_retry_may_find_mended(postgres_database: str) -> None:
    parsed = sa.make_url(postgres_database)
    with psycopg.connect(parsed.set(drivername="postgresql").render_as_string(hide_password=False)) as admin:
        admin.execute("DROP ROLE IF EXISTS guest")
        admin.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    url = parsed.set(username="guest", password="guest").render_as_string(hide_password=False)
    with pytest.raises(StoreUnavailable, match=r"permission denied for schema public.*grant this user its rights"):
        Ledger(url)
    Ledger(postgres_database)
    with pytest.raises(StoreUnavailable, match=r"permission denied for table ct_version"):
        Ledger(url)


def test_a_row_that_somebody_holds_too_long_is_unavailable_and_free_again_afterwards(postgres_database: str) -> None:
    patient, hurried = Ledger(postgres_database), Ledger(postgres_database, lock_timeout=0.05)
    patient.promote("m", **promotion(1, seen=0))
    with patient.write() as connection:
        connection.execute(sa.select(tables.models).with_for_update())
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            hurried.promote("m", **promotion(2, seen=1))
        assert hurried.champion("m").fence == 1
    assert hurried.promote("m", **promotion(2, seen=1)).fence == 2


def test_a_connection_cut_in_the_middle_keeps_nothing_and_the_same_ledger_goes_on(postgres_database: str) -> None:
    ledger = Ledger(postgres_database)
    ledger.promote("m", **promotion(1, seen=0))
    before = dump(ledger)

    def be_cut() -> None:
        with ledger.write() as connection:
            connection.execute(sa.update(tables.models).values(fence=7))
            victim = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            with ledger.write() as other:
                other.execute(sa.select(sa.func.pg_terminate_backend(victim)))
            connection.execute(sa.update(tables.models).values(fence=8))

    with pytest.raises(StoreUnavailable, match="terminating connection"):
        be_cut()
    assert dump(ledger) == before
    assert ledger.promote("m", **promotion(2, seen=1)).fence == 2


def test_a_promotion_whose_answer_was_lost_is_found_done_by_the_retry(postgres_database: str) -> None:
    ledger = Ledger(postgres_database)
    lost = []

    def lose_the_answer(connection: sa.Connection) -> None:
        if not lost:
            lost.append(connection.connection.dbapi_connection)
            lost[0].commit()
            raise psycopg.OperationalError

    sa.event.listen(ledger._writer, "commit", lose_the_answer)
    with contextlib.suppress(StoreUnavailable, psycopg.OperationalError):
        ledger.promote("m", **promotion(1, seen=0))
    assert lost
    assert ledger.promote("m", **promotion(1, seen=0)).fence == 1
    assert len(ledger.history("m")) == 1


def test_writers_of_different_models_do_not_wait_for_each_other(postgres_database: str) -> None:
    ledger = Ledger(postgres_database, lock_timeout=20)
    ledger.promote("m", **promotion(1, seen=0))
    with ledger.write() as connection:
        connection.execute(sa.select(tables.models).where(tables.models.c.model == "m").with_for_update())
        other = threading.Thread(target=ledger.record_decision, args=a_decision(7, "n"), kwargs={"now": NOW})
        other.start()
        other.join(timeout=15)
        assert not other.is_alive()
    assert len(ledger.decisions("n")) == 1


def test_a_reader_sees_one_state_throughout_whatever_is_written_meanwhile(postgres_database: str) -> None:
    ledger = Ledger(postgres_database)
    with ledger.read() as connection:
        seen = [connection.execute(sa.select(tables.promotions)).all()]
        ledger.promote("m", **promotion(1, seen=0))
        seen.append(connection.execute(sa.select(tables.promotions)).all())
    assert seen == [[], []]


def test_a_writer_waits_for_the_row_of_its_model_before_it_looks(postgres_database: str) -> None:
    """Without the lock, the second decision would follow a head that is no longer the last, and break the chain."""
    ledger = Ledger(postgres_database)
    ledger.record_decision(*a_decision(7), now=NOW)
    with ledger.write() as connection:
        head = chain.lock(connection, "m")
        second = threading.Thread(target=ledger.record_decision, args=a_decision(14), kwargs={"now": NOW})
        second.start()
        second.join(timeout=1)
        chain.append(connection, tables.projections, head, at=NOW, fence=1, target="registry", value="7")
    second.join(timeout=30)
    assert [record.seq for record in ledger.decisions("m")] == [3, 1]
    assert ledger.verify() == []
