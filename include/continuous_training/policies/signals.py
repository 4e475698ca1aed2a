"""Retrain when named signals fire: any of them, all of them, or any of several groups."""

from collections.abc import Iterable, Sequence
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from continuous_training.core.decisions import Evidence, Signal
from continuous_training.core.frozen import Frozen
from continuous_training.core.history import RetrainingHistory
from continuous_training.core.retrainings import Precision, Retraining, precision
from continuous_training.policies.estimation import believed_signals, estimate_signal
from continuous_training.policies.evidence import State, rule_name
from continuous_training.policies.retraining import Judged, RetrainingPolicy, at_least

Groups = tuple[tuple[str, ...], ...]


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


class SignalPolicy(RetrainingPolicy):
    """Retrain when detectors and performance rules say so.

    Signals are combined in Kleene's three-valued logic: with `any`, one that fired is enough and one that could not be
    measured leaves the answer open; with `all`, a quiet one is enough for a no; with groups, all of any one group.
    """

    kind: Literal["signals"] = "signals"
    when: Literal["any", "all"] | Groups = Field(
        "any",
        description="Whether any one signal (each detector, each performance rule, each fairness limit, each feedback rule, and `<metric> estimate`, which fires while "
        "an estimator is switched off) is enough, or all detectors, rules and limits must fire; or a list of groups of names, of which any one must fire as a whole, for example [[psi, error], [accuracy_low]].",
    )
    persistence: Persistence = Field(
        Persistence(windows=1, of=1),
        description="In how many of the newest windows a signal must fire before it counts.",
    )
    hysteresis: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of its threshold by which a signal that has fired must come back before it is quiet again.",
    )
    advise: tuple[str, ...] = Field((), description="Names of signals that are written down and do not count.")
    demote_below: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Precision below which a signal is demoted to advise: when the 95 % interval of the share of retrainings "
        "in which it had fired that were worth it lies below this, it is written down and does not count. Never by default.",
    )

    @field_validator("when")
    @classmethod
    def _not_empty(cls, when: Literal["any", "all"] | Groups) -> Literal["any", "all"] | Groups:
        if not isinstance(when, str) and (not when or not all(when)):
            msg = "a list of groups needs at least one group with at least one name; or write any or all"
            raise ValueError(msg)
        return when

    @property
    def names(self) -> frozenset[str]:
        """Return the signals that the policy names."""
        groups = () if isinstance(self.when, str) else self.when
        return frozenset(name for group in (*groups, self.advise) for name in group)

    def judge(self, evidence: Evidence, history: RetrainingHistory) -> list[Judged]:
        """Count each signal over the newest windows."""
        in_a_row = {rule_name(score): score.windows for score in evidence.performance if score.limited}
        in_a_row |= {each.rule: each.windows for each in evidence.feedback}
        in_a_row |= {each.measure: each.windows for each in evidence.disparities}
        chosen = None if isinstance(self.when, str) else {name for group in self.when for name in group}
        aside = {*self.advise}
        if self.when == "all":  # an estimate that is believed and one that is switched off exclude each other
            aside |= {estimate_signal(score.estimate.metric) for score in evidence.performance}
        return [
            self._judge(signal, in_a_row.get(signal.name, 1), history)
            for signal in self._signals(evidence, history)
            if signal.counts and signal.name not in aside and (chosen is None or signal.name in chosen)
        ]

    def combine(self, judged: Sequence[Judged]) -> State:
        """Return what the groups say together."""
        states = [each.state for each in judged]
        if self.when == "any":
            return at_least(1, states)
        if self.when == "all":
            return at_least(max(1, len(states)), states)
        by_name = {each.signal.name: each.state for each in judged}
        absent: State = "inconclusive"
        return at_least(1, [at_least(len(group), [by_name.get(name, absent) for name in group]) for group in self.when])

    def _signals(self, evidence: Evidence, history: RetrainingHistory) -> tuple[Signal, ...]:
        last = history.recent[0] if history.recent else ()
        held = frozenset(signal.name for signal in last if signal.state == "fired")
        believed = believed_signals(evidence, history, held=held, hysteresis=self.hysteresis)
        return tuple(self._marked(signal, history.retrainings) for signal in self.enough(evidence, believed))

    def demotes(self, signal: str, retrainings: Sequence[Retraining]) -> Precision | None:
        """Return the precision of a signal when it is shown to be too low, else `None`."""
        if self.demote_below is None:
            return None
        found = precision(retrainings, self.judged_over, signal, followed=True)
        return found if found.interval[1] < self.demote_below else None

    def _marked(self, signal: Signal, retrainings: Sequence[Retraining]) -> Signal:
        poor = self.demotes(signal.name, retrainings)
        if poor is None:
            return signal
        why = f"{poor.worth_it} of {poor.judged} retrainings that followed it were worth it"
        return signal.model_copy(update={"counts": False, "text": f"{signal.text}; demoted to advise, for {why}"})

    def _judge(self, signal: Signal, in_a_row: int, history: RetrainingHistory) -> Judged:
        """Count over the newest windows, first those in a row that a performance rule asks for, then the persistence."""
        past = [signal.state, *(_state_of(signal.name, window) for window in history.recent)]
        needed, of = self.persistence.windows, self.persistence.of
        runs = [at_least(in_a_row, past[first : first + in_a_row]) for first in range(of)]
        state = at_least(needed, runs) if runs[0] == "fired" else runs[0]
        shortfall = ""
        if runs[0] != "fired":
            shortfall = f"in {past[:in_a_row].count('fired')} of the last {in_a_row} windows, and {in_a_row} in a row are needed"
        elif state != "fired":
            shortfall = f"in {runs.count('fired')} of the last {of} windows, and {needed} are needed"
        return Judged(signal, state, shortfall)


def _state_of(name: str, window: Iterable[Signal]) -> State:
    return next((signal.state for signal in window if signal.name == name), "quiet")
