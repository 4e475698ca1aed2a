"""What every detector of a signal in event-time order has."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from continuous_training.detectors.base import Detector

Direction = Literal["increase", "both"]


class StreamDetector(Detector):
    """A sequential test of one signal, such as the model's error, in rows ordered by event time.

    Where the signal's column is absent, because no label is known yet, the score is inconclusive.
    """

    signal: str = Field(
        "error",
        min_length=1,
        description="Column to watch; error is the absolute error of each prediction, where labels are known.",
    )


class WrongRowDetector(StreamDetector):
    """A sequential test of which rows are wrong: those whose signal reaches `wrong_from`."""

    wrong_from: float = Field(
        0.5,
        allow_inf_nan=False,
        description=(
            "Value of the signal from which a row counts as wrong. The default fits the error of a probability: 0.5 or "
            "more is the wrong class. For a regression, choose it in units of the label."
        ),
    )
