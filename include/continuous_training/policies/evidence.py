"""Read the evidence of one window as named signals: fired, quiet or inconclusive, each with its worst number in words."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from continuous_training.core.decisions import Evidence, Signal
from continuous_training.core.fairness import Disparity
from continuous_training.core.feedback import FeedbackScore
from continuous_training.core.scores import MATURED_SHARE, DriftScore, PerformanceScore
from continuous_training.policies.fairness import told, worst
from continuous_training.policies.guards import day

State = Literal["fired", "quiet", "inconclusive"]

_MOST_NOTES = 3
_TINY = 1e-300


def signals(evidence: Evidence, *, held: frozenset[str] = frozenset(), hysteresis: float = 0.0) -> tuple[Signal, ...]:
    """Return what each detector and each performance rule says of this window alone.

    The scores of one detector, of one rule in its slices, or of one fairness limit in its columns, are one signal: fired when a score lies beyond its
    threshold, quiet when none of those that could be measured does, inconclusive when none could be measured. (A column
    that can never be measured, say a constant one, would otherwise keep every window inconclusive and every episode
    open.)

    Parameters
    ----------
    held:
        Names of signals that had fired in the window before: they stay fired until their values come back further than
        the threshold.
    hysteresis:
        How much further, as a share of the threshold.
    """
    by_detector: dict[str, list[DriftScore]] = {}
    for score in evidence.drift:
        by_detector.setdefault(score.detector, []).append(score)
    by_rule: dict[str, list[PerformanceScore]] = {}
    for quality in (score for score in evidence.performance if score.limited):
        by_rule.setdefault(rule_name(quality), []).append(quality)
    found = [
        _drift_signal(name, [_nearer(score, hysteresis) for score in scores] if name in held and hysteresis else scores)
        for name, scores in by_detector.items()
    ]
    found += [
        _performance_signal(
            name, [_closer(score, hysteresis) for score in scores] if name in held and hysteresis else scores
        )
        for name, scores in by_rule.items()
    ]
    by_measure: dict[str, list[Disparity]] = {}
    for disparity in evidence.disparities:
        by_measure.setdefault(disparity.measure, []).append(disparity)
    found += [_fairness_signal(name, disparities) for name, disparities in by_measure.items()]
    by_feedback: dict[str, list[FeedbackScore]] = {}
    for told_of in evidence.feedback:
        by_feedback.setdefault(told_of.rule, []).append(told_of)
    found += [_feedback_signal(name, scores) for name, scores in by_feedback.items()]
    return tuple(found)


def labelled_until(evidence: Evidence) -> datetime:
    """Return the end of the newest window that a retraining could be made from.

    It is the window decided on, or where that is looked at before its labels are known, the one of the final line.
    """
    ripe = [score.window.end for score in evidence.performance if score.line == "final" and score.window]
    return max(ripe, default=evidence.window.end)


def furthest(scores: Sequence[PerformanceScore]) -> PerformanceScore:
    """Return the score that is furthest beyond its limit, or nearest to it, of the groups of one rule.

    >>> told = {"matured": 1.0, "below": 0.7}
    >>> groups = [("origin=JFK", 0.68), ("origin=LGA", 0.51), ("origin=EWR", None)]
    >>> furthest([PerformanceScore(slice=name, estimate={"metric": "roc_auc", "value": x}, **told) for name, x in groups]).slice
    'origin=LGA'
    """

    def beyond(score: PerformanceScore) -> float:
        value = score.estimate.value
        if value is None or score.exceeded is None:
            return -math.inf
        sides = ([] if score.below is None else [score.below - value]) + (
            [] if score.above is None else [value - score.above]
        )
        return max(sides, default=-math.inf)

    return max(scores, key=beyond)


def rule_name(score: PerformanceScore) -> str:
    """Return the name of the rule that asked for a score: its own, or the metric with its limit."""
    if score.rule:
        return score.rule
    line = "" if score.line == "final" else f"{score.line} "
    return f"{line}{score.estimate.metric} {_limits(score)}".rstrip()


def _limits(score: PerformanceScore) -> str:
    sides = (("below", score.below), ("above", score.above))
    return " or ".join(f"{side} {limit:g}" for side, limit in sides if limit is not None)


def _nearer(score: DriftScore, share: float) -> DriftScore:
    factor = 1 - share if score.measure == "statistic" else 1 / (1 - share)
    return score.model_copy(update={"threshold": score.threshold * factor})


def _closer(score: PerformanceScore, share: float) -> PerformanceScore:
    limits = {
        "below": None if score.below is None else score.below + share * abs(score.below),
        "above": None if score.above is None else score.above - share * abs(score.above),
    }
    return score.model_copy(update={**limits, "rule": rule_name(score)})


def _drift_signal(name: str, scores: Sequence[DriftScore]) -> Signal:
    measured = [score for score in scores if score.exceeded is not None]
    blank = [score for score in scores if score.exceeded is None]
    notes = "; ".join([*dict.fromkeys(score.note for score in blank if score.note)][:_MOST_NOTES]) or "no reason given"
    if not measured:
        return Signal(name=name, kind="drift", state="inconclusive", text=f"{name} could not be measured: {notes}")
    beyond = sum(bool(score.exceeded) for score in measured)
    text = _drift_text(max(measured, key=severity))
    if len(scores) > 1:
        text += f"; {beyond} of {len(scores)} {'slices' if any(score.slice for score in scores) else 'columns'} beyond"
    if blank:
        text += f", {len(blank)} not measured ({notes})"
    return Signal(name=name, kind="drift", state="fired" if beyond else "quiet", text=text)


def severity(score: DriftScore) -> tuple[bool, float]:
    """Return what orders drift scores: whether it is drift, and by how many times the value lies beyond its threshold.

    >>> told = {"detector": "psi", "measure": "statistic", "threshold": 0.25, "reference_rows": 9, "current_rows": 9}
    >>> severity(DriftScore(statistic=0.5, **told)), severity(DriftScore(**told))
    ((True, 2.0), (False, 0.0))
    """
    if score.value is None:
        return False, 0.0
    value = abs(score.value)
    low, high = (value, abs(score.threshold)) if score.measure == "p_value" else (abs(score.threshold), value)
    return bool(score.exceeded), high / max(low, _TINY)


def _drift_text(score: DriftScore) -> str:
    number, side = (score.detector, "above") if score.measure == "statistic" else (f"{score.detector} p-value", "below")
    value = score.value or 0.0
    beyond = value > score.threshold if score.measure == "statistic" else value < score.threshold
    what = f"{score.column or 'all columns together'}{f' where {score.slice}' if score.slice else ''}"
    text = f"{what}: {number} {value:.3g} {side if beyond else f'not {side}'} {score.threshold:.3g}"
    if score.seasonal:
        return f"{text}, but as in the same season before ({score.season or 0.0:.3g})"
    if beyond and score.exceeded and score.note:
        return f"{text} ({score.note})"
    if beyond and not score.exceeded:
        return f"{text}, but the effect of {score.effect or 0.0:.3g} is under {score.minimum_effect:.3g}"
    return text


def _performance_signal(name: str, scores: Sequence[PerformanceScore]) -> Signal:
    measured = [score for score in scores if score.exceeded is not None]
    fired = [score for score in measured if score.exceeded]
    state: State = "inconclusive" if not measured else "fired" if fired else "quiet"
    text = _performance_text(furthest(scores))
    if len(scores) > 1:
        text += f"; {len(fired)} of {len(scores)} slices beyond"
    return Signal(name=name, kind="performance", state=state, text=text)


def _fairness_signal(name: str, disparities: Sequence[Disparity]) -> Signal:
    """Return the signal of one limit: fired when the number of a column is shown to be beyond it."""
    measured = [each for each in disparities if each.exceeded is not None]
    beyond = sum(bool(each.exceeded) for each in measured)
    state: State = "inconclusive" if not measured else "fired" if beyond else "quiet"
    furthest = worst(disparities)
    text = told(furthest)
    if furthest.window:
        text += f"; in the window that ended {day(furthest.window.end)}"
    if len(disparities) > 1:
        text += f"; {beyond} of {len(disparities)} columns beyond"
    return Signal(name=name, kind="fairness", state=state, text=text)


def _feedback_signal(name: str, scores: Sequence[FeedbackScore]) -> Signal:
    measured = [score for score in scores if score.exceeded is not None]
    beyond = sum(bool(score.exceeded) for score in measured)
    state: State = "inconclusive" if not measured else "fired" if beyond else "quiet"
    score = max(scores, key=lambda each: -1.0 if each.estimate.low is None else each.estimate.low)
    estimate = score.estimate
    what = f"{estimate.metric}{f' where {score.slice}' if score.slice else ''}"
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return Signal(name=name, kind="feedback", state=state, text=f"{what} could not be counted: {estimate.note}")
    text = (
        f"{what} on {estimate.value:.2%} of {estimate.rows:,} predictions (interval {estimate.low:.2%} to {estimate.high:.2%}), "
        f"{'' if score.exceeded else 'not shown to be '}above {score.above:.2%}"
    )
    if len(scores) > 1:
        text += f"; {beyond} of {len(scores)} slices beyond"
    return Signal(name=name, kind="feedback", state=state, text=text)


def _performance_text(score: PerformanceScore) -> str:
    estimate = score.estimate
    what = f"{'' if score.line == 'final' else f'{score.line} '}{estimate.metric}"
    what += f" where {score.slice}" if score.slice else ""
    what += f" of the window that ended {day(score.window.end)}" if score.window else ""
    if estimate.value is None:
        return f"{what} could not be measured: {estimate.note or 'no reason given'}"
    if score.exceeded is None:
        return f"{score.matured:.0%} of the labels are known, at least {MATURED_SHARE:.0%} are needed"
    text = f"{what} {estimate.value:.3g} {'' if score.exceeded else 'not '}{_limits(score)}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} (interval {estimate.low:.3g} to {estimate.high:.3g})"
