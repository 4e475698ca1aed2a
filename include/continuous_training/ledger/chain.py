"""Rows that are only ever added, each sealed to the one before it.

For each model, promotions, projections, decisions and rollouts share one count: row `n` holds the hash of row `n - 1`, and
`ct_models` holds the hash of the last. A row that is edited, deleted, moved or put between others breaks the count or a
hash. What it cannot show is a forger who may write everything and computes the whole chain of a model anew: copy the
last hash to a place the database's users cannot write to, and compare it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from continuous_training.core.digest import canonical
from continuous_training.core.window import in_utc
from continuous_training.ledger import tables

CHAINED = (tables.promotions, tables.projections, tables.decisions, tables.rollouts)
GENESIS = "0" * 64


class _Link(NamedTuple):
    table: str
    previous: object
    hash: object
    intact: bool


def insert_once(connection: sa.Connection, table: sa.Table, **values: object) -> bool:
    """Add a row unless one with the same unique values is there; tell whether it was added."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    # Values beside the statement, not in it: it then costs half as much to find among those compiled before.
    added = dialect.insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    return connection.execute(added, values).rowcount == 1


def lock(connection: sa.Connection, model: str) -> sa.Row[Any]:
    """Return the model's row of `ct_models`, held against every other writer until the transaction ends."""
    insert_once(connection, tables.models, model=model, fence=0, seq=0, hash=GENESIS)
    return connection.execute(sa.select(tables.models).where(tables.models.c.model == model).with_for_update()).one()


def append(connection: sa.Connection, table: sa.Table, head: sa.Row[Any], **values: object) -> int:
    """Add a row to the chain whose locked head is `head`, once in a transaction, and return its number."""
    row = {**values, "model": head.model, "seq": head.seq + 1, "previous": head.hash}
    row["hash"] = _seal(table, row)
    connection.execute(sa.insert(table).values(**row))
    moved = {"seq": row["seq"], "hash": row["hash"]}
    connection.execute(sa.update(tables.models).where(tables.models.c.model == head.model).values(**moved))
    return int(head.seq) + 1


def problems(connection: sa.Connection) -> list[str]:
    """Return what is wrong with the chains of all models, in words; nothing when all are whole."""
    columns = [tables.models.c.model, *(table.c.model for table in CHAINED)]
    names = connection.execute(sa.union(*(sa.select(column) for column in columns))).scalars()
    return [problem for model in sorted(names, key=str) for problem in _problems(connection, model)]


def _problems(connection: sa.Connection, model: str) -> Iterator[str]:
    try:
        yield from _broken(connection, model)
    except (TypeError, ValueError) as error:  # SQLite keeps any type in any column
        yield f"{model}: a row cannot be read ({error})"


def _broken(connection: sa.Connection, model: str) -> Iterator[str]:
    links: dict[object, _Link] = {}
    for table in CHAINED:
        for seq, link in _links(connection, table, model):
            if seq in links:
                yield f"{model}: {table.name} and {links[seq].table} both have a row {seq}"
            links[seq] = link
    head = connection.execute(sa.select(tables.models).where(tables.models.c.model == model)).one_or_none()
    if head is None:
        yield f"{model}: its row of ct_models is missing"
        return
    yield from _broken_links(model, head, links)
    yield from _wrong_head(connection, model, head)


def _links(connection: sa.Connection, table: sa.Table, model: str) -> Iterator[tuple[object, _Link]]:
    for row in connection.execute(sa.select(table).where(table.c.model == model)).mappings():
        yield row["seq"], _Link(table.name, row["previous"], row["hash"], intact=_seal(table, row) == row["hash"])


def _broken_links(model: str, head: sa.Row[Any], links: dict[object, _Link]) -> Iterator[str]:
    last: object = GENESIS
    count = 0
    while (link := links.pop(count + 1, None)) is not None:
        count += 1
        if not link.intact:
            yield f"{model}: row {count}, in {link.table}, was changed after it was written"
        if link.previous != last:
            yield f"{model}: row {count}, in {link.table}, does not follow row {count - 1}"
        last = link.hash
    if count != head.seq:
        yield f"{model}: rows 1 to {count} are there, ct_models counts {head.seq}"
    elif last != head.hash:
        yield f"{model}: row {count} is not the one that ct_models names as the last"
    for number, link in links.items():
        yield f"{model}: row {number}, in {link.table}, follows no row"


def _wrong_head(connection: sa.Connection, model: str, head: sa.Row[Any]) -> Iterator[str]:
    newest = {
        "fence": (sa.func.coalesce(sa.func.max(tables.promotions.c.fence), 0), tables.promotions),
        "newest_cutoff": (sa.func.max(tables.promotions.c.data_cutoff), tables.promotions),
        "scored_until": (sa.func.max(tables.decisions.c.window_end), tables.decisions),
    }
    for name, (expression, table) in newest.items():
        expected = connection.execute(sa.select(expression).where(table.c.model == model)).scalar()
        found = head._mapping[name]
        if found != expected:
            yield f"{model}: ct_models says {name} is {found}, {table.name} says {expected}"


def _seal(table: sa.Table, row: Mapping[Any, object]) -> str:
    # Columns without a value are left out, so that a migration can add one and old rows still hold.
    sealed = [name for name, value in row.items() if name not in {"previous", "hash"} and value is not None]
    told = {"table": table.name, **{str(name): _plain(row[name]) for name in sealed}}
    return hashlib.sha256((str(row["previous"]) + canonical(told)).encode()).hexdigest()


def _plain(value: object) -> object:
    return in_utc(value).isoformat() if isinstance(value, datetime) else value
