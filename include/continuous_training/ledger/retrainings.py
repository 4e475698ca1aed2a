"""What became of each retraining, put together from runs, promotions and the evidence that followed them."""

from collections.abc import Sequence

import sqlalchemy as sa

from continuous_training.core.decisions import Evidence, RetrainingDecision
from continuous_training.core.retrainings import Retraining
from continuous_training.core.run import Run
from continuous_training.core.scores import Estimate, RealisedGain
from continuous_training.ledger import tables
from continuous_training.ledger.database import Database


class Retrainings(Database):
    """Retrainings and the gains that were realised with them."""

    def retrainings(self, model: str) -> tuple[Retraining, ...]:
        """Return every retraining that was judged by the gate, newest first; dry runs and first trainings are none."""
        with self.read() as connection:
            return select_retrainings(connection, model)

    def gains(self, model: str, fence: int) -> tuple[Estimate, ...]:
        """Return by how much a champion beat the one that it replaced, in each window where that was measured."""
        with self.read() as connection:
            return _gains(_realised(connection, model), fence)


def select_retrainings(connection: sa.Connection, model: str) -> tuple[Retraining, ...]:
    """Return the retrainings of a model as one transaction sees them, newest first."""
    made, begun = tables.promotions.c, tables.runs.c
    promotions = sa.select(made.run_key, made.fence).where(made.model == model, made.kind == "promotion")
    fences = {row.run_key: row.fence for row in connection.execute(promotions)}
    newest = connection.execute(sa.select(sa.func.max(made.fence)).where(made.model == model)).scalar() or 0
    decided = tables.decisions.c
    yes = sa.select(decided.episode, decided.decision).where(decided.model == model, decided.answer == "yes")
    asking: dict[str, str] = {row.episode: row.decision for row in connection.execute(yes.order_by(decided.window_end))}
    realised = _realised(connection, model)
    judged = sa.select(begun.key, begun.run, begun.outcome).where(
        begun.model == model, begun.kind == "train", begun.outcome.in_(("promoted", "kept"))
    )
    found = []
    for key, planned, outcome in connection.execute(judged.order_by(begun.as_of.desc(), begun.key)).all():
        run = Run.model_validate_json(planned)
        if run.champion is None or run.reason is None:
            continue
        text = asking.get(run.reason.episode) or _decision(connection, run)
        fence = fences.get(key, newest)
        found.append(
            Retraining(
                run_key=key,
                until=run.window.end,
                reason=run.reason.kind,
                asked=run.reason.episode in asking,
                promoted=outcome == "promoted",
                signals=RetrainingDecision.model_validate_json(text).signals if text else (),
                gains=_gains(realised, fence) if outcome == "promoted" else (),
                followed=fence < newest,
            )
        )
    return tuple(found)


def _decision(connection: sa.Connection, run: Run) -> str | None:
    """Return the decision on the newest window that a run was trained on."""
    decided = tables.decisions.c
    of_window = sa.select(decided.decision).where(decided.model == run.model, decided.window_end == run.window.end)
    text: str | None = connection.execute(of_window.limit(1)).scalar()
    return text


def _realised(connection: sa.Connection, model: str) -> list[RealisedGain]:
    """Return every gain that was measured, in the order of the windows."""
    decided = tables.decisions.c
    # A first sieve over text, so that the few evidences that hold one are read and not all of them.
    some = sa.select(decided.evidence).where(decided.model == model, decided.evidence.contains('"realised":{'))
    texts = connection.execute(some.order_by(decided.window_end)).scalars()
    found = (Evidence.model_validate_json(text).realised for text in texts)
    return [one for one in found if one is not None]


def _gains(realised: Sequence[RealisedGain], fence: int) -> tuple[Estimate, ...]:
    """Return the gains that have an interval: a window that could not be measured judges nothing."""
    return tuple(one.difference for one in realised if one.fence == fence and one.difference.low is not None)
