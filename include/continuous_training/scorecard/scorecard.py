"""The scorecard of one model: its retrainings with their labels, and its signals with their precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field

from continuous_training.core.decisions import ReasonKind, Signal
from continuous_training.core.frozen import Frozen
from continuous_training.core.retrainings import Label, Precision, Retraining, pooled, precision
from continuous_training.core.scores import Estimate, ShadowScore
from continuous_training.core.window import Moment
from continuous_training.ledger import DecisionRecord
from continuous_training.policies import AnyRetrainingPolicy, SignalPolicy

Role = Literal["counts", "advise", "demoted"]
HINT_BELOW = 0.5
"""Precision below which a signal is told to be a poor trigger where the policy gives no limit: more often wrong than right."""
_SURE = 2.0  # errors above 0 from which a refitted model's gain is no chance


class JudgedRetraining(Frozen):
    """One retraining and what came of it."""

    until: Moment = Field(description="End of the rows it was trained on.")
    reason: ReasonKind
    promoted: bool
    label: Label | None = Field(description="None while it is not judged.")
    gain: Estimate | None = Field(description="Gain over the champion it replaced, in the windows measured so far.")
    seconds: float = Field(description="Seconds that the training took.")
    fired: tuple[str, ...] = Field(description="Signals that had fired in the newest window it was trained on.")


class SignalScore(Frozen):
    """What one signal was worth as a trigger."""

    name: str
    role: Role = Field(description="Whether it counts now, was put under advise, or is demoted to it.")
    fired: int = Field(ge=0, description="Windows in which it fired.")
    asked: int = Field(ge=0, description="Retrainings that evidence asked for while it had fired and was followed.")
    precision: Precision = Field(
        description="Over the judged retrainings, whatever their reason, in which it had fired and was followed; under advise, in which it had fired."
    )
    harmful: int = Field(ge=0, description="Those of them that made the model worse.")
    missed: int = Field(
        ge=0, description="Windows in which it had not fired and a retraining was, or would have been, worth it."
    )
    chances: int = Field(ge=0, description="All windows in which it could have fired and a retraining was worth it.")
    seconds: float = Field(ge=0, description="Seconds that the retrainings it asked for took.")


class Scorecard(Frozen):
    """Retrainings, the oldest first, and signals by name."""

    model: str
    metric: str
    windows: int = Field(description="Windows that were decided.")
    begin: Moment
    end: Moment
    demote_below: float = Field(description="Precision below which a signal is, or would be, demoted.")
    retrainings: tuple[JudgedRetraining, ...]
    signals: tuple[SignalScore, ...]

    @property
    def poor(self) -> tuple[SignalScore, ...]:
        """Return the signals that count although their precision is shown to be too low."""
        return tuple(
            one for one in self.signals if one.role == "counts" and one.precision.interval[1] < self.demote_below
        )

    def retraining_table(self) -> Iterator[tuple[str, ...]]:
        """Yield a head and one row for each retraining."""
        yield (
            "data until",
            "reason",
            "outcome",
            "label",
            f"gain in {self.metric}",
            "seconds",
            "signals that had fired",
        )
        for one in self.retrainings:
            outcome = "promoted" if one.promoted else "refused"
            told = (one.label or "not judged yet", _gain(one.gain), f"{one.seconds:.1f}", ", ".join(one.fired) or "-")
            yield (f"{one.until:%Y-%m-%d %H:%M}", one.reason, outcome, *told)

    def signal_table(self) -> Iterator[tuple[str, ...]]:
        """Yield a head and one row for each signal."""
        yield ("signal", "role", "fired", "asked", "judged", "worth it", "harmful", "precision", "missed", "seconds")
        for one in self.signals:
            found = one.precision
            counts = (one.fired, one.asked, found.judged, found.worth_it, one.harmful)
            missed = f"{one.missed} of {one.chances}"
            yield (one.name, one.role, *map(str, counts), _share(found), missed, f"{one.seconds:.1f}")


def scorecard(
    model: str,
    metric: str,
    policy: AnyRetrainingPolicy,
    records: Sequence[DecisionRecord],
    retrainings: Sequence[Retraining],
    seconds: Mapping[str, float],
) -> Scorecard:
    """Return the scorecard of the windows in `records`, of which there is at least one.

    Parameters
    ----------
    records:
        Decisions with their evidence.
    retrainings:
        Those of the same stretch of time.
    seconds:
        Run key to what its training took; 0 where that is not known.
    """
    labelled = [(one, one.label(policy.judged_over)) for one in sorted(retrainings, key=lambda one: one.until)]
    chances = _chances(records, labelled)
    names = sorted({signal.name for record in records for signal in record.decision.signals})
    limit = policy.demote_below if isinstance(policy, SignalPolicy) else None
    return Scorecard(
        model=model,
        metric=metric,
        windows=len(records),
        begin=min(record.decision.window.start for record in records),
        end=max(record.decision.window.end for record in records),
        demote_below=limit or HINT_BELOW,
        retrainings=tuple(
            JudgedRetraining(
                until=one.until,
                reason=one.reason,
                promoted=one.promoted,
                label=label,
                gain=pooled(one.gains[: policy.judged_over]),
                seconds=seconds.get(one.run_key, 0.0),
                fired=tuple(signal.name for signal in one.signals if signal.state == "fired"),
            )
            for one, label in labelled
        ),
        signals=tuple(_score(name, policy, records, labelled, chances, seconds) for name in names),
    )


def _score(
    name: str,
    policy: AnyRetrainingPolicy,
    records: Sequence[DecisionRecord],
    labelled: Sequence[tuple[Retraining, Label | None]],
    chances: Sequence[Sequence[Signal]],
    seconds: Mapping[str, float],
) -> SignalScore:
    role = _role(name, policy, [one for one, _ in labelled])
    within = [(one, label) for one, label in labelled if one.fired(name, followed=role != "advise")]
    asked = [one for one, _ in within if one.asked and one.fired(name, followed=True)]
    able = [found for found in chances if any(signal.name == name for signal in found)]
    return SignalScore(
        name=name,
        role=role,
        fired=sum(_fired(name, record.decision.signals) for record in records),
        asked=len(asked),
        precision=precision([one for one, _ in within], policy.judged_over, name, followed=False),
        harmful=sum(label == "harmful" for _, label in within),
        missed=sum(not _fired(name, found) for found in able),
        chances=len(able),
        seconds=sum(seconds.get(one.run_key, 0.0) for one in asked),
    )


def _chances(
    records: Sequence[DecisionRecord], labelled: Sequence[tuple[Retraining, Label | None]]
) -> list[tuple[Signal, ...]]:
    """Return what the signals said in each window where a retraining was, or by its shadow would have been, worth it.

    What was realised stands before what a shadow promised for the same window.
    """
    realised: dict[datetime, bool] = {
        one.until: label == "worth it" for one, label in labelled if label and one.promoted
    }
    said = {record.decision.window.end: record.decision.signals for record in records if not record.evidence.defects}
    promised = {
        record.decision.window.end
        for record in records
        if not record.evidence.defects and _promising(record.evidence.shadow)
    }
    known = {one.until: one.signals for one, _ in labelled} | said
    worth = {end for end, found in realised.items() if found} | (promised - realised.keys())
    return [known[end] for end in sorted(worth)]


def _promising(shadow: ShadowScore | None) -> bool:
    return shadow is not None and shadow.gain is not None and shadow.gain > _SURE * (shadow.error or 0.0)


def _role(name: str, policy: AnyRetrainingPolicy, retrainings: Sequence[Retraining]) -> Role:
    if not isinstance(policy, SignalPolicy):
        return "counts" if name == policy.kind else "advise"
    chosen = None if isinstance(policy.when, str) else {each for group in policy.when for each in group}
    if name in policy.advise or (chosen is not None and name not in chosen):
        return "advise"
    return "demoted" if policy.demotes(name, retrainings) else "counts"


def _fired(name: str, signals: Sequence[Signal]) -> bool:
    return any(signal.name == name and signal.state == "fired" for signal in signals)


def _gain(gain: Estimate | None) -> str:
    if gain is None or gain.value is None or gain.low is None or gain.high is None:
        return "-"
    return f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"


def _share(precision: Precision) -> str:
    if precision.value is None:
        return "-"
    low, high = precision.interval
    return f"{precision.value:.0%} ({low:.0%} to {high:.0%})"
