"""Make the challenger champion when the gate says so: first in the ledger, then in the registry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from continuous_training.core.decisions import GateVerdict
from continuous_training.core.errors import Conflict, UsageError
from continuous_training.ledger import Ledger
from continuous_training.steps.approval import judged
from continuous_training.steps.context import Context, Output
from continuous_training.steps.projection import project_registry

if TYPE_CHECKING:
    from continuous_training.core.run import Run
    from continuous_training.ledger import RunOutcome


def do(context: Context) -> Output:
    """Compare-and-set the champion, then show the version and the aliases in MLflow.

    The facts say `promoted`, `kept` or `dry_run`. Done twice, or after a crash anywhere, it ends the same.
    """
    facts = settle(context)
    facts |= project_registry(context, run_key=context.run.key, outcome=str(facts["outcome"]))
    return Output(facts=facts)


def settle(context: Context) -> dict[str, object]:
    """Write in the ledger what became of the challenger, and return it; nothing outside the ledger changes."""
    run = context.run
    ledger = Ledger(context.settings.ledger)
    verdict = GateVerdict.model_validate_json(context.read("evaluate", "verdict"))
    outcome, text, answer = judged(context, verdict)
    if outcome == "promoted" and context.spec.rollout is not None and run.champion is not None:
        outcome, text = _after_rollout(ledger, run, text)
    now = datetime.now(UTC)
    if outcome == "promoted":
        reason = run.reason.text if run.reason else ""
        told = verdict.model_copy(update={"text": text})
        _promote(context, ledger, told, f"{reason} ({answer.text})" if answer else reason, now)
    else:
        ledger.finish_run(run.key, outcome, text, now=now)
    return {"outcome": outcome, "text": text, "verdict": verdict.outcome.value}


def _promote(context: Context, ledger: Ledger, verdict: GateVerdict, reason: str, now: datetime) -> None:
    run = context.run
    try:
        ledger.promote(
            run.model,
            run_key=run.key,
            bundle=context.manifest("train")["outputs"]["bundle"],
            data_cutoff=run.window.end,
            fence_seen=run.fence,
            reason=reason,
            verdict=verdict,
            now=now,
        )
    except Conflict as error:
        ledger.finish_run(run.key, "stale", str(error), now=now)
        raise


def _after_rollout(ledger: Ledger, run: Run, text: str) -> tuple[RunOutcome, str]:
    """Return what real requests have shown of a challenger that passed the gate; without their word it is not promoted."""
    record = ledger.rollout(run.model, run.key)
    if record is None or not record.ended:
        at = "has not begun" if record is None else f"is in step {record.step + 1}"
        raise UsageError(
            f"the rollout of run {run.key[:12]} {at}; do the step rollout until it has ended, a retry before gives the same"
        )
    return ("promoted", f"{text} {record.text}") if record.answer == "promote" else ("kept", record.text)
