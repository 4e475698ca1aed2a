"""ADWIN: a signal's mean over a window that adapts its length, row after row."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.stream import Direction, StreamDetector

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.scores import DriftScore


class ADWIN(StreamDetector):
    r"""Find a change of a signal's mean, such as the model's error, anywhere in rows ordered by event time.

    The rows of the reference, in standard deviations from its mean, go through ADWIN first: what it still holds at
    their end is what the window's rows are added to. Every 32 rows all cuts of the rows held, at the borders of buckets
    that grow exponentially with age, are compared:

    .. math:: \frac{\bar z_1 - \bar z_0}{\epsilon}, \quad
        \epsilon = \sqrt{\tfrac{2}{m} \sigma^2 \ln \tfrac{2 \ln n}{\delta}} + \tfrac{2}{3m} \ln \tfrac{2 \ln n}{\delta}

    with :math:`\bar z_0, \bar z_1` the means before and after the cut, :math:`\sigma^2` the variance of the :math:`n` rows
    held, and :math:`1/m` the sum of the reciprocal sizes. The statistic is the largest such ratio of the window, and a
    ratio above 1 is a change. The effect is the window's mean of :math:`z`.

    Source: Bifet and Gavalda (2007), Learning from time-changing data with adaptive windowing; buckets, steps and
    defaults are those of river 0.23, whose alarms are the same.

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(numeric=("x",))
    >>> detector = ADWIN()
    >>> prepared = detector.fit(pd.DataFrame({"error": [0.2, 0.4] * 500}), features)
    >>> [quiet] = detector.score(prepared, pd.DataFrame({"error": [0.2, 0.4] * 500}), features)
    >>> [moved] = detector.score(prepared, pd.DataFrame({"error": [0.2, 0.4] * 500 + [0.4] * 200}), features)
    >>> quiet.exceeded, moved.exceeded
    (False, True)
    """

    kind: Literal["adwin"] = "adwin"
    delta: float = Field(
        0.002,
        gt=0,
        lt=1,
        description=(
            "Confidence of each check: with a smaller number, changes must be larger. False alarms are much rarer than "
            "this number, because the bound is a cautious one."
        ),
    )
    direction: Direction = Field(
        "increase", description="increase: only a rise of the signal counts; both: a fall counts too."
    )

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:  # noqa: ARG002 - the signal is no feature
        """Return what ADWIN holds at the end of the reference."""
        from continuous_training.detectors import _adwin, _stream

        return _stream.fit(self, reference, partial(_adwin.prepare, self))

    def score(
        self,
        prepared: Prepared,
        current: pd.DataFrame,
        features: Features,  # noqa: ARG002 - the signal is no feature
    ) -> list[DriftScore]:
        """Measure the largest ratio at any check in the window."""
        from continuous_training.detectors import _adwin, _stream

        measure = partial(_adwin.measure, self, prepared)
        return [_stream.score(self, prepared, current, measure, threshold=1.0)]
