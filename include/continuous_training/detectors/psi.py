"""Population stability index of numeric and categorical columns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared, StatisticDetector

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.detectors._columns import Measures


class PSI(StatisticDetector):
    """Measure the symmetric relative entropy between the shares of rows in each bin.

    Numbers are binned at quantiles of the reference, categories are bins themselves, and those that the reference does
    not have are one more bin. Half a row is added to every bin, so that an empty one has a finite distance. The index
    is zero or more; 0.1 is commonly read as a small change and 0.25 as a large one. By chance alone it is about
    `(bins - 1) * (1 / reference rows + 1 / current rows)`: raise `min_rows` for columns with many categories.
    Source: Lewis (1994), An Introduction to Credit Scoring; its chance level after Yurdakul and Naranjo (2020).

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(numeric=("delay",))
    >>> detector = PSI()
    >>> prepared = detector.fit(pd.DataFrame({"delay": range(1000)}), features)
    >>> [score] = detector.score(prepared, pd.DataFrame({"delay": range(300, 1300)}), features)
    >>> round(score.statistic, 2), score.exceeded
    (2.0, True)
    """

    kind: Literal["psi"] = "psi"
    threshold: float = Field(0.2, gt=0, description="Index above which a column counts as drifted.")
    bins: int = Field(10, ge=2, le=100, description="Bins of a numeric column, equally filled by the reference.")

    types = frozenset({"numeric", "categorical"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return the bins of each reference column and their rows."""
        from continuous_training.detectors import _columns, _psi

        return _columns.fit(self, reference, features, prepare=partial(_psi.prepare, bins=self.bins))

    def measures(self) -> Measures:
        """Return how each column is measured."""
        from continuous_training.detectors import _columns, _psi

        return _columns.Measures(bins=_psi.count, table=_psi.table)
