"""Whether a model is trained again: the evidence of one window and the history in, yes, no or inconclusive out."""

import difflib
import re
import zoneinfo
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from continuous_training.core.decisions import Evidence, ReasonKind, RetrainingDecision, RetrainingReason, Signal
from continuous_training.core.duration import Duration, format_duration
from continuous_training.core.frozen import Frozen
from continuous_training.core.history import OpenEpisode, RetrainingHistory
from continuous_training.core.scores import MATURED_SHARE, DriftScore, PerformanceScore

State = Literal["fired", "quiet", "inconclusive"]

_LONGEST = timedelta(days=3660)
_LONGEST_REASON = 500
# croniter also takes a sixth field of seconds, and `H` and `R`, which stand for a number drawn at random.
_CRON_FIELDS = 5
_CRON_RANDOM = re.compile(r"\b[hr]\b", re.IGNORECASE)
_MOST_NOTES = 3
_TINY = 1e-300


class Persistence(Frozen):
    """How many of the newest windows must fire before a signal counts."""

    windows: int = Field(ge=1, le=50, description="Windows that must have fired, the newest one among them.")
    of: int = Field(ge=1, le=50, description="Newest windows that are looked at, the current one included.")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.windows > self.of:
            msg = f"{self.windows} of the last {self.of} windows can never fire; windows may be at most {self.of}"
            raise ValueError(msg)
        return self


class Budget(Frozen):
    """The most retrainings in any stretch of time, whatever their cause."""

    runs: int = Field(ge=1, le=1000, description="Retrainings allowed, those by schedule and by hand included.")
    per: Duration = Field(
        gt=timedelta(0), le=_LONGEST, description="Length of the stretch of time, for example '30 days'."
    )


class RetrainingPolicy(Frozen):
    """When a model is trained again.

    The schedule is kept by Airflow; everything else here judges the evidence of one window after another. All times are
    the data's: the same history always gives the same decision.
    """

    schedule: str | None = Field(
        None,
        max_length=100,
        examples=["0 3 * * MON"],
        description="Cron schedule of five fields at which the model is retrained whatever the evidence says; none by default.",
    )
    timezone: str = Field(
        "UTC", max_length=100, description="IANA time zone of the schedule, for example America/New_York."
    )
    when: Literal["any", "all"] = Field(
        "any",
        description="Whether any one signal (each detector and each performance rule) is enough, or all must fire.",
    )
    persistence: Persistence = Field(
        Persistence(windows=1, of=1),
        description="In how many of the newest windows a signal must fire before it counts.",
    )
    cooldown: Duration = Field(
        timedelta(0),
        le=_LONGEST,
        description="Least time between the last retraining, whatever its cause, and one that evidence asks for. An episode "
        "that goes on after it, because its challenger was refused, may ask once more; with 0 each episode asks once.",
    )
    budget: Budget | None = Field(None, description="The most retrainings in a stretch of time; no limit by default.")
    rows: int = Field(30, ge=1, description="A window with fewer rows is inconclusive.")

    @field_validator("schedule")
    @classmethod
    def _five_fields(cls, value: str | None) -> str | None:
        if value is None:
            return None
        problem = _cron_problem(value)
        if problem:
            msg = (
                f"{value!r} is not a cron schedule ({problem}); write five fields: minute, hour, day of the month, month, day "
                "of the week, for example '0 3 * * MON' for Mondays at 03:00"
            )
            raise ValueError(msg)
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            near = difflib.get_close_matches(value, zoneinfo.available_timezones(), n=1)
            meant = f"did you mean {near[0]!r}?" if near else "for example 'Europe/Berlin'"
            msg = f"{value!r} is not a time zone; write an IANA name; {meant}"
            raise ValueError(msg) from error
        return value

    def decide(self, evidence: Evidence, history: RetrainingHistory) -> RetrainingDecision:
        """Answer whether the evidence of one window asks for a retraining, and say why.

        Signals are combined in Kleene's three-valued logic: with `any`, one that fired is enough and one that could not
        be measured leaves the answer open; with `all`, a quiet one is enough for a no. The answer is then no when the
        champion already knows the window, when the episode has asked before, in the cooldown, and over the budget.

        Parameters
        ----------
        evidence:
            What was measured on the window that is decided now.
        history:
            What the ledger knew before this window.
        """
        judged = self._judged(evidence, history)
        combined = _combined(judged, self.when)
        cause = _reason(evidence, judged, history) if combined == "fired" else None
        hindrance = self._hindrance(evidence, cause.kind, history) if cause else None
        answers: dict[State, Literal["yes", "no", "inconclusive"]] = {
            "fired": "no" if hindrance else "yes",
            "quiet": "no",
            "inconclusive": "inconclusive",
        }
        why = cause.text if cause else _why_not(judged)
        return RetrainingDecision(
            model=evidence.model,
            window=evidence.window,
            as_of=evidence.as_of,
            answer=answers[combined],
            why=f"{why}; but {hindrance}" if hindrance else why,
            reason=None if hindrance else cause,
            signals=tuple(each.signal for each in judged),
        )

    def began(self, evidence: Evidence, history: RetrainingHistory) -> dict[ReasonKind, str]:
        """Return the kind and the name of the episode that begins with this window: its cause fired for the first time.

        It begins whether the answer is yes or the cooldown or the budget said no; not in a window the champion knows.
        """
        judged = self._judged(evidence, history)
        if _combined(judged, self.when) != "fired" or _is_known(evidence, history):
            return {}
        cause = _reason(evidence, judged, history)
        return {} if _open(cause.kind, history) else {cause.kind: cause.episode}

    def ended(self, evidence: Evidence, history: RetrainingHistory) -> dict[ReasonKind, str]:
        """Return the kinds of the open episodes that end with this window, and why: all their signals are quiet.

        A signal that could not be measured keeps its episode open; an episode whose rules have all left the model file
        ends.
        """
        found = self._signals(evidence)
        return {
            episode.kind: f"all its signals are quiet in the window that ends {_day(evidence.window.end)}"
            for episode in history.open_episodes
            if episode.kind in {"drift", "performance"}
            and all(signal.state == "quiet" for signal in found if signal.kind == episode.kind)
        }

    def _signals(self, evidence: Evidence) -> tuple[Signal, ...]:
        found = signals(evidence)
        if evidence.rows >= self.rows:
            return found
        text = f"too few rows: the window has {evidence.rows}, at least {self.rows} are needed"
        return tuple(signal.model_copy(update={"state": "inconclusive", "text": text}) for signal in found)

    def _judged(self, evidence: Evidence, history: RetrainingHistory) -> list["_Judged"]:
        in_a_row = {_rule_name(score): score.windows for score in evidence.performance}
        return [self._judge(signal, in_a_row.get(signal.name, 1), history) for signal in self._signals(evidence)]

    def _judge(self, signal: Signal, in_a_row: int, history: RetrainingHistory) -> "_Judged":
        """Count over the newest windows, first those in a row that a performance rule asks for, then the persistence."""
        past = [signal.state, *(_state_of(signal.name, window) for window in history.recent)]
        needed, of = self.persistence.windows, self.persistence.of
        runs = [_at_least(in_a_row, past[first : first + in_a_row]) for first in range(of)]
        state = _at_least(needed, runs) if runs[0] == "fired" else runs[0]
        shortfall = ""
        if runs[0] != "fired":
            shortfall = f"in {past[:in_a_row].count('fired')} of the last {in_a_row} windows, and {in_a_row} in a row are needed"
        elif state != "fired":
            shortfall = f"in {runs.count('fired')} of the last {of} windows, and {needed} are needed"
        return _Judged(signal, state, shortfall)

    def _hindrance(self, evidence: Evidence, kind: ReasonKind, history: RetrainingHistory) -> str | None:
        if history.champion_cutoff and _is_known(evidence, history):
            return (
                f"the champion was made from data up to {_day(history.champion_cutoff)} and knows this window already"
            )
        episode = _open(kind, history)
        asked_before = episode.requested_at if episode else None
        if episode and asked_before and not self.cooldown:
            return f"the {kind} episode open since {_day(episode.opened_at)} has had its one retraining, on {_day(asked_before)}"
        last = max(history.requested, default=None)
        if last is not None and evidence.as_of < last + self.cooldown:
            return (
                f"the last retraining was on {_day(last)} and the cooldown of {format_duration(self.cooldown)} lasts until "
                f"{_day(last + self.cooldown)}"
            )
        return self._over_budget(evidence.as_of, history.requested)

    def _over_budget(self, as_of: datetime, requested: Sequence[datetime]) -> str | None:
        if self.budget is None:
            return None
        used = sorted(moment for moment in requested if moment > as_of - self.budget.per)
        if len(used) < self.budget.runs:
            return None
        return (
            f"the budget is used: {len(used)} of {self.budget.runs} retrainings in {format_duration(self.budget.per)}, until "
            f"{_day(used[-self.budget.runs] + self.budget.per)}"
        )


class _Judged(NamedTuple):
    signal: Signal
    state: State
    """What the signal says once the windows before are counted."""
    shortfall: str
    """How often it has fired, where that is not often enough."""


def signals(evidence: Evidence) -> tuple[Signal, ...]:
    """Return what each detector and each performance rule says of this window alone.

    The scores of one kind of detector are one signal: fired when a column lies beyond its threshold, quiet when none of
    those that could be measured does, inconclusive when none could be measured. (A column that can never be measured,
    say a constant one, would otherwise keep every window inconclusive and every episode open.)
    """
    by_detector: dict[str, list[DriftScore]] = {}
    for score in evidence.drift:
        by_detector.setdefault(score.detector, []).append(score)
    drift = [_drift_signal(name, scores) for name, scores in by_detector.items()]
    return (*drift, *map(_performance_signal, evidence.performance))


def _drift_signal(name: str, scores: Sequence[DriftScore]) -> Signal:
    measured = [score for score in scores if score.exceeded is not None]
    blank = [score for score in scores if score.exceeded is None]
    notes = "; ".join([*dict.fromkeys(score.note for score in blank if score.note)][:_MOST_NOTES]) or "no reason given"
    if not measured:
        return Signal(name=name, kind="drift", state="inconclusive", text=f"{name} could not be measured: {notes}")
    beyond = sum(bool(score.exceeded) for score in measured)
    text = _drift_text(max(measured, key=_severity))
    if len(scores) > 1:
        text += f"; {beyond} of {len(scores)} columns beyond"
    if blank:
        text += f", {len(blank)} not measured ({notes})"
    return Signal(name=name, kind="drift", state="fired" if beyond else "quiet", text=text)


def _severity(score: DriftScore) -> tuple[bool, float]:
    value = abs(score.value or 0.0)
    low, high = (value, abs(score.threshold)) if score.measure == "p_value" else (abs(score.threshold), value)
    return bool(score.exceeded), high / max(low, _TINY)


def _drift_text(score: DriftScore) -> str:
    number, side = (score.detector, "above") if score.measure == "statistic" else (f"{score.detector} p-value", "below")
    relation = side if score.exceeded else f"not {side}"
    return f"{score.column or 'all columns together'}: {number} {score.value:.3g} {relation} {score.threshold:.3g}"


def _performance_signal(score: PerformanceScore) -> Signal:
    state: State = "inconclusive" if score.exceeded is None else "fired" if score.exceeded else "quiet"
    return Signal(name=_rule_name(score), kind="performance", state=state, text=_performance_text(score))


def _rule_name(score: PerformanceScore) -> str:
    sides = [
        f"{side} {limit:g}" for side, limit in (("below", score.below), ("above", score.above)) if limit is not None
    ]
    return " ".join([score.estimate.metric, " or ".join(sides)])


def _performance_text(score: PerformanceScore) -> str:
    estimate = score.estimate
    if estimate.value is None:
        return f"{estimate.metric} could not be measured: {estimate.note or 'no reason given'}"
    if score.matured < MATURED_SHARE:
        return f"{score.matured:.0%} of the labels are known, at least {MATURED_SHARE:.0%} are needed"
    limits = _rule_name(score).removeprefix(f"{estimate.metric} ")
    text = f"{estimate.metric} {estimate.value:.3g} {'' if score.exceeded else 'not '}{limits}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} (interval {estimate.low:.3g} to {estimate.high:.3g})"


def _reason(evidence: Evidence, judged: Sequence[_Judged], history: RetrainingHistory) -> RetrainingReason:
    fired = [each.signal for each in judged if each.state == "fired"]
    kind: ReasonKind = "performance" if any(signal.kind == "performance" for signal in fired) else "drift"
    episode = _open(kind, history)
    name = f"{kind}:{evidence.window.end:%Y-%m-%dT%H:%M:%SZ}"
    if episode is not None and episode.requested_at is None:
        name = episode.name
    return RetrainingReason(
        kind=kind, text=" and ".join(signal.text for signal in fired)[:_LONGEST_REASON], episode=name
    )


def _why_not(judged: Sequence[_Judged]) -> str:
    if not judged:
        return "no signal: the model file has neither a detector nor a performance rule"
    told = [
        f"{each.signal.text}; but {each.shortfall}"
        for each in judged
        if each.signal.state == "fired" and each.shortfall
    ]
    told += [
        f"{each.signal.name} cannot tell: {each.signal.text}" for each in judged if each.signal.state == "inconclusive"
    ]
    if fired := [each.signal.text for each in judged if each.state == "fired"]:
        told.append(f"{' and '.join(fired)}; but {len(fired)} of {len(judged)} signals fired, and all must")
    return ". ".join(told) or f"no signal fired: {'; '.join(each.signal.text for each in judged)}"


def _is_known(evidence: Evidence, history: RetrainingHistory) -> bool:
    """Tell whether the champion was made from this window; a retraining because of it could not be promoted."""
    return history.champion_cutoff is not None and history.champion_cutoff >= evidence.window.end


def _open(kind: ReasonKind, history: RetrainingHistory) -> OpenEpisode | None:
    return next((episode for episode in history.open_episodes if episode.kind == kind), None)


def _state_of(name: str, window: Iterable[Signal]) -> State:
    return next((signal.state for signal in window if signal.name == name), "quiet")


def _at_least(needed: int, states: Sequence[State]) -> State:
    fired = states.count("fired")
    if fired >= needed:
        return "fired"
    return "inconclusive" if fired + states.count("inconclusive") >= needed else "quiet"


def _combined(judged: Sequence[_Judged], when: Literal["any", "all"]) -> State:
    return _at_least(max(1, len(judged)) if when == "all" else 1, [each.state for each in judged])


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%MZ}"


def _cron_problem(value: str) -> str | None:
    fields = value.split()
    if len(fields) != _CRON_FIELDS:
        return f"{len(fields)} fields"
    if _CRON_RANDOM.search(value):
        return "H and R stand for random numbers"
    from croniter import CroniterError, croniter

    try:
        croniter(value, datetime(2000, 1, 1, tzinfo=UTC)).get_next(datetime)
    except CroniterError as error:
        return str(error).rstrip(".")
    return None
