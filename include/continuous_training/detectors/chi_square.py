"""Chi-square test of homogeneity of categorical columns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared, PValueDetector

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.detectors._columns import Measures


class ChiSquare(PValueDetector):
    """Compare how often each category occurs in the reference and in the current window.

    The effect is Cramér's V: 0 for equal shares, 1 for no category in common. Categories that the reference does not
    have are counted together as one, as they are for the model; those that are absent now count as zero rows. The
    numbers are those of `scipy.stats.chi2_contingency`. Source: Pearson (1900); Cramér (1946), chapter 21.

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(categorical=("carrier",))
    >>> detector = ChiSquare()
    >>> prepared = detector.fit(pd.DataFrame({"carrier": ["AA", "UA"] * 200}), features)
    >>> [score] = detector.score(prepared, pd.DataFrame({"carrier": ["AA", "UA", "UA", "UA"] * 50}), features)
    >>> round(score.effect, 3), score.exceeded
    (0.239, True)
    """

    kind: Literal["chi_square"] = "chi_square"
    continuity: bool = Field(
        default=False,
        description=(
            "Apply Yates' continuity correction to columns with two categories, as alibi-detect does; it makes the "
            "test more cautious there."
        ),
    )

    types = frozenset({"categorical"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return the rows of each category of each reference column."""
        from continuous_training.detectors import _columns

        return _columns.fit(self, reference, features)

    def measures(self) -> Measures:
        """Return how each column is measured."""
        from continuous_training.detectors import _chi_square, _columns

        table = partial(_chi_square.measure, continuity=self.continuity)
        return _columns.Measures(table=table)
