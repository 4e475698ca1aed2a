"""How every model stands, read at once: what a monitor asks for again and again."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import sqlalchemy as sa
from pydantic import Field

from continuous_training.core.decisions import EpisodeKind, Evidence, RetrainingDecision
from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Moment
from continuous_training.ledger import tables
from continuous_training.ledger.database import Database
from continuous_training.ledger.rollouts import RolloutRecord, newest_rollout


class Ended(Frozen):
    """Trainings of one reason that ended in one way."""

    reason: str
    outcome: str
    runs: int = Field(ge=1)
    seconds: float = Field(ge=0, description="From their first step to their outcome, added up.")


class Overview(Frozen):
    """One model: its champion, the newest look at it, and counts over all its past."""

    model: str
    fence: int = Field(ge=0, description="0 before the first champion.")
    version: str = ""
    promoted_at: Moment | None = None
    data_cutoff: Moment | None = None
    decision: RetrainingDecision | None = Field(None, description="On the newest window.")
    evidence: Evidence | None = None
    episodes: tuple[EpisodeKind, ...] = Field((), description="Kinds of the episodes that are open.")
    rollout: RolloutRecord | None = Field(None, description="The newest.")
    rollouts: dict[str, int] = Field(default_factory=dict, description="Rollouts that ended, by answer.")
    champions: dict[str, int] = Field(default_factory=dict, description="Promotions and rollbacks.")
    answers: dict[str, int] = Field(default_factory=dict, description="Decisions by answer.")
    trainings: tuple[Ended, ...] = ()


class Overviews(Database):
    """All models at once."""

    def overview(self) -> tuple[Overview, ...]:
        """Return every model that the ledger knows, by name, as one moment saw them.

        The queries grow in number with the models that have had a rollout only.
        """
        with self.read() as connection:
            known = [*connection.execute(sa.select(tables.models.c.model, tables.models.c.fence).order_by("model"))]
            champions = _newest(connection, tables.promotions, tables.promotions.c.fence)
            decided = _newest(connection, tables.decisions, tables.decisions.c.window_end)
            is_open = sa.select(tables.episodes.c.model, tables.episodes.c.kind).where(
                tables.episodes.c.closed_at.is_(None)
            )
            episodes = _grouped(connection.execute(is_open.order_by(tables.episodes.c.kind)))
            kinds = _counted(connection, tables.promotions.c.model, tables.promotions.c.kind)
            answers = _counted(connection, tables.decisions.c.model, tables.decisions.c.answer)
            trainings = _trainings(connection)
            ends = _counted(connection, tables.rollouts.c.model, tables.rollouts.c.answer)
            rollouts = {model: newest_rollout(connection, model) for model in ends}
        return tuple(
            Overview(
                model=model,
                fence=fence,
                episodes=tuple(episodes[model]),
                champions=kinds[model],
                answers=answers[model],
                trainings=trainings[model],
                rollout=rollouts.get(model),
                rollouts={answer: count for answer, count in ends[model].items() if answer != "watch"},
                **_champion(champions.get(model)),
                **_look(decided.get(model)),
            )
            for model, fence in known
        )


def _newest(connection: sa.Connection, table: sa.Table, order: sa.Column[Any]) -> dict[str, sa.Row[Any]]:
    """Return the last row of each model."""
    last = sa.select(table.c.model, sa.func.max(order).label("last")).group_by(table.c.model).subquery()
    found = sa.select(table).join(last, (table.c.model == last.c.model) & (order == last.c.last))
    return {row.model: row for row in connection.execute(found.order_by(table.c.seq))}


def _grouped(rows: Any) -> defaultdict[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for model, value in rows:
        found[model].append(value)
    return found


def _counted(
    connection: sa.Connection, model: sa.Column[Any], value: sa.Column[Any]
) -> defaultdict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, kind, count in connection.execute(sa.select(model, value, sa.func.count()).group_by(model, value)):
        found[name][kind] = count
    return found


def _trainings(connection: sa.Connection) -> defaultdict[str, tuple[Ended, ...]]:
    begun = tables.runs.c
    ended = sa.select(begun.model, begun.reason, begun.outcome, begun.began_at, begun.finished_at).where(
        begun.kind == "train", begun.outcome.is_not(None), begun.finished_at.is_not(None)
    )
    counts: Counter[tuple[str, str, str]] = Counter()
    seconds: defaultdict[tuple[str, str, str], float] = defaultdict(float)
    for row in connection.execute(ended):
        key = row.model, row.reason or "", row.outcome
        counts[key] += 1
        # clocks of two machines may disagree by more than a short run took
        seconds[key] += max(0.0, (row.finished_at - row.began_at).total_seconds())
    found: defaultdict[str, tuple[Ended, ...]] = defaultdict(tuple)
    for key in sorted(counts):
        model, reason, outcome = key
        found[model] += (Ended(reason=reason, outcome=outcome, runs=counts[key], seconds=seconds[key]),)
    return found


def _champion(row: sa.Row[Any] | None) -> dict[str, Any]:
    if row is None:
        return {}
    return {"version": row.version, "promoted_at": row.at, "data_cutoff": row.data_cutoff}


def _look(row: sa.Row[Any] | None) -> dict[str, Any]:
    if row is None:
        return {}
    return {
        "decision": RetrainingDecision.model_validate_json(row.decision),
        "evidence": Evidence.model_validate_json(row.evidence),
    }
