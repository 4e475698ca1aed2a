"""How a model does on groups of people, and how far apart the groups are. Nothing here decides."""

from typing import Literal

from pydantic import Field

from continuous_training.core.frozen import Frozen
from continuous_training.core.scores import Estimate
from continuous_training.core.window import Window

Measure = Literal["worst_group", "demographic_parity", "equalised_odds"]

OTHER = "(other)"
"""Value of the group that all values beyond the most frequent ones are counted in."""


class GroupScore(Frozen):
    """How one model does on the rows of one group; the rates are those of the second of two classes."""

    metric: Estimate
    selection_rate: Estimate | None = Field(None, description="Share of rows that the model puts into the class.")
    true_positive_rate: Estimate | None = Field(None, description="The same among rows that are of the class.")
    false_positive_rate: Estimate | None = Field(None, description="The same among rows that are not.")


class Group(Frozen):
    """The rows where a sensitive column has a value, and how the models do on them."""

    column: str
    value: str
    rows: int = Field(ge=0, description="Rows with a known label.")
    judged: bool = Field(description="Whether it has enough rows for the rules to look at it.")
    champion: GroupScore | None = None
    challenger: GroupScore | None = None


class Disparity(Frozen):
    """The number of one rule for one sensitive column, with an interval that holds for all its groups at once.

    For `worst_group` it is the metric of the group that is off worst, for the others the greatest difference between two
    groups.
    """

    measure: Measure
    column: str
    estimate: Estimate
    text: str = Field("", description="The groups behind the number, in words.")
    below: float | None = Field(None, description="Limit that the number may not be under.")
    above: float | None = Field(None, description="Limit that the number may not be over.")
    windows: int = Field(1, ge=1, description="Windows in a row that must cross the limit before the signal fires.")
    window: Window | None = Field(None, description="Window it was measured on; none means the window decided on.")

    @property
    def exceeded(self) -> bool | None:
        """Tell whether the whole interval lies beyond the limit; `None` when there is no interval."""
        low, high = self.estimate.low, self.estimate.high
        if low is None or high is None:
            return None
        return (self.below is not None and high < self.below) or (self.above is not None and low > self.above)

    @property
    def kept(self) -> bool | None:
        """Tell whether the whole interval lies within the limit; `None` when there is no interval."""
        low, high = self.estimate.low, self.estimate.high
        if low is None or high is None:
            return None
        return (self.below is None or low >= self.below) and (self.above is None or high <= self.above)

    @property
    def limit(self) -> str:
        """Return the limit in words."""
        return f"below {self.below:.4g}" if self.below is not None else f"above {self.above:.4g}"
