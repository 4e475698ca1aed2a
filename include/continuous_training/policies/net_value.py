"""Retrain when what is gained is worth more than what it costs."""

from collections.abc import Sequence
from datetime import timedelta
from statistics import NormalDist
from typing import Literal

from pydantic import Field

from continuous_training.core.decisions import Evidence, Signal
from continuous_training.core.duration import Duration, format_duration
from continuous_training.core.frozen import Frozen
from continuous_training.core.history import RetrainingHistory
from continuous_training.core.scores import ShadowScore
from continuous_training.policies.guards import LONGEST
from continuous_training.policies.retraining import Judged, RetrainingPolicy


class Costs(Frozen):
    """What one retraining costs, in the same money as `value`."""

    compute: float = Field(0.0, ge=0, description="Machines and people for one retraining.")
    labels: float = Field(0.0, ge=0, description="Labels that one retraining needs and serving would not.")
    risk: float = Field(0.0, ge=0, description="Expected damage of a change of the model, whatever the gate says.")

    @property
    def total(self) -> float:
        """Return the sum."""
        return self.compute + self.labels + self.risk


class NetValue(RetrainingPolicy):
    """Retrain when expected gain x traffic x value exceeds compute + labels + risk, with confidence.

    The gain is the mean loss per prediction that a model refitted each window saves against the champion, pooled over
    the newest windows by inverse variance. Its lower bound must pay for the retraining within `horizon`.

    Examples
    --------
    >>> policy = NetValue(value=2.0, traffic=1000, horizon=timedelta(days=28), costs=Costs(compute=100))
    >>> policy.break_even
    0.0017857142857142857
    """

    kind: Literal["net_value"] = "net_value"
    value: float = Field(gt=0, description="Money that one unit of loss saved is worth, for one prediction.")
    traffic: float = Field(gt=0, description="Predictions per day.")
    horizon: Duration = Field(
        timedelta(days=28), gt=timedelta(0), le=LONGEST, description="How long the gain is expected to last."
    )
    costs: Costs = Field(description="What one retraining costs.")
    windows: int = Field(4, ge=1, le=50, description="Newest windows that the gain is pooled over.")
    confidence: float = Field(
        0.9, gt=0.5, lt=1, description="How sure it must be that the retraining pays (one-sided)."
    )

    needs_shadow = True

    @property
    def break_even(self) -> float:
        """Return the gain per prediction that just pays for one retraining."""
        return self.costs.total / self._worth

    @property
    def _worth(self) -> float:
        return self.value * self.traffic * (self.horizon / timedelta(days=1))

    def judge(self, evidence: Evidence, history: RetrainingHistory) -> list[Judged]:
        """Return the one signal that counts: the net value with its interval."""
        newest = [score for score in (evidence.shadow, *history.shadows) if score is not None][: self.windows]
        pooled = _pooled(newest)
        if evidence.shadow is None or evidence.shadow.gain is None or pooled is None:
            note = (
                evidence.shadow.note if evidence.shadow and evidence.shadow.note else "no refitted model was measured"
            )
            signal = Signal(
                name=self.kind, kind="shadow", state="inconclusive", text=f"net value cannot be told: {note}"
            )
            [signal] = self.enough(evidence, (signal,))
            return [Judged(signal, signal.state)]
        gain, error = pooled
        reach = NormalDist().inv_cdf(self.confidence) * error
        net, low, high = (value * self._worth - self.costs.total for value in (gain, gain - reach, gain + reach))
        text = (
            f"a retraining is worth {net:+.4g} in {format_duration(self.horizon)} ({self.confidence:.0%} bounds {low:+.4g} to "
            f"{high:+.4g}; gain {gain:.3g} per prediction, costs {self.costs.total:.4g})"
        )
        [signal] = self.enough(
            evidence, (Signal(name=self.kind, kind="shadow", state="fired" if low > 0 else "quiet", text=text),)
        )
        return [Judged(signal, signal.state)]


def _pooled(scores: Sequence[ShadowScore]) -> tuple[float, float] | None:
    usable = [
        (score.gain, max(score.error, 1e-12)) for score in scores if score.gain is not None and score.error is not None
    ]
    if not usable:
        return None
    weights = [error**-2 for _, error in usable]
    mean = sum(gain * weight for (gain, _), weight in zip(usable, weights, strict=True)) / sum(weights)
    return mean, sum(weights) ** -0.5
