"""Page-Hinkley test for a lasting increase of a signal, row after row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.stream import StreamDetector

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from continuous_training.core.scores import DriftScore


class PageHinkley(StreamDetector):
    r"""Find a lasting increase of a signal, such as the model's error, in rows ordered by event time.

    With :math:`z_t` the signal of row :math:`t` in standard deviations from the reference's mean,

    .. math:: m_0 = 0, \quad m_t = \alpha m_{t-1} + z_t - \delta, \quad PH_t = m_t - \min_{s \le t} m_s

    and the statistic is the largest :math:`PH_t` of the window from row `min_rows` on: the rows before feed the sum but
    are not judged. Mean and standard deviation are those of the reference and do not move within the window, and every
    window starts anew. The effect is the window's mean of :math:`z`. Only an increase is found.

    Where the signal's column is absent, because no label is known yet, the score is inconclusive.

    Source: Page (1954), Continuous inspection schemes; Hinkley (1971), Inference about the change-point from cumulative
    sum tests.

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(numeric=("x",))
    >>> detector = PageHinkley()
    >>> prepared = detector.fit(pd.DataFrame({"error": [0.2, 0.4] * 500}), features)
    >>> [quiet] = detector.score(prepared, pd.DataFrame({"error": [0.2, 0.4] * 500}), features)
    >>> [moved] = detector.score(prepared, pd.DataFrame({"error": [0.2, 0.4] * 500 + [0.4] * 200}), features)
    >>> quiet.exceeded, moved.exceeded, round(moved.statistic)
    (False, True, 181)
    """

    kind: Literal["page_hinkley"] = "page_hinkley"
    threshold: float = Field(
        50.0,
        gt=0,
        description=(
            "Sum of excesses, in standard deviations of the reference, above which the signal counts as increased. "
            "With the default delta and independent rows, 50 gives about one false alarm in half a million rows."
        ),
    )
    delta: float = Field(
        0.1,
        ge=0,
        description=(
            "Increase to put up with, in standard deviations of the reference; an increase of more than this is found "
            "after about threshold / (increase - delta) rows."
        ),
    )
    alpha: float = Field(
        1.0,
        gt=0,
        le=1,
        description=(
            "Weight of the sum so far when a row is added; 1 forgets nothing. Below 1, windows of more than "
            "1 / (1 - alpha) rows give false alarms: the sum fluctuates while its lowest value is kept."
        ),
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
        """Measure the largest excess in the window."""
        from continuous_training.detectors import _page_hinkley, _stream

        def measure(_: NDArray[np.float64], z: NDArray[np.float64]) -> float:
            return float(_page_hinkley.excess(z, self.delta, self.alpha)[self.min_rows :].max())

        return [_stream.score(self, prepared, current, measure, threshold=self.threshold)]
