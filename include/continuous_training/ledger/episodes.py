"""Causes that go on: opened by the decision that first saw them, ended by a decision or a new champion."""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from pydantic import Field

from continuous_training.core.decisions import EpisodeKind
from continuous_training.core.history import OpenEpisode
from continuous_training.core.window import Moment
from continuous_training.ledger import tables
from continuous_training.ledger.chain import insert_once

CAUSES: tuple[EpisodeKind, ...] = ("drift", "performance", "feedback")
"""Kinds that are measured from a champion's reference, and so end when another champion follows."""


class Episode(OpenEpisode):
    """A cause that has begun, and may have ended."""

    model: str
    opened_by: int = Field(description="Number of the decision that opened it.")
    text: str = Field(description="What that decision said.")
    closed_at: Moment | None = None
    closed_why: str | None = None


def open_episode(
    connection: sa.Connection, model: str, kind: str, *, name: str, text: str, at: datetime, seq: int
) -> None:
    """Open an episode unless one of the kind is open."""
    values = {"model": model, "kind": kind, "name": name, "text": tables.plain(text), "opened_at": at, "opened_by": seq}
    insert_once(connection, tables.episodes, **values)


def request_in_episode(connection: sa.Connection, model: str, kind: str, at: datetime) -> None:
    """Note that a retraining was asked for because of the open episode of the kind."""
    connection.execute(_open(model, kind).values(requested_at=at))


def close_episodes(connection: sa.Connection, model: str, whys: Mapping[EpisodeKind, str], at: datetime) -> None:
    """Close the open episodes of the kinds that `whys` explains."""
    for kind, why in whys.items():
        connection.execute(_open(model, kind).values(closed_at=at, closed_why=tables.plain(why)))


def select_episodes(connection: sa.Connection, model: str) -> tuple[Episode, ...]:
    """Return every episode of a model, the newest first."""
    table = tables.episodes
    newest_first = sa.select(table).where(table.c.model == model).order_by(table.c.opened_by.desc(), table.c.kind)
    return tuple(Episode.model_validate(dict(row)) for row in connection.execute(newest_first).mappings())


def _open(model: str, kind: str) -> sa.Update:
    table = tables.episodes
    return sa.update(table).where(table.c.model == model, table.c.kind == kind, table.c.closed_at.is_(None))
