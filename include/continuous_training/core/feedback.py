"""What people told of predictions, as shares. Nothing here decides."""

from statistics import NormalDist

from pydantic import Field

from continuous_training.core.frozen import Frozen
from continuous_training.core.scores import Estimate


class FeedbackScore(Frozen):
    """The share of the champion's predictions in one window that people gave feedback of one kind on."""

    estimate: Estimate
    rule: str = Field(description="Name of the signal of the rule that asked for it.")
    slice: str = Field("", description="Predictions counted, as column=value; empty means all.")
    above: float
    windows: int = Field(1, ge=1, description="Windows in a row that must be above before the signal fires.")

    @property
    def exceeded(self) -> bool | None:
        """Tell whether the whole interval lies above the limit; `None` when there is no interval."""
        return None if self.estimate.low is None else self.estimate.low > self.above


def share_bounds(count: int, of: int, confidence: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share.

    Wilson: Probable Inference, the Law of Succession, and Statistical Inference. JASA 22, 1927.

    >>> low, high = share_bounds(5, 100, 0.95)
    >>> round(low, 4), round(high, 4)
    (0.0215, 0.1118)
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = count / of, z**2 / of
    middle = share + spread / 2
    reach = z * (share * (1 - share) / of + spread / (4 * of)) ** 0.5
    return max(0.0, (middle - reach) / (1 + spread)), min(1.0, (middle + reach) / (1 + spread))
