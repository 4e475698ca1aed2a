"""Retrain when what was lost by not having retrained adds up."""

from collections.abc import Sequence
from math import sqrt
from typing import Literal, NamedTuple

from pydantic import Field

from continuous_training.core.decisions import Evidence, Signal
from continuous_training.core.history import RetrainingHistory
from continuous_training.core.scores import ShadowScore
from continuous_training.policies.retraining import Judged, RetrainingPolicy


class Regret(NamedTuple):
    """The loss that a model refitted each window would have saved so far."""

    total: float
    error: float
    windows: int


class RegretPolicy(RetrainingPolicy):
    r"""Retrain when the regret of having kept the champion passes a threshold.

    In each window a model refitted on the rows before it, which has not seen the window, is compared with the champion.
    The gains :math:`g_t` add up as in a cumulative sum test, :math:`R_t = \max(0, R_{t-1} + g_t)`, from the champion's
    start or the last retraining asked for. The signal fires when :math:`R_t` exceeds `threshold` and `sigmas` of its own
    standard errors, so that neither a large noisy window nor many small certain ones are enough alone.
    Source: Page (1954), Continuous inspection schemes.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> score = ShadowScore(gain=0.02, error=0.004, rows=500, trained_until=datetime(2013, 3, 1, tzinfo=UTC))
    >>> regret([score, score])
    Regret(total=0.04, error=0.00565685424949238, windows=2)
    """

    kind: Literal["regret"] = "regret"
    threshold: float = Field(
        0.03,
        gt=0,
        description="Sum of gains at which the model is retrained: log loss, or squared error in variances of the label.",
    )
    sigmas: float = Field(2.0, ge=0, le=10, description="Standard errors of the sum that it must exceed as well.")

    needs_shadow = True

    def judge(self, evidence: Evidence, history: RetrainingHistory) -> list[Judged]:
        """Return the one signal that counts: the regret so far."""
        shadow = evidence.shadow
        if shadow is None or shadow.gain is None or shadow.error is None:
            note = shadow.note if shadow and shadow.note else "no refitted model was measured"
            signal = Signal(name=self.kind, kind="shadow", state="inconclusive", text=f"regret cannot be told: {note}")
        else:
            so_far = regret([shadow, *history.shadows])
            fired = so_far.total > max(self.threshold, self.sigmas * so_far.error)
            text = (
                f"a refitted model would have saved {so_far.total:.3g} (standard error {so_far.error:.2g}) in "
                f"{so_far.windows} windows, {'more' if fired else 'not more'} than {self.threshold:g} and {self.sigmas:g} errors"
            )
            signal = Signal(name=self.kind, kind="shadow", state="fired" if fired else "quiet", text=text)
        [signal] = self.enough(evidence, (signal,))
        return [Judged(signal, signal.state)]


def regret(scores: Sequence[ShadowScore]) -> Regret:
    """Add up gains, newest first, and start again whenever the sum falls below zero; windows without a gain are skipped."""
    total, variance, windows = 0.0, 0.0, 0
    for score in reversed(scores):
        if score.gain is None or score.error is None:
            continue
        total, variance, windows = total + score.gain, variance + score.error**2, windows + 1
        if total <= 0:
            total, variance, windows = 0.0, 0.0, 0
    return Regret(total, sqrt(variance), windows)
