"""What was decided for each window, on which evidence, and the episodes that came of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import Field

from continuous_training.core.decisions import EpisodeKind, Evidence, RetrainingDecision
from continuous_training.core.digest import canonical
from continuous_training.core.errors import UsageError
from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Moment, Window
from continuous_training.ledger import tables
from continuous_training.ledger.chain import append, lock
from continuous_training.ledger.database import Database
from continuous_training.ledger.episodes import (
    CAUSES,
    Episode,
    close_episodes,
    open_episode,
    request_in_episode,
    select_episodes,
)


class DecisionRecord(Frozen):
    """A decision with its evidence, as it was written."""

    seq: int = Field(ge=1, description="Number in the model's chain, shared with promotions.")
    decision: RetrainingDecision
    evidence: Evidence
    recorded_at: Moment
    hash: str = Field(description="Seals this row and every row before it.")


class Decisions(Database):
    """One decision for each window, and what follows from it."""

    def record_decision(
        self,
        decision: RetrainingDecision,
        evidence: Evidence,
        *,
        now: datetime,
        opened: Mapping[EpisodeKind, str] | None = None,
        closed: Mapping[EpisodeKind, str] | None = None,
    ) -> int:
        """Write a decision and everything that follows from it, in one transaction, and return its number.

        The first decision for a window stands: for the same window again, its number is returned and nothing changes.
        The model counts as scored up to the window's end. A yes because of drift or performance is noted in the open
        episode of that kind, and opens one named as in the decision's reason if none is open.

        Parameters
        ----------
        opened:
            Kind to name of episodes that begin with this decision without a yes; ignored where one of the kind is open.
        closed:
            Kind to explanation of episodes that end with it; those end before any are opened.

        Raises
        ------
        UsageError
            The evidence is of another model or window.
        """
        if (decision.model, decision.window) != (evidence.model, evidence.window):
            msg = (
                f"a decision on {decision.model} {decision.window} cannot rest on evidence of {evidence.model} "
                f"{evidence.window}; give both of one window; a retry is refused the same way"
            )
            raise UsageError(msg)
        with self.write() as connection:
            head = lock(connection, decision.model)
            same = sa.select(tables.decisions.c.seq).where(_is_of(decision.model, decision.window))
            known: int | None = connection.execute(same).scalar()
            if known is not None:
                return known
            seq = append(connection, tables.decisions, head, at=now, **_columns(decision, evidence))
            if head.scored_until is None or head.scored_until < decision.window.end:
                scored = sa.update(tables.models).where(tables.models.c.model == decision.model)
                connection.execute(scored.values(scored_until=decision.window.end))
            close_episodes(connection, decision.model, closed or {}, decision.as_of)
            _open(connection, decision, opened or {}, seq)
            return seq

    def decision(self, model: str, window: Window) -> DecisionRecord:
        """Return the decision that stands for a window.

        Raises
        ------
        UsageError
            The window was not decided.
        """
        with self.read() as connection:
            row = connection.execute(sa.select(tables.decisions).where(_is_of(model, window))).one_or_none()
        if row is None:
            msg = f"nothing was decided on {model} {window}; score it first, a retry before that finds the same"
            raise UsageError(msg)
        return _record(row)

    def decision_at(self, model: str, moment: datetime) -> DecisionRecord | None:
        """Return the decision on the first window that ends at a moment, or holds it; `None` where there is none."""
        table, known = tables.decisions, tables.decisions.c
        holding = (known.model == model) & (known.window_end >= moment) & (known.window_start <= moment)
        earliest = sa.select(table).where(holding).order_by(known.window_end, known.window_start.desc()).limit(1)
        with self.read() as connection:
            row = connection.execute(earliest).one_or_none()
        return None if row is None else _record(row)

    def decisions(self, model: str, limit: int = 20, *, episode: str | None = None) -> tuple[DecisionRecord, ...]:
        """Return the decisions of a model, or those that asked for a retraining in one episode, the newest window first."""
        with self.read() as connection:
            return newest_decisions(connection, model, limit, episode)

    def quarantined(self, model: str, within: Window) -> tuple[Window, ...]:
        """Return the windows that share rows with `within` and whose evidence names a defect, the newest first."""
        known = tables.decisions.c
        overlapping = (known.model == model) & (known.window_start < within.end) & (known.window_end > within.start)
        newest_first = sa.select(known.evidence).where(overlapping).order_by(known.window_end.desc())
        with self.read() as connection:
            found = [Evidence.model_validate_json(text) for text in connection.execute(newest_first).scalars()]
        return tuple(evidence.window for evidence in found if evidence.defects)

    def unanswered(self, model: str, *, begun_counts: bool = False) -> RetrainingDecision | None:
        """Return the newest yes whose training run has not begun or not ended, or `None` when each had its run.

        A yes on a window that a champion was made from since, for whatever reason, needs no run any more.

        Parameters
        ----------
        begun_counts:
            Whether a run that has begun and not ended is an answer, for somebody may be at work on it.
        """
        decided, begun = tables.decisions.c, tables.runs.c
        cutoff = sa.select(tables.models.c.newest_cutoff).where(tables.models.c.model == model).scalar_subquery()
        answered = sa.select(begun.key).where(
            begun.model == model,
            begun.kind == "train",
            begun.episode == decided.episode,
            sa.true() if begun_counts else begun.outcome.is_not(None),
        )
        open_yes = sa.select(decided.decision).where(
            decided.model == model,
            decided.answer == "yes",
            sa.or_(cutoff.is_(None), decided.window_end > cutoff),
            ~answered.exists(),
        )
        with self.read() as connection:
            text = connection.execute(open_yes.order_by(decided.window_end.desc()).limit(1)).scalar()
            return None if text is None else RetrainingDecision.model_validate_json(text)

    def scored_until(self, model: str) -> datetime | None:
        """Return the end of the newest window that was decided, or `None` before the first."""
        until = sa.select(tables.models.c.scored_until).where(tables.models.c.model == model)
        with self.read() as connection:
            moment: datetime | None = connection.execute(until).scalar()
            return moment

    def episodes(self, model: str) -> tuple[Episode, ...]:
        """Return every episode of a model, the newest first."""
        with self.read() as connection:
            return select_episodes(connection, model)

    def open_episodes(self, model: str) -> tuple[Episode, ...]:
        """Return the episodes that have begun and not ended: at most one of each kind."""
        return tuple(episode for episode in self.episodes(model) if episode.closed_at is None)


def newest_decisions(
    connection: sa.Connection, model: str, limit: int, episode: str | None = None
) -> tuple[DecisionRecord, ...]:
    """Return decisions as one transaction sees them, the one of the newest window first."""
    table = tables.decisions
    order = (table.c.window_end.desc(), table.c.window_start.desc())
    mine = sa.select(table).where(table.c.model == model)
    if episode is not None:
        mine = mine.where(table.c.episode == episode)
    rows = connection.execute(mine.order_by(*order).limit(limit))
    return tuple(_record(row) for row in rows)


def _is_of(model: str, window: Window) -> sa.ColumnElement[bool]:
    known = tables.decisions.c
    return (known.model == model) & (known.window_end == window.end) & (known.window_start == window.start)


def _columns(decision: RetrainingDecision, evidence: Evidence) -> dict[str, object]:
    return {
        "window_start": decision.window.start,
        "window_end": decision.window.end,
        "as_of": decision.as_of,
        "answer": decision.answer,
        "episode": decision.reason.episode if decision.reason else None,
        "decision": canonical(decision),
        "evidence": canonical(evidence),
    }


def _record(row: sa.Row[Any]) -> DecisionRecord:
    return DecisionRecord(
        seq=row.seq,
        decision=RetrainingDecision.model_validate_json(row.decision),
        evidence=Evidence.model_validate_json(row.evidence),
        recorded_at=row.at,
        hash=row.hash,
    )


def _open(connection: sa.Connection, decision: RetrainingDecision, opened: Mapping[EpisodeKind, str], seq: int) -> None:
    reason = decision.reason
    asked = reason is not None and decision.answer == "yes" and reason.kind in CAUSES
    names = {reason.kind: reason.episode, **opened} if reason is not None and asked else opened
    for kind, name in names.items():
        open_episode(connection, decision.model, kind, name=name, text=decision.why, at=decision.as_of, seq=seq)
    if reason is not None and asked:
        request_in_episode(connection, decision.model, reason.kind, decision.as_of)
