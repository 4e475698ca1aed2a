"""Change of the number of categories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared, StatisticDetector

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.detectors._columns import Measures


class Cardinality(StatisticDetector):
    """Measure how often the number of categories has doubled or halved.

    More rows hold more categories, so both numbers are those to be expected in as many rows as the smaller window has.
    The effect is positive when there are more categories than before. Source: Hurlbert (1971), The nonconcept of
    species diversity (rarefaction, here with replacement).

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(categorical=("page",))
    >>> detector = Cardinality()
    >>> prepared = detector.fit(pd.DataFrame({"page": list("abcdefgh") * 50}), features)
    >>> [score] = detector.score(prepared, pd.DataFrame({"page": list("ab") * 200}), features)
    >>> round(score.statistic, 3), score.effect < 0, score.exceeded
    (2.0, True, True)
    """

    kind: Literal["cardinality"] = "cardinality"
    threshold: float = Field(
        0.9, gt=0, description="Doublings (or halvings) of the number of categories above which a column has drifted."
    )

    types = frozenset({"categorical"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return the rows of each category of each reference column."""
        from continuous_training.detectors import _columns

        return _columns.fit(self, reference, features)

    def measures(self) -> Measures:
        """Return how each column is measured."""
        from continuous_training.detectors import _categories, _columns

        return _columns.Measures(categories=_categories.doublings)
