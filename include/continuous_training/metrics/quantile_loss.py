"""The loss of predictions that are meant to be a quantile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.metrics.base import OfValues

if TYPE_CHECKING:
    from continuous_training._performance import Floats


class QuantileLoss(OfValues):
    """Measure the pinball loss: an error weighs `quantile` where the label is above the prediction, `1 - quantile` where below; less is better.

    .. math:: mean(max(q (y - p), (q - 1) (y - p)))

    It is least on average when the label is below the prediction in that share of rows.
    Source: Koenker, Bassett, "Regression quantiles", Econometrica 46, 1978.

    Examples
    --------
    >>> import numpy as np
    >>> from continuous_training import performance
    >>> y, prediction = np.array([10.0, 10.0]), np.array([8.0, 12.0])
    >>> found = performance.estimate(
    ...     QuantileLoss(name="late", quantile=0.75), y, prediction, confidence=0.95, resamples=100, seed=7
    ... )
    >>> found.value  # (0.75 * 2 + 0.25 * 2) / 2
    1.0
    """

    kind: Literal["quantile_loss"] = "quantile_loss"
    quantile: float = Field(
        gt=0, lt=1, description="Share of labels that should be below the prediction; 0.9 is rarely too low."
    )

    greater = False

    def of_errors(self, error: Floats) -> Floats:
        """Return the loss of each row."""
        import numpy as np

        return np.maximum(self.quantile * error, (self.quantile - 1) * error)
