"""Rows with categories that the reference does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared, StatisticDetector

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.detectors._columns import Measures


class NewCategories(StatisticDetector):
    """Measure the share of rows whose category the reference does not have, beyond what was to be expected.

    A column with many rare categories always has new ones: the share to be expected is the share of reference rows
    whose category occurs only once. Source: Good (1953), The population frequencies of species.

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(categorical=("carrier",))
    >>> detector = NewCategories()
    >>> prepared = detector.fit(pd.DataFrame({"carrier": ["AA", "UA"] * 200}), features)
    >>> [score] = detector.score(prepared, pd.DataFrame({"carrier": ["AA", "UA", "UA", "B6"] * 50}), features)
    >>> score.statistic, score.exceeded
    (0.25, True)
    """

    kind: Literal["new_categories"] = "new_categories"
    threshold: float = Field(
        0.05, gt=0, lt=1, description="Share of rows with new categories, beyond the expected, that counts as drift."
    )

    types = frozenset({"categorical"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return the rows of each category of each reference column."""
        from continuous_training.detectors import _columns

        return _columns.fit(self, reference, features)

    def measures(self) -> Measures:
        """Return how each column is measured."""
        from continuous_training.detectors import _categories, _columns

        return _columns.Measures(table=_categories.new_share)
