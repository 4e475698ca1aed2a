"""alibi-detect's FETDrift of binary columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from continuous_training.core.task import Features
from continuous_training.detectors.base import AlibiDetector, Prepared

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.detectors._columns import Measures


class AlibiFET(AlibiDetector):
    """Test columns with two categories with `alibi_detect.cd.FETDrift`, Fisher's exact test, in both directions.

    The statistic is the odds ratio where it is finite, and the effect Cramér's V. A column with more than two categories
    is inconclusive, so name the binary ones under `columns`. Source: Fisher (1935), The logic of inductive inference.
    """

    kind: Literal["alibi_fet"] = "alibi_fet"

    types = frozenset({"categorical"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return the rows of each category in a sample of the reference."""
        from continuous_training.detectors import _columns

        return _columns.fit(self, _columns.spread(reference, self.sample), features)

    def measures(self) -> Measures:
        """Return how each column is measured."""
        from continuous_training.detectors import _alibi, _columns

        return _columns.Measures(table=_alibi.fet)
