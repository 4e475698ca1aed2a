"""Which promotions a person must approve, who may, and how long is waited for them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from continuous_training.core.duration import Duration
from continuous_training.core.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from continuous_training.core.comparison import Comparison, SliceComparison

ALWAYS = "every promotion is approved by a person"


class ApprovalRules(Frozen):
    """What makes a person's approval necessary: any one of these. What could not be measured asks too."""

    first: bool = Field(default=False, description="The model has no champion yet.")
    forced: bool = Field(
        default=False, description="The gate was inconclusive and whoever asked for the run forces it."
    )
    difference_below: float | None = Field(
        None, description="The challenger's metric is better than the champion's by less than this."
    )
    worse_slices: bool = Field(
        default=False,
        description="On a slice with `slice_rows` rows the challenger's metric is worse than the champion's, shown or not.",
    )
    negative_flips_above: float | None = Field(
        None,
        ge=0,
        le=1,
        description="The share of hold-out rows that the champion has right and the challenger wrong is higher than this.",
    )

    @model_validator(mode="after")
    def _some_rule(self) -> Self:
        if self == type(self).model_construct():
            msg = f"when names no rule, so nobody would ever be asked; name one of {', '.join(type(self).model_fields)}"
            raise ValueError(msg)
        return self

    def reasons(self, comparison: Comparison, *, slice_rows: int, forced: bool) -> list[str]:
        """Return why a person must approve, in words and numbers; nothing where nobody must.

        Parameters
        ----------
        slice_rows
            Slices with fewer rows are not looked at.
        forced
            Whether the gate was inconclusive, and the run is promoted by force.
        """
        found = ["the gate was inconclusive, and the run is promoted by force"] if self.forced and forced else []
        if comparison.champion is None:
            return [*found, "there is no champion yet"] if self.first else found
        if self.difference_below is not None:
            found += _low_difference(comparison, self.difference_below)
        if self.worse_slices:
            found += _worse_slices(part for part in comparison.slices if part.rows >= slice_rows)
        if self.negative_flips_above is not None:
            found += _many_flips(comparison, self.negative_flips_above)
        return found


def _low_difference(comparison: Comparison, least: float) -> list[str]:
    seen = comparison.difference.value if comparison.difference else None
    if seen is None:
        return ["the difference to the champion could not be measured"]
    return [f"{comparison.metric} is better by {seen:.4g}, less than {least:.4g}"] if seen < least else []


def _worse_slices(slices: Iterable[SliceComparison]) -> Iterator[str]:
    for part in slices:
        where = f"worse where {part.column} is {part.value}"
        if part.difference.value is None:
            yield f"whether it is {where} could not be measured ({part.difference.note or 'no reason given'})"
        elif part.difference.value < 0:
            yield f"{where}: {part.difference.value:.4g}"


def _many_flips(comparison: Comparison, most: float) -> list[str]:
    rate = comparison.negative_flip_rate
    if rate is None:
        return ["how often the challenger is newly wrong could not be measured"]
    return [f"newly wrong in {rate:.2%} of the rows, more than {most:.2%}"] if rate > most else []


class Approval(Frozen):
    """A person's approval before a challenger that passed the gate is promoted."""

    when: Literal["always"] | ApprovalRules = Field("always", description="Always, or where one of the rules applies.")
    approvers: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = Field(
        (),
        max_length=50,
        description="Ids of the Airflow users who may answer, as the auth manager calls them; everyone who may answer tasks when empty.",
    )
    timeout: Duration = Field(
        "7 days",
        validate_default=True,
        gt=timedelta(0),
        le=timedelta(days=365),
        description="Without an answer by then the champion stays.",
    )

    def reasons(self, comparison: Comparison, *, slice_rows: int, forced: bool) -> list[str]:
        """Return why a person must approve; nothing where nobody must."""
        if isinstance(self.when, ApprovalRules):
            return self.when.reasons(comparison, slice_rows=slice_rows, forced=forced)
        return [ALWAYS]
