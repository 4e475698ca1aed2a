"""What detectors and metrics measure. Nothing here decides."""

from typing import Literal

from pydantic import Field

from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Moment, Window


class DriftScore(Frozen):
    """The distance of one column, or of all columns together, from the reference.

    `value` is what is compared with `threshold`: a statistic that must not rise above it, or a p-value that must not
    fall below it. `None` means the distance could not be measured, and `note` says why.
    """

    detector: str = Field(description="Name of the detector in the model file; its kind where it has no name.")
    column: str | None = Field(None, description="Column measured; none when all columns were measured together.")
    slice: str = Field("", description="Rows measured, as column=value; empty means all.")
    statistic: float | None = None
    p_value: float | None = None
    effect: float | None = Field(None, description="Size of the change on a scale that does not grow with rows.")
    measure: Literal["statistic", "p_value"]
    threshold: float
    minimum_effect: float = Field(0.0, ge=0, description="Effect below which the score never counts as exceeded.")
    reference_rows: int = Field(ge=0)
    current_rows: int = Field(ge=0)
    season: float | None = Field(
        None,
        description="The same number measured against the same season before; none where nobody asked or could tell.",
    )
    seasonal: bool = Field(
        default=False, description="Whether it is as in the same season before: then it is no drift."
    )
    note: str = ""

    @property
    def value(self) -> float | None:
        """Return the number that is compared with the threshold."""
        return self.statistic if self.measure == "statistic" else self.p_value

    @property
    def exceeded(self) -> bool | None:
        """Tell whether the value lies beyond the threshold and no season explains it; `None` is inconclusive."""
        if self.value is None:
            return None
        if self.seasonal:
            return False
        if self.minimum_effect and (self.effect is None or abs(self.effect) < self.minimum_effect):
            return False
        return self.value > self.threshold if self.measure == "statistic" else self.value < self.threshold


class Estimate(Frozen):
    """A metric with its bootstrap interval; `None` where it is not defined, `note` says why."""

    metric: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    rows: int = Field(0, ge=0)
    note: str = ""


class ShadowScore(Frozen):
    """By how much a model refitted on the rows just before a window beats the champion on that window.

    `gain` is the mean over rows of champion's loss minus refitted model's loss (log loss, squared error in units of
    the label's variance, or in ranking 1 - NDCG@10 of each group), so above zero the refitted model is better; `error` is its standard error.
    """

    gain: float | None = None
    error: float | None = Field(None, ge=0)
    rows: int = Field(0, ge=0, description="Rows of the window with a known label.")
    trained_until: Moment = Field(description="End of the rows the refitted model was made from.")
    note: str = Field("", description="Why there is no gain, where there is none.")


class RealisedGain(Frozen):
    """By how much the champion beats the one that it replaced on a window that neither was made from."""

    fence: int = Field(ge=1, description="Fence of the champion.")
    against: int = Field(ge=1, description="Fence of the champion that it replaced.")
    difference: Estimate = Field(description="Gain in the promotion metric, above 0 when the champion is better.")


Line = Literal["estimated", "provisional", "final"]


class PerformanceScore(Frozen):
    """The quality of the champion on one window.

    The line `estimated` needs no label, `provisional` uses the labels that have matured, `final` waits for 95 % of them.
    """

    estimate: Estimate
    rule: str = Field("", description="Name of the rule in the model file that asked for it.")
    line: Line = "final"
    window: Window | None = Field(None, description="Window it was measured on; none means the window decided on.")
    slice: str = Field("", description="Rows measured, as column=value; empty means all.")
    matured: float = Field(ge=0, le=1, description="Share of the window's rows whose label is known.")
    below: float | None = None
    above: float | None = None
    windows: int = Field(1, ge=1, description="Windows in a row that must cross the limit before the signal fires.")

    @property
    def limited(self) -> bool:
        """Tell whether it has a limit; without one it is written down and is no signal."""
        return self.below is not None or self.above is not None

    @property
    def exceeded(self) -> bool | None:
        """Tell whether the metric crossed its limit; `None` when it is unknown or under 95 % of labels have matured."""
        value = self.estimate.value
        if value is None or (self.line == "final" and self.matured < MATURED_SHARE):
            return None
        return (self.below is not None and value < self.below) or (self.above is not None and value > self.above)


MATURED_SHARE = 0.95
