"""Money that decisions between two classes cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from continuous_training.metrics.base import OfTwoClasses

if TYPE_CHECKING:
    from continuous_training._performance import Flags, Floats, Statistic


class Cost(OfTwoClasses):
    """Measure the mean cost of a decision when rows above a threshold are treated as positive; less is better.

    .. math:: (TP c_{TP} + FP c_{FP} + FN c_{FN} + TN c_{TN}) / rows

    An amount below 0 is a gain. The threshold that makes the expected cost least, if the probabilities are right, is
    :math:`(c_{FP} - c_{TN}) / (c_{FP} - c_{TN} + c_{FN} - c_{TP})`.
    Source: Elkan, "The foundations of cost-sensitive learning", IJCAI 2001.

    Examples
    --------
    >>> import numpy as np
    >>> from continuous_training import performance
    >>> cost = Cost(name="fraud_cost", true_positive=5, false_positive=5, false_negative=100)
    >>> cost.decides_at
    0.05
    >>> y, score = np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.01, 0.02, 0.2, 0.04])
    >>> found = performance.estimate(
    ...     cost, y, np.column_stack([1 - score, score]), confidence=0.95, resamples=100, seed=7
    ... )
    >>> found.value  # one row looked at for nothing, one fraud missed
    26.25
    """

    kind: Literal["cost"] = "cost"
    true_positive: float = Field(0.0, description="Cost of a positive row that is treated as positive.")
    false_positive: float = Field(description="Cost of a negative row that is treated as positive.")
    false_negative: float = Field(description="Cost of a positive row that is treated as negative.")
    true_negative: float = Field(0.0, description="Cost of a negative row that is treated as negative.")
    threshold: Literal["bayes"] | float = Field(
        "bayes",
        description="Probability above which a row is treated as positive, between 0 and 1; bayes: the one that makes the "
        "expected cost least.",
    )

    greater = False

    @model_validator(mode="after")
    def _reasonable(self) -> Self:
        wrong = [
            f"{missed} is {getattr(self, missed):g} and must be more than {right}, {getattr(self, right):g}: being wrong costs "
            "more than being right"
            for missed, right in (("false_positive", "true_negative"), ("false_negative", "true_positive"))
            if getattr(self, missed) <= getattr(self, right)
        ]
        if self.threshold != "bayes" and not 0 < self.threshold < 1:
            wrong.append(f"threshold: {self.threshold:g} must be between 0 and 1, or bayes")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def decides_at(self) -> float:
        """Return the probability above which a row is treated as positive."""
        if self.threshold != "bayes":
            return self.threshold
        of_negative = self.false_positive - self.true_negative
        return of_negative / (of_negative + self.false_negative - self.true_positive)

    def of_scores(self, positive: Flags, score: Floats) -> Statistic:
        """Return the mean cost as a function of weights."""
        import numpy as np

        from continuous_training import _performance

        treated = score > self.decides_at
        costs = np.where(
            positive,
            np.where(treated, self.true_positive, self.false_negative),
            np.where(treated, self.false_positive, self.true_negative),
        )
        return _performance.mean(costs)
