"""Limits of quality that a model file sets; each is one signal."""

from typing import Self

from pydantic import Field, model_validator

from continuous_training.core.frozen import Frozen
from continuous_training.core.quality import MetricReference
from continuous_training.core.scores import Line


class PerformanceRule(Frozen):
    """A limit for the quality of the champion, estimated or realised."""

    name: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9_]*)?$",
        max_length=63,
        description="Name of the signal; without one it is the metric with its limit, such as 'roc_auc below 0.7'; a line other "
        "than final stands before it.",
    )
    metric: MetricReference = Field(
        description="Quality of the champion's predictions: a built-in metric or one of `metrics`."
    )
    line: Line = Field(
        "final",
        description="Which line the limit is for. final: a window whose labels have had their label_delay. provisional: the "
        "labels known so far, of the newest window that has any. estimated: no labels, the metric that the predictions lead "
        "to expect, until it proves wrong. With a rule other than final, windows are looked at as soon as their rows are "
        "there, and final is measured on the newest window whose labels are known by then.",
    )
    below: float | None = Field(None, description="Fires when the metric is lower than this.")
    above: float | None = Field(None, description="Fires when the metric is higher than this.")
    windows: int = Field(1, ge=1, le=50, description="Windows in a row that must cross the limit.")
    by: str | None = Field(
        None,
        description="Categorical feature or sensitive column, such as a region: the rule then fires when the metric crosses the limit in any of "
        "its values.",
    )
    rows: int = Field(100, ge=1, description="Rows that a value of `by` must have in the window to be judged.")

    @property
    def signal(self) -> str:
        """Return the name of the signal that the rule is."""
        limit = f"below {self.below:g}" if self.below is not None else f"above {self.above:g}"
        line = "" if self.line == "final" else f"{self.line} "
        return self.name or f"{line}{self.metric} {limit}"

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.below is None) == (self.above is None):
            msg = "give exactly one of below and above"
            raise ValueError(msg)
        return self
