"""Maximum mean discrepancy of all columns together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import JointDetector, Prepared

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.scores import DriftScore


class MMD(JointDetector):
    """Test whether rows as a whole, numbers and categories together, come from the reference's distribution.

    Rows are compared by a Gaussian kernel whose width is the median distance of reference rows. Numbers are centred at
    the reference's median and divided by its spread (far values count as 5 spreads away, a missing number as the
    median); a category is an axis of its own, hashed beyond 1024 of them; a missing one is none. The kernel is
    approximated by random Fourier features, so the cost grows with the rows and not with their square. The p-value
    needs no permutations: under no drift the squared distance of two mean feature vectors is a weighted sum of
    chi-squares, whose tail is matched in three moments.

    The statistic is the distance of the two mean vectors; the effect is the same without what chance adds, from 0 to
    1.4. Source: Gretton et al. (2012), A kernel two-sample test; Rahimi and Recht (2007), Random features for
    large-scale kernel machines; Buckley and Eagleson (1988), An approximation to the distribution of quadratic forms.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> features = Features(numeric=("x", "y"))
    >>> x = np.linspace(-1, 1, 500)
    >>> detector = MMD()
    >>> prepared = detector.fit(pd.DataFrame({"x": x, "y": x}), features)
    >>> [score] = detector.score(prepared, pd.DataFrame({"x": x, "y": -x}), features)
    >>> score.column, score.exceeded
    (None, True)
    """

    kind: Literal["mmd"] = "mmd"
    frequencies: int = Field(
        100, ge=10, le=1000, description="Random frequencies: more see smaller changes and cost more, in proportion."
    )

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return how rows are read, the width of the kernel, and mean and covariance of the features."""
        from continuous_training.detectors import _mmd

        return _mmd.fit(self, reference, features)

    def score(self, prepared: Prepared, current: pd.DataFrame, features: Features) -> list[DriftScore]:
        """Test all columns together."""
        from continuous_training.detectors import _joint, _mmd

        return _joint.score(self, prepared, current, features, _mmd.measure)
