"""Decide on one window's evidence and write the decision down, whatever it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from continuous_training.core.decisions import Evidence, RetrainingDecision
from continuous_training.core.run import Request
from continuous_training.ledger import Ledger
from continuous_training.steps.context import Context, Output


def do(context: Context) -> Output:
    """Record the decision with its evidence; the facts carry the answer, and on yes the request for a retraining.

    The first decision on a window stands: asked again, also after a crash, the answer is read back from the ledger.
    """
    spec = context.spec
    ledger = Ledger(context.settings.ledger)
    evidence = Evidence.model_validate_json(context.read("score", "evidence"))
    history = ledger.retraining_history(spec.model)
    decision = spec.retraining.decide(evidence, history)
    began, ended = spec.retraining.began(evidence, history), spec.retraining.ended(evidence, history)
    ledger.record_decision(decision, evidence, now=datetime.now(UTC), opened=began, closed=ended)
    stands = ledger.decision(spec.model, decision.window).decision
    return Output(facts=_facts(stands))


def _facts(decision: RetrainingDecision) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "answer": decision.answer,
        "why": decision.why,
        "window": str(decision.window),
        "signals": {signal.name: signal.state for signal in decision.signals},
    }
    if decision.reason is not None:
        request = Request(
            kind="train",
            reason=decision.reason.kind,
            text=decision.reason.text,
            episode=decision.reason.episode,
            as_of=decision.as_of,
        )
        facts["request"] = request.model_dump(mode="json")
    return facts
