"""Champion and challenger measured on the same hold-out rows."""

from typing import Literal

from pydantic import Field

from continuous_training.core.fairness import Disparity, Group
from continuous_training.core.frozen import Frozen
from continuous_training.core.scores import Estimate


class SliceComparison(Frozen):
    """The difference on the hold-out rows where `column` has `value`."""

    column: str
    value: str
    rows: int = Field(ge=0)
    difference: Estimate


class Comparison(Frozen):
    """What the promotion gate judges.

    Every `difference` is challenger minus champion, turned so that above zero is better whatever the metric, with a
    paired bootstrap interval. All of the champion's fields are `None` when there is no champion yet.
    """

    metric: str
    # The default is for reading what was stored before the field was there; what is judged always says it.
    greater_is_better: bool = Field(
        default=True, description="Whether of two values of the metric the greater is the better one."
    )
    rows: int = Field(ge=0, description="Hold-out rows with a known label.")
    challenger: Estimate
    champion: Estimate | None = None
    difference: Estimate | None = None
    against: Literal["serving", "judged"] = Field(
        "serving",
        description="Which form of the champion was measured: the one that serves or, where that one has learned from "
        "hold-out rows, the one it was judged by before.",
    )
    refitted: Estimate | None = Field(
        None,
        description="The challenger as it would serve, on the hold-out rows, which it has learned from; none where it is "
        "not fitted again.",
    )
    slices: tuple[SliceComparison, ...] = ()
    groups: tuple[Group, ...] = Field((), description="Both models on the groups of the sensitive columns.")
    disparities: tuple[Disparity, ...] = Field((), description="The challenger's numbers of the fairness limits.")
    champion_disparities: tuple[Disparity, ...] = Field((), description="The champion's numbers of the same.")
    negative_flip_rate: float | None = Field(
        None, ge=0, le=1, description="Share of hold-out rows that the champion has right and the challenger has wrong."
    )
    metrics: dict[str, tuple[float | None, float | None]] = Field(
        default_factory=dict, description="Every metric of the task: challenger's value, champion's value."
    )
