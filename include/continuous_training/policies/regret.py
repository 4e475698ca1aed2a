"""Retrain at the moment when going on with the champion costs more than a retraining."""

from collections.abc import Sequence
from math import sqrt
from typing import Literal, NamedTuple

from pydantic import Field

from continuous_training.core.decisions import Evidence, Signal
from continuous_training.core.history import RetrainingHistory
from continuous_training.core.scores import ShadowScore
from continuous_training.policies.evidence import State
from continuous_training.policies.retraining import Judged, RetrainingPolicy


class Regret(NamedTuple):
    """The loss that a model refitted each window would have saved so far."""

    total: float
    error: float
    windows: int


class RegretPolicy(RetrainingPolicy):
    r"""Retrain at the moment when waiting longer would cost more than a retraining does.

    In each window a model refitted on the rows before it, which has not seen the window, is compared with the champion.
    The gains :math:`g_t` add up as in a cumulative sum test, :math:`R_t = \max(0, R_{t-1} + g_t)`, from the champion's
    start or the last retraining asked for. A champion that is replaced after :math:`n` windows costs
    :math:`(R_n + \text{price}) / n` a window, which is least where :math:`n g_n - R_n` reaches the price: while the gain
    of the newest window is under that average, waiting is cheaper. So the signal fires when the newest gain, less its
    standard error, satisfies that; or when the regret alone has grown to `patience` prices, as it does when the gain was
    there from the start and never grew. Whatever has been lost must exceed `sigmas` of its own standard errors, so that noise
    retrains nothing.

    Sources: Page (1954), Continuous inspection schemes; Barlow and Hunter (1960), Optimum preventive maintenance
    policies, for the moment at which the mean cost is least.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> score = ShadowScore(gain=0.02, error=0.004, rows=500, trained_until=datetime(2013, 3, 1, tzinfo=UTC))
    >>> regret([score, score])
    Regret(total=0.04, error=0.00565685424949238, windows=2)
    """

    kind: Literal["regret"] = "regret"
    price: float = Field(
        0.02,
        gt=0,
        description="What one retraining costs, as loss in one window: log loss, squared error in variances of the label, or "
        "in ranking 1 - NDCG@10. A smaller price retrains more often.",
    )
    patience: float = Field(20.0, ge=1, description="Regret at which the model is retrained in any case, in prices.")
    sigmas: float = Field(2.0, ge=0, le=10, description="Standard errors that the regret must exceed.")

    needs_shadow = True

    def judge(self, evidence: Evidence, history: RetrainingHistory) -> list[Judged]:
        """Return the one signal that counts: the regret so far."""
        shadow = evidence.shadow
        if shadow is None or shadow.gain is None or shadow.error is None:
            note = shadow.note if shadow and shadow.note else "no refitted model was measured"
            signal = self._signal("inconclusive", f"regret cannot be told: {note}")
        else:
            signal = self._judged(shadow.gain - shadow.error, [shadow, *history.shadows])
        [signal] = self.enough(evidence, (signal,))
        return [Judged(signal, signal.state)]

    def _judged(self, newest: float, scores: Sequence[ShadowScore]) -> Signal:
        """Return the signal, given the least that the newest window gains and all windows, the newest first."""
        so_far = regret(scores)
        owed = so_far.windows * newest - so_far.total
        told = f"a refitted model would have saved {so_far.total:.3g} (standard error {so_far.error:.2g}) in {so_far.windows} windows"
        rate = f"{newest:.3g} in the newest, standard error taken off"
        if so_far.total <= self.sigmas * so_far.error:
            return self._signal("quiet", f"{told}, not more than {self.sigmas:g} standard errors")
        if owed >= self.price:
            text = f"{told} and {rate}: waiting longer costs more than a retraining at the price of {self.price:g}"
            return self._signal("fired", text)
        if so_far.total >= self.patience * self.price:
            return self._signal("fired", f"{told}, which is {self.patience:g} times the price of {self.price:g}")
        return self._signal("quiet", f"{told} and {rate}: waiting is still cheaper than the price of {self.price:g}")

    def _signal(self, state: State, text: str) -> Signal:
        return Signal(name=self.kind, kind="shadow", state=state, text=text)


def regret(scores: Sequence[ShadowScore]) -> Regret:
    """Add up gains, newest first, from zero again whenever the sum falls below it; windows without a gain are skipped."""
    total, variance, windows = 0.0, 0.0, 0
    for score in reversed(scores):
        if score.gain is None or score.error is None:
            continue
        total, variance, windows = total + score.gain, variance + score.error**2, windows + 1
        if total <= 0:
            total, variance = 0.0, 0.0
    return Regret(total, sqrt(variance), windows)
