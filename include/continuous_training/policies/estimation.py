"""Whether estimates made without labels may be believed: estimates and what labels later showed in, on or off out."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from continuous_training.core.decisions import Evidence, Signal
from continuous_training.core.frozen import Frozen
from continuous_training.core.history import RetrainingHistory
from continuous_training.core.scores import MATURED_SHARE, Estimate, PerformanceScore
from continuous_training.core.window import Window
from continuous_training.policies.evidence import signals


class Checked(Frozen):
    """One matured window: what was estimated of it, and what its labels showed."""

    estimate: Estimate = Field(description="Value with its band, made before the labels were known.")
    final: Estimate = Field(description="Value once the labels were known.")

    @property
    def inside(self) -> bool | None:
        """Tell whether the final value lay in the band; `None` where there is no band or no final value."""
        value, low, high = self.final.value, self.estimate.low, self.estimate.high
        return None if value is None or low is None or high is None else low <= value <= high


class Trust(Frozen):
    """Whether an estimator is switched on after some matured windows, and why."""

    metric: str
    state: Literal["on", "off", "unchecked"] = Field(
        description="on: its bands held; off: they did not; unchecked: no window has matured yet."
    )
    checked: int = Field(ge=0, description="Windows it could be checked on.")
    outside: int = Field(ge=0, description="Of these, windows whose final value lay outside the band.")
    text: str

    @property
    def signal(self) -> Signal:
        """Return being switched off as a signal of its own, for the labels no longer follow what was learned."""
        states: dict[str, Literal["fired", "quiet", "inconclusive"]] = {"off": "fired", "on": "quiet"}
        return Signal(
            name=estimate_signal(self.metric),
            kind="performance",
            state=states.get(self.state, "inconclusive"),
            text=self.text,
        )

    def allowed(self, score: PerformanceScore) -> PerformanceScore:
        """Return the score as it may be used: while switched off, an estimate has no value, so it is inconclusive.

        It keeps its band, by which it goes on being checked.
        """
        if self.state != "off" or score.line != "estimated":
            return score
        withheld = score.estimate.model_copy(update={"value": None, "note": f"switched off: {self.text}"})
        return score.model_copy(update={"estimate": withheld})


class SelfCheck(Frozen):
    """When an estimator is switched off and on again.

    Off when the final value lay outside the band in `outside` of the last `of` matured windows, or in more of the last
    `windows` than bands of this confidence miss by chance (a binomial test at `significance`; windows before the
    estimator was last switched on do not count). On again once the band held in `back` windows in a row. Give it the
    windows of one champion only: another champion has an estimator of its own.

    Examples
    --------
    >>> def window(final):
    ...     band = Estimate(metric="roc_auc", value=0.8, low=0.75, high=0.85)
    ...     return Checked(estimate=band, final=Estimate(metric="roc_auc", value=final))
    >>> SelfCheck().trusted([window(0.81), window(0.7), window(0.69)]).state
    'off'
    >>> SelfCheck().trusted([window(0.81), window(0.7), window(0.78)]).state
    'on'
    """

    confidence: float = Field(
        0.95, ge=0.5, le=0.999, description="Share of bands that should hold the final value: that of the estimator."
    )
    outside: int = Field(
        2, ge=1, le=50, description="Windows outside their band, among the last `of`, that switch off."
    )
    of: int = Field(3, ge=1, le=50, description="Newest matured windows that `outside` is counted in.")
    windows: int = Field(20, ge=1, le=1000, description="Newest matured windows that the binomial test looks at.")
    significance: float = Field(
        0.01, gt=0, lt=0.5, description="Chance of so many windows outside below which the test switches off."
    )
    back: int = Field(3, ge=1, le=50, description="Windows in a row inside their band that switch on again.")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.outside > self.of:
            msg = f"{self.outside} of the last {self.of} windows can never be outside; outside may be at most {self.of}"
            raise ValueError(msg)
        return self

    def trusted(self, history: Sequence[Checked], metric: str = "") -> Trust:
        """Return whether the estimator is on after these windows.

        Parameters
        ----------
        history
            Matured windows of one metric and one champion, oldest first; those without a band or a final value are
            passed over.
        metric
            Name for the signal where there is no window yet.
        """
        inside = [each.inside for each in history if each.inside is not None]
        metric = history[-1].estimate.metric if history else metric
        outside = inside.count(False)
        if not inside:
            text = f"no estimate of {metric} has been checked: no window with a band has matured"
            return Trust(metric=metric, state="unchecked", checked=0, outside=0, text=text)
        since, why = 0, ""
        for end in range(1, len(inside) + 1):
            if not why:
                why = self._missed(metric, inside[since:end])
            elif all(inside[max(0, end - self.back) : end]):
                since, why = end, ""
        held = f"the final {metric} lay in the band of its estimate in {len(inside) - outside} of {len(inside)} windows"
        text = f"{why}; {self.back} inside in a row switch it on again" if why else held
        return Trust(metric=metric, state="off" if why else "on", checked=len(inside), outside=outside, text=text)

    def _missed(self, metric: str, inside: Sequence[bool]) -> str:
        """Return why these windows, the newest last, switch the estimator off; empty where they do not."""
        newest, looked = inside[-self.of :], inside[-self.windows :]
        said = f"the final {metric} lay outside the band of its estimate in"
        if newest.count(False) >= self.outside:
            return f"{said} {newest.count(False)} of {len(newest)} successive windows, and {self.outside} switch it off"
        outside = looked.count(False)
        chance = _at_least(outside, len(looked), 1 - self.confidence)
        if chance < self.significance:
            return (
                f"{said} {outside} of {len(looked)} successive windows, which has a chance of {chance:.2g} if its bands are "
                "right"
            )
        return ""


def checks(scores: Iterable[PerformanceScore]) -> dict[tuple[str, str], list[Checked]]:
    """Return by metric and slice, oldest window first, each estimate whose window has matured since.

    Windows of which under 95 % of the labels are known are left out. Of several scores of one line and window, the last
    one given counts for the final line, and the first one for the estimated: it was made before the labels were known.
    """
    estimated: dict[tuple[str, str, Window], Estimate] = {}
    final: dict[tuple[str, str, Window], Estimate] = {}
    for score in scores:
        if score.window is None:
            continue
        key = (score.estimate.metric, score.slice, score.window)
        if score.line == "estimated":
            estimated.setdefault(key, score.estimate)
        elif score.line == "final" and score.matured >= MATURED_SHARE:
            final[key] = score.estimate
    found: dict[tuple[str, str], list[Checked]] = {}
    for metric, part, window in sorted(estimated.keys() & final.keys(), key=lambda key: key[2].end):
        key = (metric, part, window)
        found.setdefault((metric, part), []).append(Checked(estimate=estimated[key], final=final[key]))
    return found


def estimate_signal(metric: str) -> str:
    """Return the name of the signal that says whether the estimates of a metric are switched off."""
    return f"{metric} estimate"


def believed_signals(
    evidence: Evidence, history: RetrainingHistory, *, held: frozenset[str] = frozenset(), hysteresis: float = 0.0
) -> tuple[Signal, ...]:
    """Return `policies.evidence.signals` without the estimates that are switched off, then one more for each estimated metric.

    That one has fired while the estimator is off. An estimate of a slice needs both to hold: what was estimated of all
    rows, and of the slice.
    """
    metrics = dict.fromkeys(score.estimate.metric for score in evidence.performance if score.line == "estimated")
    known = checks([*history.performance, *placed(evidence)])
    trusted = {key: SelfCheck().trusted(windows, key[0]) for key, windows in known.items()}
    whole = {metric: trusted.get((metric, "")) or SelfCheck().trusted((), metric) for metric in metrics}

    def allowed(score: PerformanceScore) -> PerformanceScore:
        metric = score.estimate.metric
        part = trusted.get((metric, score.slice))
        score = part.allowed(score) if part else score
        return whole[metric].allowed(score) if metric in whole else score

    believed = evidence.model_copy(update={"performance": tuple(map(allowed, evidence.performance))})
    found = signals(believed, held=held, hysteresis=hysteresis)
    return (*found, *(each.signal for each in whole.values()))


def placed(evidence: Evidence) -> list[PerformanceScore]:
    """Return the scores of one look, each with the window it was measured on."""
    return [score.model_copy(update={"window": score.window or evidence.window}) for score in evidence.performance]


def _at_least(count: int, trials: int, chance: float) -> float:
    """Return how probable `count` or more of so many independent events are."""
    return math.fsum(
        math.comb(trials, each) * chance**each * (1 - chance) ** (trials - each) for each in range(count, trials + 1)
    )
