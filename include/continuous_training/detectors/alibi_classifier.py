"""alibi-detect's ClassifierDrift of all columns together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import JointDetector, Prepared

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.scores import DriftScore


class AlibiClassifier(JointDetector):
    """Test all columns together with `alibi_detect.cd.ClassifierDrift` and scikit-learn's boosted trees.

    A model is fitted to tell current rows from reference rows; statistic, effect and p-value are those of the
    Kolmogorov-Smirnov test between its predictions for the two sides, on a quarter of the rows that it was not fitted
    on. alibi-detect is under the Business Source License 1.1 (production use needs a licence). Source: Lopez-Paz and
    Oquab (2017), Revisiting classifier two-sample tests.
    """

    kind: Literal["alibi_classifier"] = "alibi_classifier"
    sample: int = Field(
        10_000, ge=100, le=1_000_000, description="Rows of either side that are used at most, evenly spaced."
    )

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return a sample of the reference's rows."""
        from continuous_training.detectors import _alibi_joint

        return _alibi_joint.fit(self, reference, features)

    def score(self, prepared: Prepared, current: pd.DataFrame, features: Features) -> list[DriftScore]:
        """Ask alibi-detect for the p-value."""
        from continuous_training.detectors import _alibi_joint, _joint

        return _joint.score(self, prepared, current, features, _alibi_joint.classifier)
