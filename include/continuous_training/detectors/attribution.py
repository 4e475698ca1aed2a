"""Drift of what the model's predictions are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Detector, Prepared

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.scores import DriftScore


class Attribution(Detector):
    """Measure how much of the predictions' making has moved from some features to others.

    Each feature has a share in the predictions: its mean absolute attribution (its part in a prediction, in units of
    the model's raw score) divided by the sum over all features. The statistic, and the effect, is half the sum of the
    absolute changes of these shares, the total variation distance: 0 when all are the same, 1 when the predictions are
    made of other features altogether. It needs no labels, and changes that do not matter to the model leave it alone.

    The attributions of a feature are read from the column `attribution:<feature>`; where the model does not explain its
    predictions there are none, and the score is inconclusive. Source: Lundberg et al. (2020), From local explanations to
    global understanding with explainable AI for trees.

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(numeric=("wind", "rain"))
    >>> def explained(wind, rain):
    ...     return pd.DataFrame({"attribution:wind": [wind, -wind] * 100, "attribution:rain": [rain] * 200})
    >>> detector = Attribution()
    >>> prepared = detector.fit(explained(wind=0.3, rain=0.1), features)
    >>> [score] = detector.score(prepared, explained(wind=0.2, rain=0.2), features)
    >>> round(score.statistic, 2), score.exceeded
    (0.25, True)
    """

    kind: Literal["attribution"] = "attribution"
    threshold: float = Field(0.1, gt=0, lt=1, description="Moved share above which the window counts as drifted.")

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return the mean absolute attribution of each feature."""
        from continuous_training.detectors import _attribution

        return _attribution.prepare(self, reference, features)

    def score(self, prepared: Prepared, current: pd.DataFrame, features: Features) -> list[DriftScore]:
        """Measure the moved share."""
        from continuous_training.detectors import _attribution

        return [_attribution.score(self, prepared, current, features)]
