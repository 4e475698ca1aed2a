"""What became of each retraining: the gain that was realised, and the label that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal

from pydantic import Field

from continuous_training.core.decisions import ReasonKind, Signal
from continuous_training.core.frozen import Frozen
from continuous_training.core.scores import Estimate
from continuous_training.core.window import Moment

Label = Literal["worth it", "neutral", "harmful"]


class Retraining(Frozen):
    """One retraining of a model that had a champion, and what was seen of it since."""

    run_key: str
    until: Moment = Field(description="End of the rows it was trained on.")
    reason: ReasonKind
    asked: bool = Field(description="Whether a decision on evidence asked for it.")
    promoted: bool = Field(description="Whether its challenger became champion.")
    signals: tuple[Signal, ...] = Field((), description="What each signal said of the newest window it was trained on.")
    gains: tuple[Estimate, ...] = Field(
        (), description="By how much the new champion beat the one that it replaced, window by window after it."
    )
    followed: bool = Field(default=False, description="Whether another champion has followed: there are no more gains.")

    def fired(self, signal: str, *, followed: bool) -> bool:
        """Tell whether a signal had fired and, with `followed`, the policy followed it."""
        return any(one.name == signal and one.state == "fired" and (one.counts or not followed) for one in self.signals)

    def label(self, windows: int) -> Label | None:
        """Return whether it was worth it, once `windows` windows were measured or another champion followed.

        Worth it when the whole interval of the pooled gain is above 0, harmful when it is below, else neutral. A
        challenger that the gate refused changed nothing: neutral, whatever it cost. `None` is not judged (yet).
        """
        if not self.promoted:
            return "neutral"
        gain = pooled(self.gains[:windows])
        if gain is None or gain.low is None or gain.high is None or not (self.followed or len(self.gains) >= windows):
            return None
        return "worth it" if gain.low > 0 else "harmful" if gain.high < 0 else "neutral"


def pooled(gains: Sequence[Estimate]) -> Estimate | None:
    """Return the mean of measured gains, each weighted by its rows, with the interval that independent ones give.

    >>> one = Estimate(metric="roc_auc", value=0.02, low=0.0, high=0.04, rows=100)
    >>> found = pooled([one] * 4)
    >>> found.rows, round(found.low, 3), round(found.high, 3)
    (400, 0.01, 0.03)
    """
    known = [
        (gain.rows, gain.value, (gain.high - gain.low) / 2)
        for gain in gains
        if gain.value is not None and gain.low is not None and gain.high is not None
    ]
    rows = sum(count for count, _, _ in known)
    if not rows:
        return None
    value = sum(count * mean for count, mean, _ in known) / rows
    reach = sum((count * half) ** 2 for count, _, half in known) ** 0.5 / rows
    return Estimate(metric=gains[0].metric, value=value, low=value - reach, high=value + reach, rows=rows)


class Precision(Frozen):
    """Of the judged retrainings in which a signal had fired, how many were worth it."""

    worth_it: int = Field(ge=0)
    judged: int = Field(ge=0)

    @property
    def value(self) -> float | None:
        """Return the share; `None` before one was judged."""
        return self.worth_it / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the share; all that is possible before one was judged.

        Source: Wilson (1927), Probable inference, the law of succession, and statistical inference.

        >>> [round(bound, 2) for bound in Precision(worth_it=0, judged=9).interval]
        [0.0, 0.3]
        """
        if not self.judged:
            return 0.0, 1.0
        share, square = self.worth_it / self.judged, NormalDist().inv_cdf(0.975) ** 2
        centre = share + square / (2 * self.judged)
        reach = (square * (share * (1 - share) / self.judged + square / (4 * self.judged**2))) ** 0.5
        whole = 1 + square / self.judged
        return max(0.0, (centre - reach) / whole), min(1.0, (centre + reach) / whole)


def precision(retrainings: Sequence[Retraining], windows: int, signal: str, *, followed: bool) -> Precision:
    """Return the precision of a signal over the retrainings that are judged by now.

    Parameters
    ----------
    followed:
        Count only those in which the policy followed the signal. A signal that always fires would otherwise be credited,
        while it is not followed, with what others found.
    """
    labels = [one.label(windows) for one in retrainings if one.fired(signal, followed=followed)]
    return Precision(worth_it=labels.count("worth it"), judged=len(labels) - labels.count(None))
