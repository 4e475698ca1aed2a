"""CUSUM: cumulative sums of a signal, row after row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.stream import Direction, StreamDetector

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from continuous_training.core.scores import DriftScore


class CUSUM(StreamDetector):
    r"""Find a lasting shift of a signal's mean, such as the model's error, in rows ordered by event time.

    With :math:`z_t` the signal of row :math:`t` in standard deviations from the reference's mean,

    .. math:: S^+_t = \max(0, S^+_{t-1} + z_t - k), \quad S^-_t = \max(0, S^-_{t-1} - z_t - k), \quad S_0 = 0

    and the statistic is the largest :math:`S^+_t` of the window, or of both sums where `direction` is both. Every window
    starts anew. The effect is the window's mean of :math:`z`. Upwards, and with the same numbers, the sum is that of
    `page_hinkley`; the defaults here find large shifts sooner and overlook small ones.

    Source: Page (1954), Continuous inspection schemes.

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(numeric=("x",))
    >>> detector = CUSUM(direction="both")
    >>> prepared = detector.fit(pd.DataFrame({"error": [0.2, 0.4] * 500}), features)
    >>> [quiet] = detector.score(prepared, pd.DataFrame({"error": [0.2, 0.4] * 500}), features)
    >>> [moved] = detector.score(prepared, pd.DataFrame({"error": [0.2, 0.4] * 500 + [0.2] * 100}), features)
    >>> quiet.exceeded, moved.exceeded, round(moved.statistic)
    (False, True, 75)
    """

    kind: Literal["cusum"] = "cusum"
    threshold: float = Field(
        30.0,
        gt=0,
        description=(
            "Sum, in standard deviations of the reference, above which the signal counts as shifted. With the default "
            "allowance and independent rows, 30 gives about one false alarm in a million rows."
        ),
    )
    allowance: float = Field(
        0.25,
        ge=0,
        description=(
            "Shift to put up with, in standard deviations of the reference; half the shift to be found is the best "
            "choice. A larger shift is found after about threshold / (shift - allowance) rows."
        ),
    )
    direction: Direction = Field(
        "increase", description="increase: only a rise of the signal counts; both: a fall counts too."
    )

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:  # noqa: ARG002 - the signal is no feature
        """Return mean, standard deviation and number of the reference's signal values."""
        from continuous_training.detectors import _stream

        return _stream.fit(self, reference)

    def score(
        self,
        prepared: Prepared,
        current: pd.DataFrame,
        features: Features,  # noqa: ARG002 - the signal is no feature
    ) -> list[DriftScore]:
        """Measure the largest sum in the window."""
        from continuous_training.detectors import _cusum, _stream

        def measure(_: NDArray[np.float64], z: NDArray[np.float64]) -> float:
            return _cusum.largest(z, self.allowance, self.direction)

        return [_stream.score(self, prepared, current, measure, threshold=self.threshold)]
