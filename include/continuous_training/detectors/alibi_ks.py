"""alibi-detect's KSDrift of numeric columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from continuous_training.core.task import Features
from continuous_training.detectors.base import AlibiDetector, Prepared

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.detectors._columns import Measures


class AlibiKS(AlibiDetector):
    """Test numeric columns with `alibi_detect.cd.KSDrift`: Kolmogorov-Smirnov with asymptotic p-values.

    The effect is the largest gap between the two distribution functions. Rows with a missing value are left out of that
    column only; alibi-detect itself does not take missing values.
    """

    kind: Literal["alibi_ks"] = "alibi_ks"

    types = frozenset({"numeric"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return the values of a sample of the reference."""
        from continuous_training.detectors import _columns

        return _columns.fit(self, _columns.spread(reference, self.sample), features, prepare=_columns.keep)

    def measures(self) -> Measures:
        """Return how each column is measured."""
        from continuous_training.detectors import _alibi, _columns

        return _columns.Measures(numbers=_alibi.ks)
