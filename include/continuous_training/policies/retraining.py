"""Whether a model is trained again: the evidence of one window and the history in, yes, no or inconclusive out."""

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from continuous_training.core.decisions import (
    EpisodeKind,
    Evidence,
    ReasonKind,
    RetrainingDecision,
    RetrainingReason,
    Signal,
)
from continuous_training.core.duration import Duration, format_duration
from continuous_training.core.frozen import Frozen
from continuous_training.core.history import OpenEpisode, RetrainingHistory
from continuous_training.policies.estimation import believed_signals
from continuous_training.policies.evidence import State, labelled_until
from continuous_training.policies.guards import LONGEST, Blackout, Budget, Cron, TimeZone, day

_LONGEST_REASON = 500


class Judged(NamedTuple):
    """What a signal that counts says once the windows before are counted."""

    signal: Signal
    state: State
    shortfall: str = ""
    """How often it has fired, where that is not often enough."""


class _Answer(NamedTuple):
    answer: Literal["yes", "no", "inconclusive"]
    why: str
    reason: RetrainingReason | None = None
    held_back: str = ""


class RetrainingPolicy(Frozen):
    """When a model is trained again: what every kind of policy shares.

    The schedule is kept by Airflow; everything else here judges the evidence of one window after another. All times are
    the data's: the same history always gives the same decision.
    """

    kind: str
    schedule: Cron | None = Field(
        None,
        examples=["0 3 * * MON"],
        description="Cron schedule of five fields at which the model is retrained whatever the evidence says; none by default.",
    )
    timezone: TimeZone = Field("UTC", description="IANA time zone of the schedule, for example America/New_York.")
    cooldown: Duration = Field(
        timedelta(0),
        le=LONGEST,
        description="Least time between the last retraining, whatever its cause, and one that evidence asks for. An episode "
        "that goes on after it, because its challenger was refused, may ask once more; with 0 each episode asks once.",
    )
    budget: Budget | None = Field(None, description="The most retrainings in a stretch of time; no limit by default.")
    max_age: Duration | None = Field(
        None,
        gt=timedelta(0),
        le=LONGEST,
        description="Age of the champion's data at which it is retrained without any signal and beyond the budget; it "
        "may be refused by the gate like any other, and asks again after the cooldown. No limit by default.",
    )
    blackout: tuple[Blackout, ...] = Field((), description="Stretches of time in which no evidence is followed.")
    rows: int = Field(30, ge=1, description="A window with fewer rows is inconclusive.")
    judged_over: int = Field(
        4,
        ge=1,
        le=50,
        description="Windows after a promotion in which the new champion is compared with the one it replaced, to label the "
        "retraining worth it, neutral or harmful.",
    )
    mode: Literal["enforce", "advise"] = Field(
        "enforce", description="Whether a yes starts a retraining, or is only written down as advice."
    )

    needs_shadow: ClassVar[bool] = False
    """Whether each look refits a model to measure what a retraining would have gained."""

    def decide(self, evidence: Evidence, history: RetrainingHistory) -> RetrainingDecision:
        """Answer whether the evidence of one window asks for a retraining, and say why.

        A window with a defect never does. Otherwise the answer is what the signals say, and then no when the champion
        already knows the window, when the episode has asked before, in the cooldown or a blackout, and over the budget.

        Parameters
        ----------
        evidence:
            What was measured on the window that is decided now.
        history:
            What the ledger knew before this window.
        """
        judged = self.judge(evidence, history)
        state = self.combine(judged)
        answer = self._answer(evidence, history, judged, state)
        counted = {each.signal.name for each in judged}
        others = [
            signal.model_copy(update={"counts": False})
            for signal in self._signals(evidence, history)
            if signal.name not in counted
        ]
        return RetrainingDecision(
            model=evidence.model,
            window=evidence.window,
            as_of=evidence.as_of,
            **answer._asdict(),
            signals=(*(each.signal for each in judged), *others),
        )

    def judge(self, evidence: Evidence, history: RetrainingHistory) -> list[Judged]:
        """Return the signals that count, each with what it says once the windows before are counted."""
        raise NotImplementedError

    def combine(self, judged: Sequence[Judged]) -> State:
        """Return what the signals that count say together: by default one that fired is enough."""
        return at_least(1, [each.state for each in judged])

    def began(self, evidence: Evidence, history: RetrainingHistory) -> dict[EpisodeKind, str]:
        """Return the kind and the name of the episode that begins with this window: its cause fired for the first time.

        It begins whether the answer is yes or the cooldown or the budget said no; not in a window the champion knows.
        A window with a defect begins an episode of that kind and no other.
        """
        if evidence.defects:
            known = any(episode.kind == "defect" for episode in history.open_episodes)
            return {} if known else {"defect": f"defect:{evidence.window.end:%Y-%m-%dT%H:%M:%SZ}"}
        judged = self.judge(evidence, history)
        if self.combine(judged) != "fired" or _is_known(evidence, history):
            return {}
        cause = _reason(evidence, judged, history)
        return {} if _open(cause.kind, history) else {cause.kind: cause.episode}

    def ended(self, evidence: Evidence, history: RetrainingHistory) -> dict[EpisodeKind, str]:
        """Return the kinds of the open episodes that end with this window, and why: all their signals are quiet.

        A signal that could not be measured keeps its episode open, and so does a window with a defect; an episode whose
        rules have all left the model file ends.
        """
        if evidence.defects:
            return {}
        quiet = f"all its signals are quiet in the window that ends {day(evidence.window.end)}"
        found = [each.signal for each in self.judge(evidence, history)]
        whys: dict[EpisodeKind, str] = {
            episode.kind: quiet
            for episode in history.open_episodes
            if episode.kind in {"drift", "performance", "feedback"}
            and all(signal.state == "quiet" for signal in found if _kind_of(signal) == episode.kind)
        }
        if any(episode.kind == "defect" for episode in history.open_episodes):
            whys["defect"] = f"the window that ends {day(evidence.window.end)} shows no defect"
        return whys

    def _signals(self, evidence: Evidence, history: RetrainingHistory) -> tuple[Signal, ...]:
        return self.enough(evidence, believed_signals(evidence, history))

    def enough(self, evidence: Evidence, found: tuple[Signal, ...]) -> tuple[Signal, ...]:
        """Return the signals of a window, all inconclusive where it has too few rows."""
        if evidence.rows >= self.rows:
            return found
        text = f"too few rows: the window has {evidence.rows}, at least {self.rows} are needed"
        return tuple(signal.model_copy(update={"state": "inconclusive", "text": text}) for signal in found)

    def _answer(
        self, evidence: Evidence, history: RetrainingHistory, judged: Sequence[Judged], state: State
    ) -> _Answer:
        if evidence.defects:
            return _Answer("no", f"the data is broken and the window quarantined: {evidence.defects[0].text}")
        causes = [_reason(evidence, judged, history)] if state == "fired" else []
        causes += [expired] if (expired := self._expired(evidence, history)) else []
        held = [(cause, self._hindrance(evidence, cause, history)) for cause in causes]
        free = next((cause for cause, hindrance in held if hindrance is None), None)
        if free is not None and self.mode == "advise":
            advice = "the policy's mode is advise"
            return _Answer("no", f"advice only, {advice}: {free.text}", held_back=advice)
        if free is not None:
            return _Answer("yes", free.text, free)
        if held:
            return _Answer("no", f"{held[0][0].text}; but {held[0][1]}", held_back=held[0][1] or "")
        return _Answer("inconclusive" if state == "inconclusive" else "no", why_not(judged))

    def _expired(self, evidence: Evidence, history: RetrainingHistory) -> RetrainingReason | None:
        cutoff, newest = history.champion_cutoff, labelled_until(evidence)
        if self.max_age is None or cutoff is None or newest - cutoff < self.max_age:
            return None
        which = "the window's" if newest == evidence.window.end else "the newest with labels"
        text = f"the champion's data end on {day(cutoff)}, {format_duration(newest - cutoff)} before {which}; at most {format_duration(self.max_age)} are allowed"
        return RetrainingReason(
            kind="schedule", text=text, episode=f"schedule:age:{evidence.window.end:%Y-%m-%dT%H:%M:%SZ}"
        )

    def _hindrance(self, evidence: Evidence, cause: RetrainingReason, history: RetrainingHistory) -> str | None:
        if history.champion_cutoff and _is_known(evidence, history):
            known = history.champion_cutoff >= evidence.window.end
            why = "knows this window already" if known else "no newer labels were known at this look"
            return f"the champion was made from data up to {day(history.champion_cutoff)} and {why}"
        for blackout in self.blackout:
            if hindrance := blackout.hindrance(evidence.as_of):
                return hindrance
        by_age = cause.kind == "schedule"
        episode = None if by_age else _open(cause.kind, history)
        asked_before = episode.requested_at if episode else None
        if episode and asked_before and not self.cooldown:
            return f"the {cause.kind} episode open since {day(episode.opened_at)} has had its one retraining, on {day(asked_before)}"
        last = max(history.requested, default=None)
        if last is not None and evidence.as_of < last + self.cooldown:
            return (
                f"the last retraining was on {day(last)} and the cooldown of {format_duration(self.cooldown)} lasts until "
                f"{day(last + self.cooldown)}"
            )
        return self.budget.hindrance(evidence.as_of, history.requested) if self.budget and not by_age else None


def at_least(needed: int, states: Sequence[State]) -> State:
    """Return whether `needed` of the states have fired, in Kleene's three-valued logic.

    >>> at_least(1, ["quiet", "inconclusive"]), at_least(2, ["fired", "quiet"])
    ('inconclusive', 'quiet')
    """
    fired = states.count("fired")
    if fired >= needed:
        return "fired"
    return "inconclusive" if fired + states.count("inconclusive") >= needed else "quiet"


def why_not(judged: Sequence[Judged]) -> str:
    """Return in words why signals that count do not ask for a retraining."""
    if not judged:
        return "no signal counts: the model file has neither a detector nor a rule, or they are all advice"
    told = [
        f"{each.signal.text}; but {each.shortfall}"
        for each in judged
        if each.signal.state == "fired" and each.shortfall
    ]
    told += [
        f"{each.signal.name} cannot tell: {each.signal.text}" for each in judged if each.signal.state == "inconclusive"
    ]
    if fired := [each.signal.text for each in judged if each.state == "fired"]:
        told.append(f"{' and '.join(fired)}; but {len(fired)} of {len(judged)} signals fired, which is not enough")
    return ". ".join(told) or f"no signal fired: {'; '.join(each.signal.text for each in judged)}"


def _kind_of(signal: Signal) -> ReasonKind:
    return signal.kind if signal.kind in {"drift", "feedback"} else "performance"


def _reason(evidence: Evidence, judged: Sequence[Judged], history: RetrainingHistory) -> RetrainingReason:
    fired = [each.signal for each in judged if each.state == "fired"]
    kinds: tuple[ReasonKind, ...] = ("performance", "feedback", "drift")
    kind = next(kind for kind in kinds if kind in map(_kind_of, fired))
    episode = _open(kind, history)
    name = f"{kind}:{evidence.window.end:%Y-%m-%dT%H:%M:%SZ}"
    if episode is not None and episode.requested_at is None:
        name = episode.name
    return RetrainingReason(
        kind=kind, text=" and ".join(signal.text for signal in fired)[:_LONGEST_REASON], episode=name
    )


def _is_known(evidence: Evidence, history: RetrainingHistory) -> bool:
    """Tell whether the champion was made from all that a retraining could learn from; another could not be promoted."""
    return history.champion_cutoff is not None and history.champion_cutoff >= labelled_until(evidence)


def _open(kind: ReasonKind, history: RetrainingHistory) -> OpenEpisode | None:
    return next((episode for episode in history.open_episodes if episode.kind == kind), None)
