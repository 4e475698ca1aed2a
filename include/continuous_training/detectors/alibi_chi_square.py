"""alibi-detect's ChiSquareDrift of categorical columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from continuous_training.core.task import Features
from continuous_training.detectors.base import AlibiDetector, Prepared

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.detectors._columns import Measures


class AlibiChiSquare(AlibiDetector):
    """Test categorical columns with `alibi_detect.cd.ChiSquareDrift`.

    It applies Yates' continuity correction to columns with two categories. The effect is Cramér's V. Rows with a
    missing value are left out of that column only. Categories that the reference does not have are counted together as
    one.
    """

    kind: Literal["alibi_chi_square"] = "alibi_chi_square"

    types = frozenset({"categorical"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return the rows of each category in a sample of the reference."""
        from continuous_training.detectors import _columns

        return _columns.fit(self, _columns.spread(reference, self.sample), features)

    def measures(self) -> Measures:
        """Return how each column is measured."""
        from continuous_training.detectors import _alibi, _columns

        return _columns.Measures(table=_alibi.chi_square)
