"""Jensen-Shannon distance of numeric and categorical columns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared, StatisticDetector

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.detectors._columns import Measures


class JensenShannon(StatisticDetector):
    """Measure the Jensen-Shannon distance between the shares of rows in each bin.

    Bins are those of `psi`. The distance lies between 0, for equal shares, and 1, for no bin in common, and is that of
    `scipy.spatial.distance.jensenshannon` with base 2. Its square is about `psi / 5.5` for small changes, and by chance
    alone about `(bins - 1) / 5.5 * (1 / reference rows + 1 / current rows)`. Source: Lin (1991), Divergence measures
    based on the Shannon entropy; Endres and Schindelin (2003).

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(categorical=("carrier",))
    >>> detector = JensenShannon()
    >>> prepared = detector.fit(pd.DataFrame({"carrier": ["AA", "UA"] * 200}), features)
    >>> [score] = detector.score(prepared, pd.DataFrame({"carrier": ["AA", "UA", "UA", "UA"] * 50}), features)
    >>> round(score.statistic, 3), score.exceeded
    (0.221, True)
    """

    kind: Literal["jensen_shannon"] = "jensen_shannon"
    threshold: float = Field(
        0.2, gt=0, lt=1, description="Distance above which a column counts as drifted; 0.2 is about a psi of 0.2."
    )
    bins: int = Field(10, ge=2, le=100, description="Bins of a numeric column, equally filled by the reference.")

    types = frozenset({"numeric", "categorical"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return the bins of each reference column and their rows."""
        from continuous_training.detectors import _columns, _psi

        return _columns.fit(self, reference, features, prepare=partial(_psi.prepare, bins=self.bins))

    def measures(self) -> Measures:
        """Return how each column is measured."""
        from continuous_training.detectors import _columns, _jensen_shannon, _psi

        return _columns.Measures(bins=_psi.count, table=_jensen_shannon.table)
