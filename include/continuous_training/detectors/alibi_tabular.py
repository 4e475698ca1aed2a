"""alibi-detect's TabularDrift of numeric and categorical columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from continuous_training.core.task import Features
from continuous_training.detectors.base import AlibiDetector, Prepared

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.detectors._columns import Measures


class AlibiTabular(AlibiDetector):
    """Test numeric and categorical columns with `alibi_detect.cd.TabularDrift`.

    Each column is given to it without that column's missing values, which alibi-detect does not take; where nothing is
    missing the numbers are those of one `TabularDrift` over all columns with `correction="bonferroni"`. Numeric columns
    have the largest gap between the two distribution functions as their effect, categorical ones Cramér's V. Categories
    that the reference does not have are counted together as one.
    """

    kind: Literal["alibi_tabular"] = "alibi_tabular"

    types = frozenset({"numeric", "categorical"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return values, and rows of each category, of a sample of the reference."""
        from continuous_training.detectors import _columns

        return _columns.fit(self, _columns.spread(reference, self.sample), features, prepare=_columns.keep)

    def measures(self) -> Measures:
        """Return how each column is measured."""
        from continuous_training.detectors import _alibi, _columns

        return _columns.Measures(numbers=_alibi.tabular_numbers, table=_alibi.tabular_table)
