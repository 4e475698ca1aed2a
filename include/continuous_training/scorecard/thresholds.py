"""Thresholds that would have told windows after which a retraining pays from the others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from continuous_training.core.decisions import Evidence
from continuous_training.core.frozen import Frozen
from continuous_training.policies.evidence import rule_name

if TYPE_CHECKING:
    from continuous_training.core.scores import DriftScore
    from continuous_training.detectors.base import Detector
    from continuous_training.spec import ModelSpec, PerformanceRule

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
    note: str = Field("", description="Why there is no suggestion.")


def suggest(spec: ModelSpec, examples: Sequence[Example]) -> list[Suggestion]:
    """Return for each detector and performance rule with one threshold the one with the best Youden's J.

    A performance rule is judged by single windows, also where it asks for several in a row. Candidates lie in the middle between two neighbouring values that were measured. Of those equally good the one
    nearest the present threshold is taken, and it must be better than the present one.

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
        values = [(_worst_drift(name, present, evidence), worth) for evidence, worth in examples]
        found.append(_best(name, present, values, below=field == "p_value", most=1 if field == "p_value" else math.inf))
    for rule in spec.performance:
        limit = rule.above if rule.below is None else rule.below
        assert limit is not None
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
    told = {"signal": signal, "present": present, "present_skill": skill(present), "skill": skill(limit)}
    if limit == present:
        return Suggestion(**told, note="no other threshold tells the windows apart better")
    return Suggestion(**told, suggested=limit)


def policy_file(spec: ModelSpec, suggestions: Sequence[Suggestion]) -> dict[str, Any]:
    """Return the parts `drift` and `performance` of a policy file, with the suggested thresholds in place."""
    new = {one.signal: one.suggested for one in suggestions if one.suggested is not None}

    def part(signal: str, field: str | None, whole: Frozen) -> dict[str, Any]:
        changed = {field: new[signal]} if field and signal in new else {}
        return whole.model_dump(mode="json", exclude_defaults=True) | changed

    return {
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


def _worst_drift(name: str, present: float, evidence: Evidence) -> float | None:
    """Return the worst value of a detector in units of its setting, of which each score's threshold is a share."""
    scores = [score for score in evidence.drift if score.detector == name]
    found = [
        score.value / score.threshold * present
        for score in scores
        if score.value is not None and score.threshold > 0 and _large_enough(score)
    ]
    if not found:
        return None
    return min(found) if scores[0].measure == "p_value" else max(found)


def _large_enough(score: DriftScore) -> bool:
    return not score.minimum_effect or abs(score.effect or 0.0) >= score.minimum_effect


def _worst_quality(rule: PerformanceRule, evidence: Evidence) -> float | None:
    scores = [score for score in evidence.performance if rule_name(score) == rule.signal]
    known = [one.estimate.value for one in scores if one.exceeded is not None and one.estimate.value is not None]
    if not known:
        return None
    return max(known) if rule.below is None else min(known)
