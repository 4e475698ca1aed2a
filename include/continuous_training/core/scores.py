"""What detectors and metrics measure. Nothing here decides."""

from typing import Literal

from pydantic import Field

from continuous_training.core.frozen import Frozen


class DriftScore(Frozen):
    """The distance of one column, or of all columns together, from the reference.

    `value` is what is compared with `threshold`: a statistic that must not rise above it, or a p-value that must not
    fall below it. `None` means the distance could not be measured, and `note` says why.
    """

    detector: str = Field(description="Kind of the detector, as in the model file.")
    column: str | None = Field(None, description="Column measured; none when all columns were measured together.")
    statistic: float | None = None
    p_value: float | None = None
    effect: float | None = Field(None, description="Size of the change on a scale that does not grow with rows.")
    measure: Literal["statistic", "p_value"]
    threshold: float
    reference_rows: int = Field(ge=0)
    current_rows: int = Field(ge=0)
    note: str = ""

    @property
    def value(self) -> float | None:
        """Return the number that is compared with the threshold."""
        return self.statistic if self.measure == "statistic" else self.p_value

    @property
    def exceeded(self) -> bool | None:
        """Tell whether the value lies beyond the threshold; `None` is inconclusive."""
        if self.value is None:
            return None
        return self.value > self.threshold if self.measure == "statistic" else self.value < self.threshold


class Estimate(Frozen):
    """A metric with its bootstrap interval; `None` where it is not defined, `note` says why."""

    metric: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    rows: int = Field(0, ge=0)
    note: str = ""


class PerformanceScore(Frozen):
    """The realised quality of the champion on one window."""

    estimate: Estimate
    matured: float = Field(ge=0, le=1, description="Share of the window's rows whose label is known.")
    below: float | None = None
    above: float | None = None
    windows: int = Field(1, ge=1, description="Windows in a row that must cross the limit before the signal fires.")

    @property
    def exceeded(self) -> bool | None:
        """Tell whether the metric crossed its limit; `None` when it is unknown or under 95 % of labels have matured."""
        value = self.estimate.value
        if value is None or self.matured < MATURED_SHARE:
            return None
        return (self.below is not None and value < self.below) or (self.above is not None and value > self.above)


MATURED_SHARE = 0.95
