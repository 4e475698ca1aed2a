"""Wasserstein distance of numeric columns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared, StatisticDetector

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.detectors._columns import Measures


class Wasserstein(StatisticDetector):
    """Measure how far values have moved on average, in units of the reference's spread.

    It is the area between the two distribution functions, so a shift of the whole column by one unit gives 1. A column
    that is constant in the reference has no unit and is inconclusive. By chance alone it is about
    `0.8 * sqrt(1 / reference rows + 1 / current rows)` for a bell-shaped column. Times the unit it is
    `scipy.stats.wasserstein_distance`. Source: Vallender (1974); Ramdas, Garcia and Cuturi (2017), On Wasserstein
    two-sample testing.

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(numeric=("wind",))
    >>> detector = Wasserstein(unit="iqr")
    >>> prepared = detector.fit(pd.DataFrame({"wind": range(1000)}), features)
    >>> [score] = detector.score(prepared, pd.DataFrame({"wind": range(250, 1250)}), features)
    >>> round(score.statistic, 2), score.exceeded
    (0.5, True)
    """

    kind: Literal["wasserstein"] = "wasserstein"
    threshold: float = Field(
        0.2, gt=0, description="Distance in units above which a column counts as drifted; 0.2 is a small shift."
    )
    unit: Literal["std", "iqr"] = Field(
        "std",
        description=(
            "Spread of the reference that is one unit: std, the standard deviation, or iqr, the range of the middle "
            "half of the rows, which a few far values do not stretch."
        ),
    )

    types = frozenset({"numeric"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return the distribution function and the unit of each reference column."""
        from continuous_training.detectors import _columns, _distribution

        return _columns.fit(self, reference, features, prepare=partial(_distribution.prepare, unit=self.unit))

    def measures(self) -> Measures:
        """Return how each column is measured."""
        from continuous_training.detectors import _columns, _distribution, _marks

        return _columns.Measures(numbers=_distribution.wasserstein, marked=_marks.wasserstein)
