"""What is predicted and from which columns."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from continuous_training.core.duration import Duration
from continuous_training.core.frozen import Frozen

TaskKind = Literal["classification", "regression", "ranking"]


class Task(Frozen):
    """The question the model answers, and when the answer becomes known."""

    kind: TaskKind
    label: str = Field(
        description="Column to predict; empty where there is no label (yet). In ranking it is the relevance of the row for "
        "its group: a whole number from 0 (not relevant) to 30."
    )
    event_time: str = Field(description="Column with the moment of each row; windows and leakage are judged by it.")
    label_delay: Duration = Field(
        timedelta(0),
        le=timedelta(days=3660),
        description="How long after the event time a label is known; younger labels are never read.",
    )
    group: str | None = Field(
        None,
        description="Ranking only: column that names the session, search or list in which a row stood. Rows are ranked "
        "within their group, and training, tuning and hold-out take whole groups, in the order in which these ended; a row "
        "without a group is not used. Groups should be short beside the windows, whose ends cut them.",
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns besides the features: event time, label and, in ranking, the group."""
        return (self.event_time, self.label) if self.group is None else (self.event_time, self.label, self.group)

    @model_validator(mode="after")
    def _group_where_ranked(self) -> Self:
        if self.kind == "ranking" and self.group is None:
            msg = "ranking needs group, the column that names the session, search or list of each row"
            raise ValueError(msg)
        if self.kind != "ranking" and self.group is not None:
            msg = f"group is for ranking only; remove it, or write kind: ranking instead of {self.kind}"
            raise ValueError(msg)
        if self.group in {self.label, self.event_time}:
            msg = f"group names {self.group}, which is the label or the event time; name a column of its own"
            raise ValueError(msg)
        return self


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
