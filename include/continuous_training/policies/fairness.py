"""How differently a model may treat groups of people: limits of the promotion gate, and signals in each window."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from continuous_training.core.comparison import Comparison
from continuous_training.core.decisions import Outcome, Rule
from continuous_training.core.fairness import Disparity, Measure
from continuous_training.core.frozen import Frozen
from continuous_training.core.quality import MetricReference

Share = Annotated[float, Field(ge=0, le=1)]


class WorstGroup(Frozen):
    """The least that the model must do for every group."""

    metric: MetricReference = Field(description="Quality of the group: a built-in metric or one of `metrics`.")
    below: float | None = Field(None, description="A group may not be lower than this.")
    above: float | None = Field(
        None, description="A group may not be higher than this, for metrics where less is better."
    )

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.below is None) == (self.above is None):
            msg = "give exactly one of below and above"
            raise ValueError(msg)
        return self


class FairnessPolicy(Frozen):
    """Sensitive columns, and how far the groups in them may be apart.

    A number counts as beyond its limit, or within, only when its whole interval is. The interval holds for all groups of
    the column at once, so that many groups do not raise false alarms.

    References
    ----------
    Hardt, Price, Srebro: Equality of Opportunity in Supervised Learning. NeurIPS 2016. Simultaneous intervals: Cherian,
    Candès: Statistical Inference for Fairness Auditing. JMLR 25, 2024.
    """

    sensitive: tuple[str, ...] = Field(
        min_length=1,
        max_length=20,
        description="Columns that name the groups, such as sex or region. They are read with the rows; the model never gets "
        "them, unless `as_feature` names them. Values are compared as text: give age as age bands.",
    )
    as_feature: tuple[str, ...] = Field(
        (), description="Sensitive columns that may be features all the same, because you have a reason and may."
    )
    worst_group: WorstGroup | None = Field(None, description="Limit for the group for which the model does worst.")
    demographic_parity: Share | None = Field(
        None,
        description="Highest difference between two groups in the selection rate: the share of rows that the model puts into "
        "the second of two classes. It needs no label to be right.",
    )
    equalised_odds: Share | None = Field(
        None,
        description="Highest difference between two groups in the true positive rate or in the false positive rate, "
        "whichever is greater.",
    )
    rows: int = Field(100, ge=20, description="Groups with fewer labelled rows are reported and not judged.")
    groups: int = Field(
        20, ge=2, le=50, description="Most values of a column that are a group each; the others are one, (other)."
    )
    windows: int = Field(
        1, ge=1, le=50, description="Windows in a row that must be beyond a limit before its signal fires."
    )

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        twice = sorted({name for name in self.sensitive if self.sensitive.count(name) > 1})
        if twice:
            msg = f"sensitive names more than once: {', '.join(twice)}"
            raise ValueError(msg)
        unknown = sorted({*self.as_feature} - {*self.sensitive})
        if unknown:
            msg = f"as_feature names {', '.join(unknown)}, which is not under sensitive"
            raise ValueError(msg)
        return self

    @property
    def limits(self) -> dict[Measure, tuple[float | None, float | None]]:
        """Return what is limited, each with the number it may not be below and the one it may not be above."""
        found: dict[Measure, tuple[float | None, float | None]] = {}
        if self.worst_group is not None:
            found["worst_group"] = (self.worst_group.below, self.worst_group.above)
        if self.demographic_parity is not None:
            found["demographic_parity"] = (None, self.demographic_parity)
        if self.equalised_odds is not None:
            found["equalised_odds"] = (None, self.equalised_odds)
        return found

    def rules(self, comparison: Comparison) -> Iterator[Rule]:
        """Yield a rule of the promotion gate for each limit and column, with the challenger's number.

        It passes when the number is shown to be within the limit, and fails when it is shown to be beyond. Otherwise it is
        inconclusive, with or without a champion, unless the champion itself is shown to be beyond the limit.
        """
        champion = {(each.measure, each.column): each for each in comparison.champion_disparities}
        for each in comparison.disparities:
            yield _rule(each, champion.get((each.measure, each.column)))


def limits_in_words(policy: FairnessPolicy) -> dict[Measure, tuple[str, str]]:
    """Return for each limit what it is for, and what that may not be.

    >>> limits_in_words(FairnessPolicy(sensitive=("sex",), demographic_parity=0.1))
    {'demographic_parity': ('the demographic parity difference by sex', 'above 0.1')}
    """
    metric = policy.worst_group.metric if policy.worst_group else ""
    by = " or ".join(policy.sensitive)
    return {
        name: (
            f"the {_NAMES[name].format(metric=metric)} by {by}",
            f"above {above:g}" if below is None else f"below {below:g}",
        )
        for name, (below, above) in policy.limits.items()
    }


def told(disparity: Disparity) -> str:
    """Return a disparity in words, with its limit.

    >>> from continuous_training.core.scores import Estimate
    >>> found = Estimate(metric="difference", value=0.25, low=0.2, high=0.3)
    >>> told(Disparity(measure="demographic_parity", column="sex", estimate=found, above=0.1))
    'demographic parity difference by sex is 0.25 (between 0.2 and 0.3), above 0.1'
    """
    what, found = (
        f"{_NAMES[disparity.measure].format(metric=disparity.estimate.metric)} by {disparity.column}",
        disparity.estimate,
    )
    if found.value is None:
        return f"{what} could not be measured ({found.note})"
    number = f"{what} is {found.value:.3g}"
    if found.low is None or found.high is None:
        return f"{number}, without an interval ({found.note})"
    claim = disparity.limit
    if not disparity.exceeded:
        claim = f"not {claim}" if disparity.kept else f"not shown whether it is {claim}"
    groups = f": {disparity.text}" if disparity.text else ""
    return f"{number} (between {found.low:.3g} and {found.high:.3g}), {claim}{groups}"


def worst(disparities: Sequence[Disparity]) -> Disparity:
    """Return the one that is furthest beyond its limit, of those that could be measured if there are any."""
    return max(disparities, key=_excess)


_NAMES: dict[Measure, str] = {
    "worst_group": "worst {metric} of a group",
    "demographic_parity": "demographic parity difference",
    "equalised_odds": "equalised odds difference",
}


def _excess(disparity: Disparity) -> float:
    low, high = disparity.estimate.low, disparity.estimate.high
    if low is None or high is None:
        return -float("inf")
    return low - disparity.above if disparity.above is not None else (disparity.below or 0.0) - high


def _rule(challenger: Disparity, champion: Disparity | None) -> Rule:
    outcome = Outcome.FAIL if challenger.exceeded else Outcome.PASS if challenger.kept else Outcome.INCONCLUSIVE
    text = f"the challenger's {told(challenger)}"
    if challenger.kept is False and outcome is Outcome.INCONCLUSIVE and champion is not None and champion.exceeded:
        outcome = Outcome.PASS
        text += "; the champion's is shown to be"
    estimate = challenger.estimate
    return Rule(
        name=f"{challenger.measure} {challenger.column}",
        outcome=outcome,
        text=text,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        limit=challenger.above if challenger.below is None else challenger.below,
    )
