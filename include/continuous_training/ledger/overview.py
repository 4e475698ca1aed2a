"""How every model stands, read at once: what a monitor asks for again and again."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import Field

from continuous_training.core.decisions import EpisodeKind, Evidence, RetrainingDecision
from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Moment
from continuous_training.ledger import tables
from continuous_training.ledger.database import Database
from continuous_training.ledger.rollouts import RolloutRecord, newest_rollout

if TYPE_CHECKING:
    from collections.abc import Collection


class Ended(Frozen):
    """Trainings of one reason that ended in one way."""

    reason: str
    outcome: str
    runs: int = Field(ge=1)
    seconds: float = Field(ge=0, description="From their first step to their outcome, added up.")


class Overview(Frozen):
    """One model: its champion, the newest look at it, and counts over all its past."""

    model: str
    seq: int = Field(
        ge=0, description="Number of the newest row of its chain: what the chain says is the same while this is."
    )
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

    def models(self) -> tuple[str, ...]:
        """Return the name of every model that the ledger knows, in order."""
        with self.read() as connection:
            return tuple(connection.execute(sa.select(tables.models.c.model).order_by("model")).scalars())

    def overview(self, models: Collection[str] | None = None) -> tuple[Overview, ...]:
        """Return models that the ledger knows, by name, as one moment saw them.

        The queries grow in number with the models that have had a rollout only.

        Parameters
        ----------
        models:
            Only these; every model without it.
        """
        chosen = None if models is None else tuple(models)
        with self.read() as connection:
            known = [*connection.execute(_of(tables.models, chosen, "model", "seq", "fence").order_by("model"))]
            champions = _newest(connection, tables.promotions, tables.promotions.c.fence, chosen)
            decided = _newest(connection, tables.decisions, tables.decisions.c.window_end, chosen)
            is_open = _of(tables.episodes, chosen, "model", "kind").where(tables.episodes.c.closed_at.is_(None))
            episodes = _grouped(connection.execute(is_open.order_by(tables.episodes.c.kind)))
            kinds = _counted(connection, tables.promotions, "kind", chosen)
            answers = _counted(connection, tables.decisions, "answer", chosen)
            trainings = _trainings(connection, chosen)
            ends = _counted(connection, tables.rollouts, "answer", chosen)
            rollouts = {model: newest_rollout(connection, model) for model in ends}
        return tuple(
            Overview(
                model=model,
                seq=seq,
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
            for model, seq, fence in known
        )


def _of(table: sa.Table, models: tuple[str, ...] | None, *columns: str) -> sa.Select[Any]:
    """Return a query of columns, of these models or of all."""
    found = sa.select(*(table.c[name] for name in columns)) if columns else sa.select(table)
    return found if models is None else found.where(table.c.model.in_(models))


def _newest(
    connection: sa.Connection, table: sa.Table, order: sa.Column[Any], models: tuple[str, ...] | None
) -> dict[str, sa.Row[Any]]:
    """Return the last row of each model."""
    last = _of(table, models, "model").add_columns(sa.func.max(order).label("last")).group_by("model").subquery()
    found = sa.select(table).join(last, (table.c.model == last.c.model) & (order == last.c.last))
    return {row.model: row for row in connection.execute(found.order_by(table.c.seq))}


def _grouped(rows: Any) -> defaultdict[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for model, value in rows:
        found[model].append(value)
    return found


def _counted(
    connection: sa.Connection, table: sa.Table, value: str, models: tuple[str, ...] | None
) -> defaultdict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    counts = _of(table, models, "model", value).add_columns(sa.func.count()).group_by("model", value)
    for name, kind, count in connection.execute(counts):
        found[name][kind] = count
    return found


def _trainings(connection: sa.Connection, models: tuple[str, ...] | None) -> defaultdict[str, tuple[Ended, ...]]:
    ended = _of(tables.runs, models, "model", "reason", "outcome", "began_at", "finished_at").where(
        tables.runs.c.kind == "train", tables.runs.c.outcome.is_not(None), tables.runs.c.finished_at.is_not(None)
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
