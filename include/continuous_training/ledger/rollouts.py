"""How each challenger fared under real requests: one row when its rollout begins, goes a step further, or ends."""

from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import Field

from continuous_training.core.digest import canonical
from continuous_training.core.errors import Conflict
from continuous_training.core.frozen import Frozen
from continuous_training.core.rollout import RolloutCounts, RolloutVerdict
from continuous_training.core.window import Moment
from continuous_training.ledger import tables
from continuous_training.ledger.chain import append, lock
from continuous_training.ledger.database import Database

RolloutAnswer = Literal["watch", "promote", "reject"]


class RolloutRecord(Frozen):
    """Where a rollout stands."""

    model: str
    run_key: str
    fence: int = Field(ge=1, description="Fence of the champion that it began beside.")
    bundle: str
    version: str = Field(description="Under which the challenger answers.")
    step: int = Field(ge=0)
    answer: RolloutAnswer = Field(description="watch while it goes on.")
    text: str
    started: Moment
    step_started: Moment
    verdict: RolloutVerdict | None = Field(
        None, description="What the last row was written for; none at the beginning."
    )
    counts: RolloutCounts | None = Field(None, description="What the verdict was made of.")

    @property
    def ended(self) -> bool:
        """Tell whether the challenger gets no requests any more."""
        return self.answer != "watch"


class Rollouts(Database):
    """One rollout for each run, and one at a time for each model."""

    def begin_rollout(
        self, model: str, *, run_key: str, fence: int, bundle: str, version: str, now: datetime
    ) -> RolloutRecord:
        """Begin the rollout of a run's challenger and return it; of a run that has one, return that as it stands.

        Raises
        ------
        Conflict
            The champion has another fence by now, or another run's rollout goes on.
        """
        with self.write() as connection:
            head = lock(connection, model)
            if (known := _record(connection, model, run_key)) is not None:
                return known
            if head.fence != fence:
                msg = f"the rollout of run {run_key[:12]} did not begin: it was planned beside the champion with fence {fence}, and {model} has fence {head.fence} by now; plan a new run, a retry gives the same"
                raise Conflict(msg)
            newest = _newest(connection, model)
            if newest is not None and newest.answer == "watch":
                msg = f"the rollout of run {run_key[:12]} did not begin: that of run {newest.run_key[:12]} goes on; wait for it, or end it with `ct rollout stop {model}`; a retry tries again"
                raise Conflict(msg)
            row = {"run_key": run_key, "fence": fence, "bundle": bundle, "version": version, "step": 0}
            append(connection, tables.rollouts, head, at=now, answer="watch", text="begun", **row)
            return _known(connection, model, run_key)

    def move_rollout(
        self,
        model: str,
        run_key: str,
        verdict: RolloutVerdict,
        counts: RolloutCounts | None,
        *,
        now: datetime,
    ) -> RolloutRecord:
        """Note a verdict that moves a rollout, and return how it stands; one that has ended stays as it ended."""
        with self.write() as connection:
            head = lock(connection, model)
            known = _known(connection, model, run_key)
            if known.ended or (verdict.answer == "watch" and verdict.step <= known.step):
                return known
            told = {"verdict": canonical(verdict), "counts": None if counts is None else canonical(counts)}
            row = {name: getattr(known, name) for name in ("run_key", "fence", "bundle", "version")}
            step = max(verdict.step, known.step)
            append(
                connection,
                tables.rollouts,
                head,
                at=now,
                answer=verdict.answer,
                text=verdict.text,
                step=step,
                **row,
                **told,
            )
            return _known(connection, model, run_key)

    def rollout(self, model: str, run_key: str | None = None) -> RolloutRecord | None:
        """Return the rollout of a run, or without one the newest of the model; `None` where there is none."""
        with self.read() as connection:
            return newest_rollout(connection, model) if run_key is None else _record(connection, model, run_key)


def newest_rollout(connection: sa.Connection, model: str) -> RolloutRecord | None:
    """Return a model's newest rollout as one transaction sees it."""
    newest = _newest(connection, model)
    return None if newest is None else _record(connection, model, str(newest.run_key))


def _newest(connection: sa.Connection, model: str) -> sa.Row[Any] | None:
    table = tables.rollouts
    mine = sa.select(table).where(table.c.model == model).order_by(table.c.seq.desc())
    return connection.execute(mine.limit(1)).one_or_none()


def _known(connection: sa.Connection, model: str, run_key: str) -> RolloutRecord:
    found = _record(connection, model, run_key)
    assert found is not None
    return found


def _record(connection: sa.Connection, model: str, run_key: str) -> RolloutRecord | None:
    table = tables.rollouts
    mine = sa.select(table).where(table.c.model == model, table.c.run_key == run_key).order_by(table.c.seq)
    rows = connection.execute(mine).all()
    if not rows:
        return None
    last = rows[-1]
    return RolloutRecord(
        **{
            name: last._mapping[name]
            for name in ("model", "run_key", "fence", "bundle", "version", "step", "answer", "text")
        },
        started=rows[0].at,
        step_started=next(row.at for row in rows if row.step == last.step),
        verdict=None if last.verdict is None else RolloutVerdict.model_validate_json(last.verdict),
        counts=None if last.counts is None else RolloutCounts.model_validate_json(last.counts),
    )
