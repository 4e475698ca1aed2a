"""Decide on one window's evidence and write the decision down, whatever it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from continuous_training.core.causes import in_words
from continuous_training.core.decisions import Evidence, RetrainingDecision
from continuous_training.core.run import Request
from continuous_training.ledger import Ledger
from continuous_training.spec import ModelSpec
from continuous_training.steps.context import Context, Output


def do(context: Context) -> Output:
    """Record the decision with its evidence; the facts carry the answer, and on yes the request for a retraining.

    The first decision on a window stands: asked again, also after a crash, the answer is read back from the ledger. A yes
    to an earlier window whose run nobody has begun, because what should have asked for it died, is asked for again.
    """
    spec = context.spec
    ledger = Ledger(context.settings.ledger)
    evidence = Evidence.model_validate_json(context.read("score", "evidence"))
    decision = decide(spec, ledger, evidence, now=datetime.now(UTC))
    lost = ledger.unanswered(spec.model, begun_counts=True) if decision.reason is None else None
    facts = _facts(decision, lost)
    if evidence.causes or evidence.no_causes:
        facts["causes"] = evidence.no_causes or in_words(evidence.causes)
    return Output(facts=facts)


def decide(spec: ModelSpec, ledger: Ledger, evidence: Evidence, *, now: datetime) -> RetrainingDecision:
    """Judge the evidence by the model's policy and history, write the decision down, and return the one that stands."""
    history = ledger.retraining_history(spec.model)
    decision = spec.retraining.decide(evidence, history)
    began, ended = spec.retraining.began(evidence, history), spec.retraining.ended(evidence, history)
    ledger.record_decision(decision, evidence, now=now, opened=began, closed=ended)
    return ledger.decision(spec.model, decision.window).decision


def _facts(decision: RetrainingDecision, lost: RetrainingDecision | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "answer": decision.answer,
        "why": decision.why,
        "window": str(decision.window),
        "signals": {signal.name: signal.state for signal in decision.signals},
    }
    if lost is not None:
        facts["asked_again"] = f"the yes to {lost.window} has had no run yet, so it is asked for again: {lost.why}"
    request = request_for(lost or decision)
    if request is not None:
        facts["request"] = request.model_dump(mode="json")
    return facts


def request_for(decision: RetrainingDecision) -> Request | None:
    """Return what a yes asks the plan step for; the same decision always asks for the same run."""
    reason = decision.reason
    if reason is None:
        return None
    return Request(kind="train", reason=reason.kind, text=reason.text, episode=reason.episode, as_of=decision.as_of)
