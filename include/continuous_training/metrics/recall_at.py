"""Recall among the rows with the highest scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.metrics.base import OfTwoClasses

if TYPE_CHECKING:
    from continuous_training._performance import Flags, Floats, Statistic


class RecallAt(OfTwoClasses):
    """Measure the share of the positive rows that are among those with the highest scores; more is better.

    .. math:: TP_{top} / (TP + FN)

    A row at the border counts in part, and rows of the same score count alike, as in `precision_at`.

    Examples
    --------
    >>> import numpy as np
    >>> from continuous_training import performance
    >>> y, score = np.array([0.0, 0.0, 1.0, 0.0]), np.array([0.1, 0.2, 0.3, 0.4])
    >>> found = performance.estimate(
    ...     RecallAt(name="caught", top=0.5), y, np.column_stack([1 - score, score]), confidence=0.95, resamples=100, seed=7
    ... )
    >>> found.value  # the only one is among two rows
    1.0
    """

    kind: Literal["recall_at"] = "recall_at"
    top: float = Field(gt=0, lt=1, description="Share of the rows that are looked at: 0.01 is one in a hundred.")

    greater = True
    unknown = "no row of {rows} is positive"

    def of_scores(self, positive: Flags, score: Floats) -> Statistic:
        """Return the measure as a function of weights."""
        from continuous_training.metrics import _statistics

        return _statistics.at_top(positive, score, self.top, of="positive")
