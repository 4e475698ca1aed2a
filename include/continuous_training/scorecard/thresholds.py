"""Thresholds that would have told windows after which a retraining pays from the others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from continuous_training.core.decisions import Evidence
from continuous_training.core.frozen import Frozen
from continuous_training.policies import SignalPolicy
from continuous_training.policies.evidence import rule_name

if TYPE_CHECKING:
    from continuous_training.core.scores import DriftScore
    from continuous_training.detectors.base import Detector
    from continuous_training.policies.performance import PerformanceRule
    from continuous_training.spec import ModelSpec

_MAY_BE_CHANCE = 0.1
FEWEST = 5
"""Windows of either kind that must be known before a threshold is suggested."""

Example = tuple[Evidence, bool]
"""What was measured on a window, and whether a retraining after it would have been worth it."""


class Suggestion(Frozen):
    """What is said of the threshold of one signal."""

    signal: str
    present: float | None = Field(None, description="Threshold in the model file.")
    suggested: float | None = Field(
        None, description="A threshold that tells the windows apart better; none when there is none."
    )
    skill: float | None = Field(
        None,
        description="Youden's J of the suggested or else the present one: share of good windows found minus share of others.",
    )
    present_skill: float | None = None
    chance: float | None = Field(
        None, description="How often the best threshold of a signal that knows nothing would do as well: a p-value."
    )
    advise: bool = Field(default=False, description="Whether it had better only be written down: it may know nothing.")
    note: str = Field("", description="Why no threshold is suggested.")


def suggest(spec: ModelSpec, examples: Sequence[Example]) -> list[Suggestion]:
    """Return for each detector and performance rule the threshold with the best Youden's J, or why there is none.

    Candidates lie in the middle between two neighbouring values that were measured; a rule is judged by single windows,
    also where it asks for several in a row. Of those equally good the one nearest the present threshold is taken. The best
    J is the distance of a one-sided Kolmogorov-Smirnov test; a signal whose distance may be chance had better be advice.

    Source: Youden (1950), Index for rating diagnostic tests.
    """
    called = [detector.known_as for detector in spec.drift]
    found = []
    for detector in spec.drift:
        name, field = detector.known_as, _field(detector)
        if field is None or called.count(name) > 1:
            note = "its limit is not one number" if field is None else "two detectors have this name; give each its own"
            found.append(Suggestion(signal=name, note=note))
            continue
        present = float(getattr(detector, field))
        values = [(_worst_drift(name, field, present, evidence), worth) for evidence, worth in examples]
        found.append(_best(name, present, values, below=field == "p_value", most=1 if field == "p_value" else math.inf))
    for rule in spec.performance:
        limit = rule.above if rule.below is None else rule.below
        assert limit is not None
        if not rule.name and isinstance(spec.retraining, SignalPolicy) and rule.signal in spec.retraining.names:
            note = "the policy calls it by its limit; give it a name first"
            found.append(Suggestion(signal=rule.signal, present=limit, note=note))
            continue
        values = [(_worst_quality(rule, evidence), worth) for evidence, worth in examples]
        found.append(_best(rule.signal, limit, values, below=rule.below is not None))
    return found


def _best(
    signal: str, present: float, values: Sequence[tuple[float | None, bool]], *, below: bool, most: float = 0.0
) -> Suggestion:
    known = [(value, worth) for value, worth in values if value is not None]
    good = sum(worth for _, worth in known)
    if min(good, len(known) - good) < FEWEST:
        note = f"too little history: it was measured in {good} windows after which a retraining pays and in {len(known) - good} others, and {FEWEST} of each are needed"
        return Suggestion(signal=signal, present=present, note=note)

    def skill(limit: float) -> float:
        fired = [(value < limit if below else value > limit, worth) for value, worth in known]
        hits = sum(fires and worth for fires, worth in fired) / good
        return hits - sum(fires and not worth for fires, worth in fired) / (len(known) - good)

    ordered = sorted({value for value, _ in known})
    middles = [float(f"{(low + high) / 2:.3g}") for low, high in itertools.pairwise(ordered)]
    allowed = [middle for middle in middles if 0 < middle < most] if most else middles
    limit = max([present, *allowed], key=lambda one: (round(skill(one), 9), -abs(one - present)))
    chance = _chance(
        [value for value, worth in known if worth], [value for value, worth in known if not worth], below=below
    )
    told = {
        "signal": signal,
        "present": present,
        "present_skill": skill(present),
        "skill": skill(limit),
        "chance": chance,
    }
    if chance > _MAY_BE_CHANCE:
        return Suggestion(**told, advise=True, note="no threshold tells the windows apart; that may be chance")
    if limit == present:
        return Suggestion(**told, note="no other threshold tells the windows apart better")
    return Suggestion(**told, suggested=limit)


def _chance(good: Sequence[float], others: Sequence[float], *, below: bool) -> float:
    from scipy.stats import ks_2samp

    return float(ks_2samp(good, others, alternative="greater" if below else "less").pvalue)


def policy_file(spec: ModelSpec, suggestions: Sequence[Suggestion]) -> dict[str, Any]:
    """Return the parts of a policy file: detectors and rules with the suggested thresholds, and what had better be advice.

    Signals are put under `advise` where any one that counts is enough and one is left that does. Empty when nothing would change.
    """
    new = {one.signal: one.suggested for one in suggestions if one.suggested is not None}

    def part(signal: str, field: str | None, whole: Frozen) -> dict[str, Any]:
        changed = {field: new[signal]} if field and signal in new else {}
        return whole.model_dump(mode="json", exclude_defaults=True) | changed

    policy = spec.retraining
    advice = [one.signal for one in suggestions if one.advise]
    parts: dict[str, Any] = {}
    if isinstance(policy, SignalPolicy) and policy.when == "any" and 0 < len(advice) < len(suggestions):
        told = {"kind": policy.kind, "advise": sorted({*policy.advise, *advice})}
        parts["retraining"] = policy.model_dump(mode="json", exclude_defaults=True) | told
    if not new and not parts:
        return {}
    return parts | {
        "drift": [{"kind": one.kind} | part(one.known_as, _field(one), one) for one in spec.drift],
        "performance": [
            part(rule.signal, "above" if rule.below is None else "below", rule) for rule in spec.performance
        ],
    }


def _field(detector: Detector) -> str | None:
    """Return the setting that scores are compared with, where they scale with it."""
    if getattr(detector, "correction", "bonferroni") != "bonferroni":
        return None
    fields = type(detector).model_fields
    return next((name for name in ("p_value", "threshold") if name in fields), None)


def _worst_drift(name: str, field: str, present: float, evidence: Evidence) -> float | None:
    """Return the worst value of a detector in units of its setting, of which each score's threshold is a share."""
    measure = "p_value" if field == "p_value" else "statistic"
    scores = [score for score in evidence.drift if score.detector == name and score.measure == measure]
    found = [
        score.value / score.threshold * present
        for score in scores
        if score.value is not None and score.threshold > 0 and not score.seasonal and _large_enough(score)
    ]
    if not found:
        return None
    return min(found) if measure == "p_value" else max(found)


def _large_enough(score: DriftScore) -> bool:
    return not score.minimum_effect or abs(score.effect or 0.0) >= score.minimum_effect


def _worst_quality(rule: PerformanceRule, evidence: Evidence) -> float | None:
    scores = [score for score in evidence.performance if rule_name(score) == rule.signal]
    known = [one.estimate.value for one in scores if one.exceeded is not None and one.estimate.value is not None]
    if not known:
        return None
    return max(known) if rule.below is None else min(known)
