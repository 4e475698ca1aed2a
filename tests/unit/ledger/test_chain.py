"""Nobody edits, deletes, moves or swaps a row of the ledger unseen."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
import sqlalchemy as sa

from continuous_training.core.rollout import RolloutCounts, RolloutVerdict
from continuous_training.ledger import Ledger, chain, tables
from continuous_training.ledger.chain import CHAINED, GENESIS, problems
from ledger_parts import NOW, a_decision, key, prepare, promotion

pytest_plugins = ["postgres"]

GUARDED = (tables.models, *CHAINED)
COLUMNS = [pytest.param(table, column, id=str(column)) for table in GUARDED for column in table.columns]
TABLES = [pytest.param(table, id=table.name) for table in GUARDED]


def filled(url: str) -> Ledger:
    ledger = Ledger(url)
    prepare(ledger)
    ledger.promote("m", **promotion(2, seen=1, cutoff=3))
    ledger.rollback("m", reason="worse", now=NOW)
    for fence, value in [(1, "a"), (2, "b"), (3, "c")]:
        ledger.record_projection("m", fence, target="registry", value=value, now=NOW)
    for day in (27, 34, 41):
        ledger.record_decision(*a_decision(day), now=NOW)
    for number, answer in ((7, "reject"), (8, "promote")):
        of = {"run_key": key(number), "fence": 3, "bundle": f"b{number:063x}", "version": f"4.{number}"}
        ledger.begin_rollout("m", **of, now=NOW)
        verdict = RolloutVerdict(answer=answer, step=1, text=answer)
        ledger.move_rollout("m", key(number), verdict, RolloutCounts(plan="p"), now=NOW)
    return ledger


@pytest.fixture(scope="module")
def sqlite_ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return filled(f"sqlite:///{tmp_path_factory.mktemp('chain')}/ledger.db")


@pytest.fixture(scope="module")
def postgres_ledger(postgres: str) -> Ledger:
    return filled(postgres)


@pytest.fixture(params=["sqlite_ledger", pytest.param("postgres_ledger", marks=pytest.mark.services)])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """Give a ledger that every test here leaves as it was."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def connection(ledger: Ledger) -> Iterator[sa.Connection]:
    """Give a transaction of which nothing is kept."""

    class UndoError(Exception):
        pass

    with suppress(UndoError), ledger.write() as connection:
        yield connection
        raise UndoError


@contextmanager
def undone(connection: sa.Connection) -> Iterator[None]:
    """Try something and take it back."""
    attempt = connection.begin_nested()
    try:
        yield
    finally:
        attempt.rollback()


def rows(connection: sa.Connection, table: sa.Table) -> list[sa.RowMapping]:
    return list(connection.execute(sa.select(table).order_by(*table.primary_key)).mappings())


def this(table: sa.Table, row: sa.RowMapping) -> sa.ColumnElement[bool]:
    return sa.and_(*(column == row[column.name] for column in table.primary_key))


def other_values(column: sa.Column, value: object) -> list[object]:
    if value is None:
        return [NOW if isinstance(column.type, tables.Utc) else 1 if isinstance(column.type, sa.Integer) else "x"]
    gone = [None] if column.nullable else []
    if isinstance(column.type, tables.Utc):
        return [value + timedelta(microseconds=1), value - timedelta(days=1), *gone]
    if isinstance(value, int):
        return [value + 100, 0, -value - 1, *gone]
    return [value[:-1] + chr(ord(value[-1]) ^ 1), value + " ", "", *gone]


def test_a_ledger_that_nobody_touched_has_no_problems(ledger: Ledger, connection: sa.Connection) -> None:
    assert all(len(rows(connection, table)) > 1 for table in GUARDED)
    assert ledger.verify() == []


def test_an_empty_ledger_has_no_problems(url: str) -> None:
    assert Ledger(url).verify() == []


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_any_other_value_in_any_column_of_any_row_is_seen(
    connection: sa.Connection, table: sa.Table, column: sa.Column
) -> None:
    tried = 0
    for row in rows(connection, table):
        for value in other_values(column, row[column.name]):
            if value == row[column.name]:
                continue
            with undone(connection):
                connection.execute(sa.update(table).where(this(table, row)).values({column.name: value}))
                assert problems(connection), (row, value)
                tried += 1
    assert tried > 1


@pytest.mark.parametrize("table", CHAINED, ids=str)
def test_a_row_that_was_changed_and_sealed_again_does_not_fit_between_the_others(
    connection: sa.Connection, table: sa.Table
) -> None:
    for row in rows(connection, table):
        forged = {**row, "at": row["at"] + timedelta(seconds=1)}
        forged["hash"] = chain._seal(table, forged)
        with undone(connection):
            connection.execute(sa.update(table).where(this(table, row)).values(forged))
            assert problems(connection), row


def test_the_seal_stays_what_it_was_or_every_ledger_in_the_world_breaks() -> None:
    row = {"model": "m", "seq": 1, "at": NOW, "previous": GENESIS, "fence": 1, "target": "registry", "value": "7"}
    told = '{"at":"2013-06-01T12:00:00+00:00","fence":1,"model":"m","seq":1,"table":"ct_projections","target":"registry","value":"7"}'
    assert chain._seal(tables.projections, row) == hashlib.sha256((GENESIS + told).encode()).hexdigest()
    assert chain._seal(tables.projections, {**row, "added by a migration": None}) == chain._seal(
        tables.projections, row
    )


@pytest.mark.parametrize("table", TABLES)
def test_any_row_that_is_deleted_is_missed(connection: sa.Connection, table: sa.Table) -> None:
    for row in rows(connection, table):
        with undone(connection):
            connection.execute(sa.delete(table).where(this(table, row)))
            assert problems(connection), row


@pytest.mark.parametrize("table", TABLES)
def test_all_rows_deleted_together_are_missed(connection: sa.Connection, table: sa.Table) -> None:
    with undone(connection):
        connection.execute(sa.delete(table))
        assert problems(connection)


@pytest.mark.parametrize("table", CHAINED, ids=str)
def test_any_two_rows_that_change_places_are_seen(connection: sa.Connection, table: sa.Table) -> None:
    known = rows(connection, table)
    pairs = [(a, b) for a in known for b in known if (a["model"], a["seq"]) < (b["model"], b["seq"])]
    assert pairs
    for first, second in pairs:
        with suppress(sa.exc.IntegrityError), undone(connection):  # refused is not unseen
            connection.execute(sa.delete(table).where(this(table, first) | this(table, second)))
            for row, place in [(first, second), (second, first)]:
                connection.execute(sa.insert(table).values({**row, "model": place["model"], "seq": place["seq"]}))
            assert problems(connection), (first, second)


@pytest.mark.parametrize("table", CHAINED, ids=str)
def test_a_row_that_was_put_in_is_seen_at_the_end_in_the_middle_and_in_another_model(
    connection: sa.Connection, table: sa.Table
) -> None:
    row = dict(rows(connection, table)[0])
    unique = {"fence": 50, "run_key": "other", "window_end": NOW}
    forged = {**row, **{name: value for name, value in unique.items() if name in row}}
    for place in [
        {"seq": 100},
        {"seq": 0},
        {"model": "new", "seq": 1},
        {"model": "new", "seq": 1, "previous": GENESIS},
    ]:
        with undone(connection):
            connection.execute(sa.insert(table).values(**{**forged, **place}))
            assert problems(connection), place


def test_the_same_number_in_two_tables_is_seen(connection: sa.Connection) -> None:
    decision = dict(rows(connection, tables.decisions)[0])
    place = {name: decision[name] for name in ("model", "seq", "at", "previous", "hash")}
    with undone(connection):
        connection.execute(sa.insert(tables.projections).values(**place, fence=1, target="registry", value="1"))
        assert any("both have a row" in problem for problem in problems(connection))


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (
            lambda c: c.execute(sa.update(tables.decisions).values(answer="yes")),
            "in ct_decisions, was changed after it was written",
        ),
        (
            lambda c: c.execute(sa.delete(tables.decisions).where(tables.decisions.c.seq == 2)),
            "m: rows 1 to 1 are there, ct_models counts 14",
        ),
        (
            lambda c: c.execute(sa.update(tables.models).values(fence=9)),
            "m: ct_models says fence is 9, ct_promotions says 3",
        ),
        (lambda c: c.execute(sa.update(tables.models).values(seq=99)), "are there, ct_models counts 99"),
        (lambda c: c.execute(sa.delete(tables.models)), "n: its row of ct_models is missing"),
    ],
)
def test_a_problem_names_the_model_the_table_and_what_is_wrong(
    connection: sa.Connection, forge: Callable, told: str
) -> None:
    with undone(connection):
        forge(connection)
        assert any(told in problem for problem in problems(connection)), problems(connection)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_values_of_a_wrong_type_are_seen_in_sqlite_which_keeps_them(
    connection: sa.Connection, table: sa.Table, column: sa.Column
) -> None:
    if connection.dialect.name != "sqlite":
        return
    where = " AND ".join(f"{primary.name} = ?" for primary in table.primary_key)
    place = [rows(connection, table)[-1][primary.name] for primary in table.primary_key]
    for value in ("yesterday", b"\xff\x00", 1.5):
        with undone(connection):
            change = f"UPDATE {table.name} SET {column.name} = ? WHERE {where}"
            assert connection.exec_driver_sql(change, (value, *place)).rowcount == 1
            assert problems(connection), value
