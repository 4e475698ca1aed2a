"""What is predicted and from which columns."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from continuous_training.core.duration import Duration
from continuous_training.core.frozen import Frozen


class Task(Frozen):
    """The question the model answers, and when the answer becomes known."""

    kind: Literal["classification", "regression"]
    label: str = Field(description="Column to predict; empty where there is no label (yet).")
    event_time: str = Field(description="Column with the moment of each row; windows and leakage are judged by it.")
    label_delay: Duration = Field(
        timedelta(0),
        le=timedelta(days=3660),
        description="How long after the event time a label is known; younger labels are never read.",
    )


class Features(Frozen):
    """The columns the model may use, by type. Nothing else in the data reaches it."""

    numeric: tuple[str, ...] = Field((), description="Columns used as numbers; missing values stay missing.")
    categorical: tuple[str, ...] = Field(
        (), description="Columns used as categories; values not seen in training are one category."
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """Return all feature columns, numeric ones first."""
        return (*self.numeric, *self.categorical)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if not self.columns:
            msg = "name at least one column under numeric or categorical"
            raise ValueError(msg)
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            msg = f"named more than once: {', '.join(twice)}"
            raise ValueError(msg)
        return self


Columns = Literal["all"] | tuple[str, ...]
