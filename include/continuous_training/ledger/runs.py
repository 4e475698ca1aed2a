"""Which runs began, and how they ended."""

from datetime import datetime
from typing import Any, Literal, get_args

import sqlalchemy as sa

from continuous_training.core.errors import UsageError
from continuous_training.core.frozen import Frozen
from continuous_training.core.run import Run
from continuous_training.core.window import Moment
from continuous_training.ledger import tables
from continuous_training.ledger.chain import insert_once
from continuous_training.ledger.database import Database

RunOutcome = Literal["promoted", "kept", "stale", "failed", "dry_run", "decided"]


class RunRecord(Frozen):
    """A run as it was first planned, and how it ended."""

    run: Run
    began_at: Moment
    outcome: RunOutcome | None = None
    text: str = ""
    finished_at: Moment | None = None

    @property
    def state(self) -> str:
        """Return how it ended, or that nobody has said so: it may be at work, wait, or have died."""
        return self.outcome or "not ended"


class Runs(Database):
    """Begin each run once."""

    def begin_run(self, run: Run, *, now: datetime) -> bool:
        """Keep a new run; tell whether it is new.

        Of all callers with the same key, at any time, exactly one is told `True`. `False` does not mean that the work is
        done: an earlier attempt may have been killed. Take the run that was kept from `run(key)` and go on with it.
        """
        reason = run.reason
        values = {
            "key": run.key,
            "model": run.model,
            "kind": run.kind,
            "reason": reason.kind if reason else None,
            "episode": reason.episode if reason else None,
            "as_of": run.as_of,
            "run": run.model_dump_json(),
            "began_at": now,
            "text": "",
        }
        with self.write() as connection:
            return insert_once(connection, tables.runs, **values)

    def finish_run(
        self, key: str, outcome: RunOutcome, text: str, *, now: datetime, unless_ended: bool = False
    ) -> RunRecord:
        """Note how a run ended and return what stands: a later outcome replaces an earlier one, but never `promoted`.

        Parameters
        ----------
        unless_ended:
            Let any outcome stand that there is.

        Raises
        ------
        UsageError
            The outcome is none of `RunOutcome`, or no run with this key has begun.
        """
        if outcome not in get_args(RunOutcome):
            msg = f"{outcome!r} is not how a run ends; allowed are {', '.join(get_args(RunOutcome))}; a retry gives the same"
            raise UsageError(msg)
        table = tables.runs
        unended = table.c.outcome.is_(None)
        replaceable = unended if unless_ended else sa.or_(unended, table.c.outcome != "promoted")
        ended = sa.update(table).where(table.c.key == key, replaceable)
        with self.write() as connection:
            connection.execute(ended.values(outcome=outcome, text=tables.plain(text), finished_at=now))
            return _run(connection, key)

    def run(self, key: str) -> RunRecord:
        """Return a run by its key.

        Raises
        ------
        UsageError
            No run with this key has begun.
        """
        with self.read() as connection:
            return _run(connection, key)

    def find_runs(self, beginning: str, limit: int = 10, *, model: str | None = None) -> tuple[RunRecord, ...]:
        """Return the runs whose keys begin so, of one model or of all, the one that began last first."""
        table = tables.runs
        alike = sa.select(table).where(table.c.key.startswith(beginning, autoescape=True))
        if model is not None:
            alike = alike.where(table.c.model == model)
        with self.read() as connection:
            found = connection.execute(alike.order_by(table.c.began_at.desc(), table.c.key).limit(limit))
            return tuple(_run_record(row) for row in found)

    def runs(self, model: str, limit: int = 100, *, episode: str | None = None) -> tuple[RunRecord, ...]:
        """Return the runs of a model, or those of one episode, the one that began last first."""
        table = tables.runs
        mine = table.c.model == model
        if episode is not None:
            mine &= table.c.episode == episode
        newest = sa.select(table).where(mine).order_by(table.c.began_at.desc(), table.c.key)
        with self.read() as connection:
            return tuple(_run_record(row) for row in connection.execute(newest.limit(limit)))


def _run(connection: sa.Connection, key: str) -> RunRecord:
    row = connection.execute(sa.select(tables.runs).where(tables.runs.c.key == key)).one_or_none()
    if row is None:
        msg = f"no run {key[:12]} has begun; plan it first, a retry before that finds the same"
        raise UsageError(msg)
    return _run_record(row)


def _run_record(row: sa.Row[Any]) -> RunRecord:
    run = Run.model_validate_json(row.run)
    return RunRecord(run=run, began_at=row.began_at, outcome=row.outcome, text=row.text, finished_at=row.finished_at)
