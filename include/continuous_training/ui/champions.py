"""What the champions tab shows: everything that happened to a model, in order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from continuous_training.ledger import Ledger

EventKind = Literal["promotion", "rollback", "refusal", "failure", "episode", "rollout"]
MOST_RUNS = 200
_ENDED: dict[str | None, tuple[EventKind, str]] = {
    "kept": ("refusal", "A challenger was refused"),
    "stale": ("refusal", "A challenger came too late"),
    "failed": ("failure", "A run failed"),
}
_ROLLOUTS = {"watch": "A rollout goes on", "promote": "A rollout passed", "reject": "A rollout was rejected"}


class Event(Frozen):
    """One thing that happened."""

    at: Moment
    until: Moment | None = Field(None, description="End of what lasts; none where it goes on or was over at once.")
    kind: EventKind
    title: str
    text: str
    run_key: str | None = None


class Served(Frozen):
    """One champion and the time in which it was the champion."""

    version: str
    fence: int
    kind: Literal["promotion", "rollback"]
    since: Moment
    until: Moment | None
    data_cutoff: Moment
    reason: str
    run_key: str


class Timeline(Frozen):
    """The past of a model, newest first."""

    model: str
    served: tuple[Served, ...]
    events: tuple[Event, ...]


def timeline(ledger: Ledger, model: str) -> Timeline:
    """Return every champion, and what else happened, the newest first."""
    served, until = [], None
    for champion in ledger.history(model):
        served.append(
            Served(
                version=champion.version,
                fence=champion.fence,
                kind=champion.kind,
                since=champion.promoted_at,
                until=until,
                data_cutoff=champion.data_cutoff,
                reason=champion.reason,
                run_key=champion.run_key,
            )
        )
        until = champion.promoted_at
    events = [*_champions(served), *_runs(ledger, model), *_episodes(ledger, model), *_rollout(ledger, model)]
    return Timeline(
        model=model, served=tuple(served), events=tuple(sorted(events, key=lambda event: event.at, reverse=True))
    )


def _champions(served: list[Served]) -> Iterator[Event]:
    for one in served:
        verb = "is champion" if one.kind == "promotion" else "is champion again"
        yield Event(
            at=one.since, kind=one.kind, title=f"Version {one.version} {verb}", text=one.reason, run_key=one.run_key
        )


def _runs(ledger: Ledger, model: str) -> Iterator[Event]:
    for record in ledger.runs(model, MOST_RUNS):
        if record.run.kind == "train" and record.outcome in _ENDED:
            kind, title = _ENDED[record.outcome]
            at = record.finished_at or record.began_at
            yield Event(at=at, kind=kind, title=title, text=record.text, run_key=record.run.key)


def _episodes(ledger: Ledger, model: str) -> Iterator[Event]:
    for episode in ledger.episodes(model):
        ended = f" Ended: {episode.closed_why}" if episode.closed_why else ""
        yield Event(
            at=episode.opened_at,
            until=episode.closed_at,
            kind="episode",
            title=f"An episode of {episode.kind} {'lasted' if episode.closed_at else 'began and lasts'}",
            text=f"{episode.text}{ended}",
        )


def _rollout(ledger: Ledger, model: str) -> Iterator[Event]:
    record = ledger.rollout(model)
    if record is not None:
        yield Event(
            at=record.started,
            until=record.step_started if record.ended else None,
            kind="rollout",
            title=_ROLLOUTS[record.answer],
            text=record.text,
            run_key=record.run_key,
        )
