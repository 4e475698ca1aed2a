"""Precision and recall in one number, one of them weighing more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.metrics.base import OfTwoClasses

if TYPE_CHECKING:
    from continuous_training._performance import Flags, Floats, Statistic


class FBeta(OfTwoClasses):
    """Measure the weighted harmonic mean of precision and recall; recall weighs `beta` times as much, more is better.

    .. math:: (1 + beta^2) TP / ((1 + beta^2) TP + beta^2 FN + FP)

    With `beta` 1 and threshold 0.5 it is `f1`. Source: van Rijsbergen, Information Retrieval, 1979.

    Examples
    --------
    >>> import numpy as np
    >>> from continuous_training import performance
    >>> y, score = np.array([0.0, 1.0, 1.0, 1.0]), np.array([0.6, 0.9, 0.4, 0.3])
    >>> found = performance.estimate(
    ...     FBeta(name="f2", beta=2), y, np.column_stack([1 - score, score]), confidence=0.95, resamples=100, seed=7
    ... )
    >>> round(found.value, 3)  # precision 1/2, recall 1/3
    0.357
    """

    kind: Literal["f_beta"] = "f_beta"
    beta: float = Field(
        gt=0, description="How many times as much recall weighs as precision; below 1 precision weighs more."
    )
    threshold: float = Field(0.5, gt=0, lt=1, description="Probability above which a row is treated as positive.")

    greater = True
    unknown = "neither a label nor a decision is positive in {rows} rows"

    def of_scores(self, positive: Flags, score: Floats) -> Statistic:
        """Return the measure as a function of weights."""
        from continuous_training.metrics import _statistics

        return _statistics.f_beta(positive, score > self.threshold, self.beta)
