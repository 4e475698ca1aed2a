"""Which bundle is the champion, and every one that ever was."""

from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import Field

from continuous_training.core.decisions import GateVerdict
from continuous_training.core.digest import canonical
from continuous_training.core.errors import Conflict, UsageError
from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Moment, in_utc
from continuous_training.ledger import tables
from continuous_training.ledger.chain import append, lock
from continuous_training.ledger.database import Database
from continuous_training.ledger.episodes import CAUSES, close_episodes


class Champion(Frozen):
    """A bundle that is or was the champion, and the decision that made it so."""

    model: str
    fence: int = Field(ge=1, description="Counts the champions of a model; never goes back, also not by a rollback.")
    version: str = Field(description="The fence at which the bundle was first promoted; a rollback keeps it.")
    kind: Literal["promotion", "rollback"]
    run_key: str
    bundle: str = Field(description="Digest of the bundle in the artefact store.")
    data_cutoff: Moment = Field(description="End of the data the bundle was made from.")
    reason: str
    verdict: GateVerdict | None = None
    returns_to: int | None = Field(None, description="Fence that a rollback goes back to; none at the first champion.")
    promoted_at: Moment
    registry_version: str | None = Field(None, description="Version in the model registry, once it is known there.")
    serving: str | None = Field(None, description="Where it was last deployed, once it was.")


class Champions(Database):
    """Promotion and rollback: one compare-and-set on the champion's fence and data cutoff."""

    def champion(self, model: str) -> Champion | None:
        """Return the champion, or `None` before the first promotion."""
        with self.read() as connection:
            return current(connection, model)

    def previous(self, model: str) -> Champion | None:
        """Return the champion that a rollback goes back to, or `None` when there is none."""
        with self.read() as connection:
            champion = current(connection, model)
            if champion is None or champion.returns_to is None:
                return None
            return _named(connection, model, champion.returns_to)

    def history(self, model: str) -> tuple[Champion, ...]:
        """Return every champion that was, the newest first."""
        with self.read() as connection:
            return _select(connection, model, sa.true())

    def promote(
        self,
        model: str,
        *,
        run_key: str,
        bundle: str,
        data_cutoff: datetime,
        fence_seen: int,
        reason: str,
        verdict: GateVerdict | None,
        now: datetime,
    ) -> Champion:
        """Make the bundle of a run the champion, if the champion is still the one its challenger was compared with.

        In one transaction the fence goes up by one, the promotion is recorded, the run's outcome becomes `promoted`, and
        the open episodes of drift and performance end: the reference they were measured from is replaced.

        Parameters
        ----------
        run_key:
            A run is promoted once. Called again with the same one, this returns that promotion unchanged, also when
            another champion has followed.
        data_cutoff:
            End of the challenger's data; may not be before the newest cutoff ever promoted, also not after a rollback.
        fence_seen:
            Fence of the champion the challenger was compared with; 0 when there was none.

        Raises
        ------
        Conflict
            The champion is another one by now, or it was made from newer data. Nothing was changed.
        """
        with self.write() as connection:
            head = lock(connection, model)
            same_run = (tables.promotions.c.run_key == run_key) & (tables.promotions.c.kind == "promotion")
            known = _one(connection, model, same_run)
            if known is not None:
                return known
            if not _advance(connection, model, fence_seen, data_cutoff):
                raise Conflict(_stale(connection, head, run_key, fence_seen, data_cutoff))
            record = {"kind": "promotion", "run_key": run_key, "bundle": bundle, "data_cutoff": data_cutoff}
            told = {"reason": tables.plain(reason), "verdict": verdict and canonical(verdict)}
            lineage = {"version": str(head.fence + 1), "returns_to": head.fence or None}
            ran = sa.update(tables.runs).where(tables.runs.c.key == run_key, tables.runs.c.model == model)
            connection.execute(
                ran.values(outcome="promoted", text=tables.plain(verdict.text if verdict else reason), finished_at=now)
            )
            return _record(connection, head, at=now, **record, **told, **lineage)

    def rollback(
        self, model: str, *, reason: str, now: datetime, to: int | None = None, fence_seen: int | None = None
    ) -> Champion:
        """Make an earlier champion the champion again, as a step forward with a new fence.

        The newest cutoff ever promoted stays in force, so that a challenger made from older data cannot follow the one
        that was taken back; a challenger made from the same or newer data can. Open episodes of drift and performance
        end, as at a promotion. Asking for the version that is the champion already changes nothing.

        Parameters
        ----------
        to:
            Fence to go back to; without it the one before. After a rollback that is the one before the champion's own
            first promotion, so that rolling back twice goes back twice and never returns to what was taken back.
        fence_seen:
            Refuse unless the champion is still this one, so that a repeated call cannot go back twice.

        Raises
        ------
        Conflict
            The champion is not `fence_seen`. Nothing was changed.
        UsageError
            There is nothing to go back to, or no champion ever had the fence `to`.
        """
        with self.write() as connection:
            head = lock(connection, model)
            champion = current(connection, model)
            if champion is None:
                msg = f"{model} has no champion, so there is nothing to roll back; a retry finds the same"
                raise UsageError(msg)
            if fence_seen not in {None, champion.fence}:
                msg = (
                    f"{model} was not rolled back: fence {fence_seen} was to be taken back, but the champion is fence "
                    f"{champion.fence} by now; look at it and ask again; a retry is refused the same way"
                )
                raise Conflict(msg)
            target = _target(connection, champion, to)
            if target.version == champion.version:
                return champion
            _advance(connection, model, champion.fence, head.newest_cutoff)
            record = target.model_dump(include={"version", "run_key", "bundle", "data_cutoff", "returns_to"})
            told = {"reason": tables.plain(reason), "verdict": target.verdict and canonical(target.verdict)}
            return _record(connection, head, at=now, kind="rollback", **record, **told)

    def record_projection(
        self, model: str, fence: int, *, target: Literal["registry", "serving"], value: str, now: datetime
    ) -> None:
        """Remember where a champion went after its promotion; the latest value stands, the same again changes nothing.

        Parameters
        ----------
        target:
            `registry` for the version in the model registry, `serving` for the URL it answers on.

        Raises
        ------
        UsageError
            No champion ever had this fence.
        """
        with self.write() as connection:
            head = lock(connection, model)
            champion = _named(connection, model, fence)
            stands = champion.registry_version if target == "registry" else champion.serving
            if stands != value:
                append(connection, tables.projections, head, at=now, fence=fence, target=target, value=value)


def current(connection: sa.Connection, model: str) -> Champion | None:
    """Return the champion as one transaction sees it."""
    newest = sa.select(tables.models.c.fence).where(tables.models.c.model == model).scalar_subquery()
    return _one(connection, model, tables.promotions.c.fence == newest)


def _advance(connection: sa.Connection, model: str, fence_seen: int, data_cutoff: datetime) -> bool:
    known = tables.models.c
    not_older = sa.or_(known.newest_cutoff.is_(None), known.newest_cutoff <= data_cutoff)
    row = sa.update(tables.models).where(known.model == model, known.fence == fence_seen, not_older)
    return connection.execute(row.values(fence=known.fence + 1, newest_cutoff=data_cutoff)).rowcount == 1


def _record(connection: sa.Connection, head: sa.Row[Any], *, at: datetime, **values: object) -> Champion:
    fence = head.fence + 1
    append(connection, tables.promotions, head, at=at, fence=fence, **values)
    close_episodes(connection, head.model, dict.fromkeys(CAUSES, f"fence {fence} is the champion"), at)
    return _named(connection, head.model, fence)


def _target(connection: sa.Connection, champion: Champion, to: int | None) -> Champion:
    fence = champion.returns_to if to is None else to
    if fence is None:
        msg = (
            f"{champion.model} has no champion before version {champion.version}, so there is nothing to roll back to; "
            "name a fence of its history; a retry finds the same"
        )
        raise UsageError(msg)
    return _named(connection, champion.model, fence)


def _named(connection: sa.Connection, model: str, fence: int) -> Champion:
    champion = _one(connection, model, tables.promotions.c.fence == fence)
    if champion is None:
        newest = sa.select(sa.func.max(tables.promotions.c.fence)).where(tables.promotions.c.model == model)
        known = connection.execute(newest).scalar()
        allowed = f"its fences are 1 to {known}" if known else "it has none yet"
        msg = f"{model} never had a champion with fence {fence}; {allowed}; a retry finds the same"
        raise UsageError(msg)
    return champion


def _one(connection: sa.Connection, model: str, which: sa.ColumnElement[bool]) -> Champion | None:
    found = _select(connection, model, which)
    return found[0] if found else None


def _select(connection: sa.Connection, model: str, which: sa.ColumnElement[bool]) -> tuple[Champion, ...]:
    table = tables.promotions
    newest_first = sa.select(table).where(table.c.model == model, which).order_by(table.c.fence.desc())
    rows = connection.execute(newest_first).all()
    went = tables.projections
    fences = [row.fence for row in rows]
    where = sa.select(went).where(went.c.model == model, went.c.fence.in_(fences)).order_by(went.c.seq)
    places = {(row.fence, row.target): row.value for row in connection.execute(where)} if fences else {}
    return tuple(_champion(row, places) for row in rows)


def _champion(row: sa.Row[Any], places: dict[tuple[int, str], str]) -> Champion:
    return Champion(
        model=row.model,
        fence=row.fence,
        version=row.version,
        kind=row.kind,
        run_key=row.run_key,
        bundle=row.bundle,
        data_cutoff=row.data_cutoff,
        reason=row.reason,
        verdict=None if row.verdict is None else GateVerdict.model_validate_json(row.verdict),
        returns_to=row.returns_to,
        promoted_at=row.at,
        registry_version=places.get((row.fence, "registry")),
        serving=places.get((row.fence, "serving")),
    )


def _stale(connection: sa.Connection, head: sa.Row[Any], run_key: str, fence_seen: int, data_cutoff: datetime) -> str:
    champion = current(connection, head.model)
    now = "there is no champion"
    if champion is not None:
        now = (
            f"the champion is fence {champion.fence} (version {champion.version} of run {champion.run_key[:12]}, "
            f"promoted {champion.promoted_at:%Y-%m-%d %H:%MZ})"
        )
    why = f"its challenger was compared with fence {fence_seen}, and {now}"
    if fence_seen == head.fence:
        why = (
            f"its data ends {in_utc(data_cutoff):%Y-%m-%d %H:%M:%SZ}, before {head.newest_cutoff:%Y-%m-%d %H:%M:%SZ}, "
            f"the newest promoted so far, and {now}"
        )
    return (
        f"run {run_key[:12]} was not promoted: {why}; the champion stays; start a new retraining, which is compared with the "
        "champion of now on the newest data; a retry of this one is refused the same way"
    )
