"""The truth about each model: champions, decisions, runs and episodes, in one SQL database.

The registry's aliases and the serving pointer are written after the ledger, from it, and are repaired from it. Every
verb that writes is one transaction and may be repeated: the second time it changes nothing. Values are frozen, moments
are in UTC, and the clock is an argument.
"""

import sqlalchemy as sa

from continuous_training.core.history import OpenEpisode, RetrainingHistory
from continuous_training.core.scores import PerformanceScore, ShadowScore
from continuous_training.core.window import Moment
from continuous_training.ledger import tables
from continuous_training.ledger.chain import problems
from continuous_training.ledger.champions import Champion, Champions, current
from continuous_training.ledger.decisions import DecisionRecord, Decisions, newest_decisions
from continuous_training.ledger.episodes import Episode, select_episodes
from continuous_training.ledger.overview import Overview, Overviews
from continuous_training.ledger.retrainings import Retrainings, select_retrainings
from continuous_training.ledger.rollouts import RolloutRecord, Rollouts
from continuous_training.ledger.runs import RunOutcome, RunRecord, Runs
from continuous_training.policies.estimation import placed

__all__ = ["Champion", "DecisionRecord", "Episode", "Ledger", "Overview", "RolloutRecord", "RunOutcome", "RunRecord"]

_RECENT = 50


class Ledger(Champions, Decisions, Overviews, Retrainings, Rollouts, Runs):
    """Everything that is remembered of the models of one deployment.

    Opening one brings its schema forward and costs one query when that was done before. Threads may share one; it holds
    no connection between calls. See `Database` for the parameters.

    Examples
    --------
    >>> import tempfile
    >>> from datetime import UTC, datetime
    >>> now = datetime(2013, 3, 1, tzinfo=UTC)
    >>> folder = tempfile.TemporaryDirectory()
    >>> ledger = Ledger(f"sqlite:///{folder.name}/ledger.db")
    >>> made = {"bundle": "b" * 64, "data_cutoff": now, "reason": "first", "verdict": None}
    >>> ledger.promote("flights", run_key="a" * 64, fence_seen=0, now=now, **made).fence
    1
    >>> ledger.promote("flights", run_key="c" * 64, fence_seen=0, now=now, **made)
    Traceback (most recent call last):
    continuous_training.core.errors.Conflict: run cccccccccccc was not promoted: ...
    >>> folder.cleanup()
    """

    def retraining_history(self, model: str) -> RetrainingHistory:
        """Return what the retraining policy needs to know of the past, as one moment saw it.

        Signals of windows that the champion was made from, or that were decided before it began, are left out, for they
        were measured from another reference, and so are those of windows with a defect, which measured the fault. A
        retraining counts once for each episode, at the latest moment it was asked for or begun; dry runs do not count.
        """
        with self.read() as connection:
            champion = current(connection, model)
            fields = set(OpenEpisode.model_fields)
            known = select_episodes(connection, model)
            open_now = [episode.model_dump(include=fields) for episode in known if episode.closed_at is None]
            records = newest_decisions(connection, model, _RECENT)
            began = _began(connection, champion)
            return RetrainingHistory(
                recent=tuple(
                    row.decision.signals
                    for row in records
                    if not row.evidence.defects
                    and row.seq > began
                    and (champion is None or row.decision.window.end > champion.data_cutoff)
                ),
                shadows=_shadows(records, began),
                performance=_performance(records, began),
                requested=_requested(connection, model),
                open_episodes=tuple(OpenEpisode(**episode) for episode in open_now),
                retrainings=select_retrainings(connection, model),
                champion_cutoff=champion.data_cutoff if champion else None,
            )

    def verify(self) -> list[str]:
        """Return every sign that promotions, projections, decisions or rollouts were edited, deleted or moved; none is well."""
        with self.read() as connection:
            return problems(connection)


def _began(connection: sa.Connection, champion: Champion | None) -> int:
    """Return the number of the row that made the champion; 0 without one."""
    if champion is None:
        return 0
    made = tables.promotions.c
    mine = (made.model == champion.model) & (made.fence == champion.fence)
    return int(connection.execute(sa.select(made.seq).where(mine)).scalar_one())


def _shadows(records: tuple[DecisionRecord, ...], began: int) -> tuple[ShadowScore, ...]:
    """Return the gains since the champion began to serve and since a retraining was last asked for, newest first."""
    scores = []
    for record in records:
        if record.decision.answer == "yes" or record.seq < began:
            break
        if record.evidence.shadow is not None:
            scores.append(record.evidence.shadow)
    return tuple(scores)


def _performance(records: tuple[DecisionRecord, ...], began: int) -> tuple[PerformanceScore, ...]:
    """Return what was estimated and what labels showed of the present champion, oldest first."""
    mine = [record.evidence for record in reversed(records) if record.seq > began]
    return tuple(
        score
        for evidence in mine
        if any(score.line == "estimated" for score in evidence.performance)
        for score in placed(evidence)
        if score.line != "provisional"
    )


def _requested(connection: sa.Connection, model: str) -> tuple[Moment, ...]:
    decided, begun = tables.decisions.c, tables.runs.c
    yes = sa.select(decided.episode, decided.as_of).where(decided.model == model, decided.answer == "yes")
    real = sa.or_(begun.outcome.is_(None), begun.outcome != "dry_run")
    trained = sa.select(begun.episode, begun.as_of).where(begun.model == model, begun.kind == "train", real)
    moments: dict[str, Moment] = {}
    for episode, moment in [*connection.execute(yes), *connection.execute(trained)]:
        moments[episode] = max(moment, moments.get(episode, moment))
    return tuple(sorted(set(moments.values()), reverse=True))
