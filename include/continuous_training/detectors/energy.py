"""Energy distance of numeric columns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared, StatisticDetector

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.detectors._columns import Measures


class Energy(StatisticDetector):
    """Measure the energy distance in units of the reference's standard deviation.

    It is the root of twice the area under the squared gap between the two distribution functions. Against the
    Wasserstein distance, far values weigh less. A shift of a bell-shaped column by a fifth of a standard deviation gives
    about 0.15, and a column that is constant in the reference is inconclusive. It is `scipy.stats.energy_distance` of
    the values divided by the standard deviation. Source: Székely and Rizzo (2013), Energy statistics.

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(numeric=("wind",))
    >>> detector = Energy()
    >>> prepared = detector.fit(pd.DataFrame({"wind": range(1000)}), features)
    >>> [score] = detector.score(prepared, pd.DataFrame({"wind": range(250, 1250)}), features)
    >>> round(score.statistic, 2), score.exceeded
    (0.63, True)
    """

    kind: Literal["energy"] = "energy"
    threshold: float = Field(
        0.15, gt=0, description="Distance above which a column counts as drifted; 0.15 is a small shift."
    )

    types = frozenset({"numeric"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return the distribution function and the standard deviation of each reference column."""
        from continuous_training.detectors import _columns, _distribution

        return _columns.fit(self, reference, features, prepare=partial(_distribution.prepare, unit="std"))

    def measures(self) -> Measures:
        """Return how each column is measured."""
        from continuous_training.detectors import _columns, _distribution

        return _columns.Measures(numbers=_distribution.energy)
