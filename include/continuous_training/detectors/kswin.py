"""KSWIN: the newest rows of a signal against those before, row after row."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.stream import Direction, StreamDetector

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.scores import DriftScore


class KSWIN(StreamDetector):
    """Find a change of a signal's distribution within the last rows, in rows ordered by event time.

    At every row the newest `stat_size` values are compared with as many that are drawn from the older ones of the last
    `window_size`, by the two-sided Kolmogorov-Smirnov test; the reference's last rows stand before the window's first.
    The p-value is the smallest of the window: one test per row, so it must be far below the chance of a false alarm per
    window. A distance of 0.1 or less is no change. The effect is the window's mean in standard deviations from the
    reference's. What changes slowly, over more than `window_size` rows, is not found.

    Source: Raab, Heusinger and Schleif (2020), Reactive soft prototype computing for concept drift streams; steps are
    those of river 0.23, whose alarms with the same numbers are the same.

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(numeric=("x",))
    >>> detector = KSWIN()
    >>> prepared = detector.fit(pd.DataFrame({"error": [0.2, 0.3, 0.4, 0.5] * 250}), features)
    >>> [quiet] = detector.score(prepared, pd.DataFrame({"error": [0.2, 0.3, 0.4, 0.5] * 50}), features)
    >>> [moved] = detector.score(prepared, pd.DataFrame({"error": [0.4, 0.5, 0.6, 0.7] * 50}), features)
    >>> quiet.exceeded, moved.exceeded
    (False, True)
    """

    kind: Literal["kswin"] = "kswin"
    p_value: float = Field(
        1e-6,
        gt=0,
        lt=1,
        description=(
            "P-value of one test below which the signal counts as changed. There is one test per row, and neighbouring "
            "tests are alike: 1e-6 gives a false alarm in about one of a hundred windows of a few thousand rows."
        ),
    )
    window_size: int = Field(500, ge=2, description="Last rows that a test looks at; the reference must have as many.")
    stat_size: int = Field(
        100,
        ge=1,
        description="Newest rows that are compared with as many of the older ones; at most half of window_size.",
    )
    seed: int = Field(0, description="Start of the numbers that draw the older rows.")
    direction: Direction = Field(
        "increase", description="increase: only a change with a higher mean counts; both: every change counts."
    )

    @model_validator(mode="after")
    def _enough_older_rows(self) -> Self:
        if 2 * self.stat_size > self.window_size:
            msg = (
                f"stat_size {self.stat_size} is more than half of window_size {self.window_size}, so there are not enough "
                "older rows to draw; lower stat_size or raise window_size"
            )
            raise ValueError(msg)
        return self

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:  # noqa: ARG002 - the signal is no feature
        """Return the last rows of the reference."""
        from continuous_training.detectors import _kswin, _stream

        return _stream.fit(self, reference, partial(_kswin.prepare, self))

    def score(
        self,
        prepared: Prepared,
        current: pd.DataFrame,
        features: Features,  # noqa: ARG002 - the signal is no feature
    ) -> list[DriftScore]:
        """Measure the smallest p-value in the window."""
        from continuous_training.detectors import _kswin, _stream

        measure = partial(_kswin.measure, self, prepared)
        return [_stream.score(self, prepared, current, measure, threshold=self.p_value, p_value=True)]
