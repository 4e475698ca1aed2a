"""Whether a challenger replaces the champion: the comparison of the two in, a verdict out."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from continuous_training.core.comparison import Comparison, SliceComparison
from continuous_training.core.decisions import GateVerdict, Outcome, Rule
from continuous_training.core.frozen import Frozen
from continuous_training.core.quality import MetricReference
from continuous_training.core.scores import Estimate
from continuous_training.policies.approval import Approval


class PromotionPolicy(Frozen):
    """When a challenger is good enough. What cannot be shown keeps the champion."""

    metric: MetricReference = Field(
        description="Quality that is compared on the hold-out rows: a built-in metric or one of `metrics`."
    )
    at_least: Literal["champion"] = Field(
        "champion", description="What the challenger must beat: the champion, on the same hold-out rows, by the margin."
    )
    margin: float = Field(
        0.0,
        description="The whole interval of the difference, in units of the metric and above 0 when the challenger is better, "
        "must lie above this. Below 0 a challenger passes that is shown to be at most this much worse.",
    )
    floor: float | None = Field(
        None,
        description="Worst value allowed, with or without a champion: the challenger's whole interval must be at least as "
        "good. For metrics where less is better (such as log_loss, rmse or a cost) it is the highest value allowed.",
    )
    slices: tuple[str, ...] = Field(
        (),
        description="Categorical features or sensitive columns; the challenger may not be worse on any of their values.",
    )
    slice_drop: float = Field(
        0.02, ge=0, description="A slice fails when the challenger is shown to be worse there by more than this."
    )
    slice_rows: int = Field(300, ge=1, description="Slices with fewer hold-out rows are reported and not judged.")
    negative_flips: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Highest share of hold-out rows that the champion has right and the challenger wrong.",
    )
    rows: int = Field(500, ge=1, description="With fewer labelled hold-out rows the verdict is inconclusive.")
    confidence: float = Field(0.95, ge=0.5, le=0.999, description="How sure the intervals are.")
    resamples: int = Field(400, ge=100, le=10_000, description="Bootstrap resamples behind each interval.")
    approval: Literal["never", "always"] | Approval = Field(
        "never",
        description="Whether a person must approve before a challenger that passed is promoted: never, always, or "
        "`{when: ..., approvers: [...], timeout: ...}`.",
    )

    @property
    def asks(self) -> Approval | None:
        """Return what is asked of a person; `None` where nobody ever is."""
        if isinstance(self.approval, Approval):
            return self.approval
        return Approval() if self.approval == "always" else None

    def judge(self, comparison: Comparison, others: Iterable[Rule] = ()) -> GateVerdict:
        """Return every rule with its number, and their sum: fail when one fails, pass only when all pass.

        Parameters
        ----------
        comparison:
            Both models on the same hold-out rows, measured with this policy's metric and confidence.
        others:
            Rules that another policy has judged by.
        """
        rules = (
            self._rows(comparison),
            self._champion(comparison),
            *([] if self.floor is None else [self._floor(comparison, self.floor)]),
            *(self._slice(part) for part in comparison.slices),
            *([] if comparison.refitted is None else [self._refit(comparison, comparison.refitted)]),
            *([] if self.negative_flips is None else [self._negative_flips(comparison, self.negative_flips)]),
            *others,
        )
        outcomes = [rule.outcome for rule in rules]
        # Of a challenger that passes every rule the comparison with the champion says the most.
        worst = next((each for each in (Outcome.FAIL, Outcome.INCONCLUSIVE) if each in outcomes), Outcome.PASS)
        decisive = rules[1] if worst is Outcome.PASS else rules[outcomes.index(worst)]
        return GateVerdict(outcome=worst, text=f"{_OPENING[worst]}: {decisive.text}.", rules=rules)

    def _rows(self, comparison: Comparison) -> Rule:
        enough = comparison.rows >= self.rows
        return Rule(
            name="rows",
            outcome=Outcome.PASS if enough else Outcome.INCONCLUSIVE,
            text=f"{comparison.rows:,} hold-out rows with a known label, at least {self.rows:,} are needed",
            value=comparison.rows,
            limit=self.rows,
        )

    def _champion(self, comparison: Comparison) -> Rule:
        challenger, champion, difference = comparison.challenger, comparison.champion, comparison.difference
        if challenger.value is None:
            return _unknown("champion", f"the challenger's {self.metric} could not be measured ({challenger.note})")
        if champion is None or difference is None:
            text = f"no champion yet; the challenger's {self.metric} is {challenger.value:.4g}"
            return Rule(name="champion", outcome=Outcome.PASS, text=text, value=challenger.value)
        if difference.value is None or difference.low is None or difference.high is None:
            return _unknown("champion", f"the difference in {self.metric} could not be measured ({difference.note})")
        outcome = Outcome.INCONCLUSIVE
        if difference.low > self.margin:
            outcome = Outcome.PASS
        elif difference.high <= self.margin:
            outcome = Outcome.FAIL
        text = (
            f"the challenger's {self.metric} is {challenger.value:.4g}, the champion's {champion.value:.4g}: "
            f"{_by(difference.value)} ({self._between(difference.low, difference.high)}), so it is {_CLAIM[outcome]} {self._bar()}"
        )
        if comparison.against == "judged":
            text += (
                "; the champion is measured as it was before it learned from its own hold-out, which overlaps this one"
            )
        return _rule("champion", outcome, text, difference, limit=self.margin)

    def _bar(self) -> str:
        if self.margin == 0:
            return "better"
        return f"better by more than {self.margin:.4g}" if self.margin > 0 else f"at most {-self.margin:.4g} worse"

    def _floor(self, comparison: Comparison, floor: float) -> Rule:
        challenger = comparison.challenger
        if challenger.value is None or challenger.low is None or challenger.high is None:
            return _unknown("floor", f"the challenger's {self.metric} could not be measured ({challenger.note})")
        greater = comparison.greater_is_better
        worst, best = (challenger.low, challenger.high) if greater else (-challenger.high, -challenger.low)
        limit = floor if greater else -floor
        outcome = Outcome.PASS if worst >= limit else Outcome.FAIL if best < limit else Outcome.INCONCLUSIVE
        text = (
            f"the challenger's {self.metric} is {challenger.value:.4g} ({self._between(challenger.low, challenger.high)}), so it is "
            f"{_CLAIM[outcome]} at {'least' if greater else 'most'} {floor:.4g}"
        )
        return _rule("floor", outcome, text, challenger, limit=floor)

    def _slice(self, part: SliceComparison) -> Rule:
        difference = part.difference
        where = f"where {part.column} is {part.value} ({part.rows:,} rows)"
        outcome = Outcome.PASS
        if part.rows < self.slice_rows:
            text = f"{where}, the challenger is not judged, which needs {self.slice_rows:,} rows"
        elif difference.value is None or difference.low is None or difference.high is None:
            text = f"{where}, nothing can be shown ({difference.note})"
        else:
            worse = difference.high < -self.slice_drop
            outcome = Outcome.FAIL if worse else Outcome.PASS
            text = (
                f"{where}, the challenger's {self.metric} is {_by(difference.value)} "
                f"({self._between(difference.low, difference.high)}), so it is "
                f"{'shown' if worse else 'not shown'} to be more than {self.slice_drop:.4g} worse"
            )
        return _rule(f"slice {part.column}={part.value}", outcome, text, difference, limit=-self.slice_drop)

    def _refit(self, comparison: Comparison, refitted: Estimate) -> Rule:
        """Fail a refit that went wrong: on rows it has learned from it must not do worse than a model that has not."""
        challenger = comparison.challenger
        if refitted.value is None or challenger.value is None:
            note = refitted.note or challenger.note
            return _unknown("refit", f"the refitted challenger's {self.metric} could not be compared ({note})")
        greater = comparison.greater_is_better
        bound = challenger.low if greater else challenger.high
        limit = challenger.value if bound is None else bound
        worse = refitted.value < limit if greater else refitted.value > limit
        text = (
            f"fitted again on all rows, the challenger's {self.metric} on the hold-out is {refitted.value:.4g}, "
            f"{'worse' if worse else 'not worse'} than {limit:.4g}, the {'value' if bound is None else 'worse end of the interval'} it was judged by"
        )
        outcome = Outcome.FAIL if worse else Outcome.PASS
        return _rule("refit", outcome, text, refitted, limit=limit)

    def _negative_flips(self, comparison: Comparison, limit: float) -> Rule:
        rate = comparison.negative_flip_rate
        if comparison.champion is None:
            return Rule(name="negative_flips", outcome=Outcome.PASS, text="no champion yet", limit=limit)
        if rate is None:
            return _unknown("negative_flips", "how often the challenger is newly wrong could not be measured")
        text = f"the challenger is wrong where the champion is right in {rate:.2%} of the rows, at most {limit:.2%} are allowed"
        outcome = Outcome.PASS if rate <= limit else Outcome.FAIL
        return Rule(name="negative_flips", outcome=outcome, text=text, value=rate, limit=limit)

    def _between(self, low: float, high: float) -> str:
        return f"between {low:.4g} and {high:.4g} at {100 * self.confidence:.3g} % confidence"


_OPENING = {
    Outcome.PASS: "Promote the challenger",
    Outcome.FAIL: "Do not promote the challenger",
    Outcome.INCONCLUSIVE: "Undecided, so do not promote the challenger",
}
_CLAIM = {
    Outcome.PASS: "shown to be",
    Outcome.FAIL: "shown not to be",
    Outcome.INCONCLUSIVE: "not shown whether it is",
}


def _by(difference: float) -> str:
    return f"{abs(difference):.4g} {'better' if difference >= 0 else 'worse'}"


def _rule(name: str, outcome: Outcome, text: str, seen: Estimate, *, limit: float) -> Rule:
    return Rule(name=name, outcome=outcome, text=text, value=seen.value, low=seen.low, high=seen.high, limit=limit)


def _unknown(name: str, text: str) -> Rule:
    return Rule(name=name, outcome=Outcome.INCONCLUSIVE, text=text)
