"""Change of the share of missing values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared, PValueDetector

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.scores import DriftScore


class Missing(PValueDetector):
    """Compare the share of rows without a value in the reference and in the current window.

    The effect, and the statistic, is the difference of the two shares: 0.1 means ten more rows in a hundred lack the
    value. Infinite numbers are missing. The sizes are all rows. The p-value is that of the two-proportion z-test, or of
    Fisher's exact test where fewer than five rows would be expected on a side. Source: Pearson (1900); Fisher (1935).

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(numeric=("wind",))
    >>> detector = Missing()
    >>> prepared = detector.fit(pd.DataFrame({"wind": [1.0, 2.0, 3.0, None] * 100}), features)
    >>> [score] = detector.score(prepared, pd.DataFrame({"wind": [1.0, None] * 100}), features)
    >>> score.effect, score.exceeded
    (0.25, True)
    """

    kind: Literal["missing"] = "missing"
    min_rows: int = Field(100, ge=1, description="Rows that either window must have; fewer are inconclusive.")
    minimum_effect: float = Field(
        0.01, ge=0, le=1, description="Difference of the shares below which a column never counts as drifted."
    )

    types = frozenset({"numeric", "categorical"})

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return how many rows of each reference column have a value and how many have none."""
        from continuous_training.detectors import _missing

        return _missing.fit(self, reference, features)

    def score(self, prepared: Prepared, current: pd.DataFrame, features: Features) -> list[DriftScore]:
        """Test each column for an equal share of missing values."""
        return self.measure(prepared, self.tally(prepared, current, features), features)

    def tally(self, prepared: Prepared, rows: pd.DataFrame, features: Features) -> Any:
        """Return how many rows of each column have a value and how many have none."""
        from continuous_training.detectors import _missing

        return _missing.tally(self, prepared, rows, features)

    def measure(self, prepared: Prepared, tally: Any, features: Features) -> list[DriftScore]:
        """Test each column of the rows of a tally."""
        from continuous_training.detectors import _missing

        return _missing.measure(self, prepared, tally, features)
