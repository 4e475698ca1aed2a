"""Why the quality of a champion changed: the parts of the change, each with its cause."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from continuous_training.core.frozen import Frozen
from continuous_training.core.scores import Line
from continuous_training.core.window import Window

CauseKind = Literal["features", "label", "relation", "inseparable", "refit"]
MOST_CAUSES = 10
_MOST_TOLD, _LONGEST_NAME = 3, 150
_ROUNDING = 1e-9  # the label's share leaves roc_auc as it is, but for the last digits


class Cause(Frozen):
    """One part of the change of a metric, in its unit: above 0 the cause made it greater."""

    metric: str
    slice: str = Field("", description="Rows compared, as column=value; empty means all.")
    name: str = Field(
        description="The group of features, label, relation (perhaps with what cannot be told from it) or refit."
    )
    kind: CauseKind = Field(
        description="features: their values come from another distribution; label: so does the label; relation: rows alike in that "
        "have another label than before; inseparable: that, or shifts so large that the two share too little; refit: what serves is not what was judged, but fitted again on newer rows."
    )
    value: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Tell whether its interval leaves no doubt that it made the metric greater, or that it made it smaller."""
        return self.low > _ROUNDING or self.high < -_ROUNDING


class CauseCard(Frozen):
    """Where the change of one metric between the champion's hold-out and a window comes from.

    `causes` add up to `after` minus `before`; there are none where they could not be told apart, and `note` says why.
    """

    metric: str
    line: Line = "final"
    slice: str = Field("", description="Rows compared, as column=value; empty means all.")
    window: Window
    before: float | None = Field(None, description="The metric on the hold-out, of the model as it was judged.")
    after: float | None = Field(None, description="The metric on the window, of the model that serves.")
    low: float | None = Field(None, description="Lower end of the interval of the change.")
    high: float | None = Field(None, description="Upper end of the interval of the change.")
    causes: tuple[Cause, ...] = Field((), max_length=MOST_CAUSES, description="Parts of the change, the largest first.")
    reference_rows: int = Field(0, ge=0, description="Rows of the hold-out that were used.")
    current_rows: int = Field(0, ge=0, description="Rows of the window that were used.")
    effective_rows: float | None = Field(
        None,
        description="Rows without weights that would tell as much as the weighted ones do; none where there were no weights.",
    )
    inseparable: tuple[str, ...] = Field(
        (),
        description="Shifts so large that hold-out and window share too little: what they did cannot be told from a changed relation.",
    )
    note: str = Field("", max_length=500, description="Why there are no parts, where there are none.")

    @property
    def sentence(self) -> str:
        """Return the card in one sentence."""
        what = f"{self.metric} where {self.slice[:_LONGEST_NAME]}" if self.slice else self.metric
        if self.before is None or self.after is None:
            return f"why {what} changed cannot be told: {self.note}"
        change = self.after - self.before
        told = f"{what} {'rose' if change > 0 else 'fell'} by {abs(change):.3g} ({self.before:.3g} to {self.after:.3g})"
        return f"{told}: {in_words(self.causes)}" if self.causes else f"{told}; why cannot be told: {self.note}"


def in_words(causes: Sequence[Cause]) -> str:
    """Return the causes that are shown, at most three, in words.

    >>> told = {"metric": "roc_auc", "low": -0.03, "high": -0.01}
    >>> in_words([Cause(name="wind", kind="features", value=-0.02, **told)])
    'wind -0.02 (-0.03 to -0.01)'
    """
    shown = [cause for cause in causes if cause.shown][:_MOST_TOLD]
    if not shown:
        return "no single cause is shown"
    return "; ".join(
        f"{cause.name[:_LONGEST_NAME]} {cause.value:+.2g} ({cause.low:+.2g} to {cause.high:+.2g})" for cause in shown
    )
