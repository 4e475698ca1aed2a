"""Two-sample Kolmogorov-Smirnov test of numeric columns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared, PValueDetector

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.detectors._columns import Measures


class KS(PValueDetector):
    """Measure the largest gap between two distribution functions, with its two-sided p-value.

    The effect is the gap itself, between 0 and 1. Ties are allowed, as in `scipy.stats.ks_2samp`, which gives the same
    numbers. Source: Smirnov (1939); p-values after Hodges (1958) and Simard and L'Ecuyer (2011).

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(numeric=("wind",))
    >>> detector = KS()
    >>> prepared = detector.fit(pd.DataFrame({"wind": range(500)}), features)
    >>> [score] = detector.score(prepared, pd.DataFrame({"wind": range(250, 750)}), features)
    >>> score.column, score.statistic, score.exceeded
    ('wind', 0.5, True)
    """

    kind: Literal["ks"] = "ks"
    method: Literal["auto", "asymptotic"] = Field(
        "auto",
        description=(
            "How p-values are computed. auto: exactly when neither side has more than 10000 rows, else asymptotically, "
            "as SciPy does; asymptotic: always so, as alibi-detect does."
        ),
    )

    types = frozenset({"numeric"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return the distribution function of each reference column."""
        from continuous_training.detectors import _columns, _ks

        return _columns.fit(self, reference, features, prepare=_ks.prepare)

    def measures(self) -> Measures:
        """Return how each column is measured."""
        from continuous_training.detectors import _columns, _ks, _marks

        numbers = partial(_ks.measure, exact=self.method == "auto")
        return _columns.Measures(numbers=numbers, marked=_marks.kolmogorov)
