"""Limits for what people tell of predictions; each is one signal."""

from pydantic import Field

from continuous_training.core.frozen import Frozen


class FeedbackRule(Frozen):
    """A limit for the share of predictions that people gave feedback of one kind on."""

    name: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9_]*)?$",
        max_length=63,
        description="Name of the signal; without one it is the kind with its limit, such as 'complaint above 0.02'.",
    )
    kind: str = Field(
        min_length=1,
        max_length=100,
        description="Kind of the outcomes, as `ct outcomes add` was given it. Of one prediction the last outcome counts; false or "
        "0 takes the feedback back.",
    )
    by: str | None = Field(
        None,
        description="Feature that the prediction log keeps, such as a region: the rule then fires when the share is shown to be "
        "above the limit for any of its values.",
    )
    above: float = Field(
        ge=0,
        lt=1,
        description="Fires when the share of the champion's predictions in the window is shown to be higher than this.",
    )
    windows: int = Field(1, ge=1, le=50, description="Windows in a row that must be above the limit.")
    rows: int = Field(100, ge=1, description="Predictions that a value of `by`, or the window, must have to be judged.")

    @property
    def signal(self) -> str:
        """Return the name of the signal that the rule is."""
        return self.name or f"{self.kind} above {self.above:g}"
