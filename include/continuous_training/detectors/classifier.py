"""Classifier two-sample test of all columns together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import JointDetector, Prepared

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.scores import DriftScore


class Classifier(JointDetector):
    """Test whether a LightGBM model can tell current rows from reference rows that it was not fitted on.

    Every other row of both sides fits one model, which ranks the rest, and the other way round. The statistic is the
    mean area under the ROC curve of the two: 0.5 when nothing can be told, 1 when everything can. The p-value is that of
    the rank-sum test, averaged over both halves so that it holds although they depend on each other, and the effect is
    `2 * area - 1`. Missing values are values here: a change of who
    lacks them is seen. Source: Lopez-Paz and Oquab (2017), Revisiting classifier two-sample tests; the rank test after
    Mann and Whitney (1947).

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> features = Features(numeric=("x", "y"))
    >>> x = np.sin(np.arange(2000.0))
    >>> detector = Classifier()
    >>> prepared = detector.fit(pd.DataFrame({"x": x, "y": x}), features)
    >>> [score] = detector.score(prepared, pd.DataFrame({"x": x, "y": -x}), features)
    >>> score.column, score.exceeded
    (None, True)
    """

    kind: Literal["classifier"] = "classifier"
    sample: int = Field(
        10_000, ge=100, le=1_000_000, description="Rows of either side that are used at most, evenly spaced."
    )
    trees: int = Field(50, ge=1, le=1000, description="Trees of each of the two models.")

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return a sample of the reference's rows."""
        from continuous_training.detectors import _classifier

        return _classifier.fit(self, reference, features)

    def score(self, prepared: Prepared, current: pd.DataFrame, features: Features) -> list[DriftScore]:
        """Test all columns together."""
        from continuous_training.detectors import _classifier, _joint

        return _joint.score(self, prepared, current, features, _classifier.measure)
