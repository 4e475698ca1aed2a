"""What a person is asked before a challenger is promoted, what they answer, and what the gate's verdict comes to with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import Field

from continuous_training.core.comparison import Comparison
from continuous_training.core.decisions import GateVerdict, Outcome
from continuous_training.core.digest import digest
from continuous_training.core.errors import UsageError
from continuous_training.core.frozen import Frozen
from continuous_training.steps.context import Context
from continuous_training.storage import Store

if TYPE_CHECKING:
    from continuous_training.core.run import Run
    from continuous_training.ledger import RunOutcome
    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec

APPROVE = "approve"
"""The manifest of a run that holds the answer."""


class Question(Frozen):
    """Everything that whoever approves should see."""

    model: str
    reason: str
    reasons: tuple[str, ...]
    comparison: Comparison
    verdict: GateVerdict


class Answer(Frozen):
    """What somebody said to a question, and why.

    >>> Answer(approved=False, by="ann", reason="the slices look wrong").text
    'rejected by ann: the slices look wrong'
    """

    approved: bool
    by: str = Field("", description="Who answered; empty where nobody did in time.")
    reason: str = Field("", description="Why, in their words.")

    @property
    def text(self) -> str:
        """Return the answer in words."""
        if not self.by:
            return "not approved: nobody answered"
        return f"{'approved' if self.approved else 'rejected'} by {self.by}: {self.reason or 'no reason given'}"


def question(spec: ModelSpec, run: Run, settings: Settings) -> Question | None:
    """Return what a person is asked after the evaluation of a run; `None` where nobody needs to be."""
    return _question(_context(spec, run, settings))


def record_answer(spec: ModelSpec, run: Run, settings: Settings, answer: Answer) -> None:
    """Keep the answer to what the evaluation of a run shows now; a later one replaces an earlier one.

    The step promote writes it to the ledger: with the promotion, or as the reason why the champion stays.
    """
    context = _context(spec, run, settings)
    now = datetime.now(UTC).isoformat()
    manifest = {
        "step": APPROVE,
        "model": run.model,
        "inputs": _shown(context),
        "outputs": {},
        "facts": answer.model_dump() | {"text": answer.text},
        "error": None,
        "started": now,
        "finished": now,
    }
    context.store.write_manifest(run.key, APPROVE, manifest)


def judged(context: Context, verdict: GateVerdict) -> tuple[RunOutcome, str, Answer | None]:
    """Return what a run comes to by the gate and by whoever was asked, why, and what they answered.

    Raises
    ------
    UsageError
        A person must approve, and nobody has answered.
    """
    outcome, text = gate_outcome(context.run, verdict)
    asked = _question(context)
    if asked is None:
        return outcome, text, None
    answer = _answer(context)
    if answer is None:
        msg = (
            f"run {context.run.key[:12]} is not promoted: a person must approve it ({'; '.join(asked.reasons)[:300]}), and nobody has "
            "answered what its evaluation shows; let the task approve ask, a retry before gives the same"
        )
        raise UsageError(msg)
    return (outcome, f"{text} ({answer.text})", answer) if answer.approved else ("kept", answer.text, answer)


def gate_outcome(run: Run, verdict: GateVerdict) -> tuple[RunOutcome, str]:
    """Return what the gate's verdict comes to for a run, and why."""
    forced = run.force and verdict.outcome is Outcome.INCONCLUSIVE
    if verdict.outcome is not Outcome.PASS and not forced:
        return "kept", verdict.text
    if run.dry_run:
        return "dry_run", f"dry run: would promote. {verdict.text}"
    return "promoted", f"forced: {verdict.text}" if forced else verdict.text


def _question(context: Context) -> Question | None:
    spec, run = context.spec, context.run
    approval = spec.promotion.asks
    if approval is None:
        return None
    verdict = GateVerdict.model_validate_json(context.read("evaluate", "verdict"))
    if gate_outcome(run, verdict)[0] != "promoted":
        return None
    comparison = Comparison.model_validate_json(context.read("evaluate", "comparison"))
    forced = verdict.outcome is not Outcome.PASS
    reasons = approval.reasons(comparison, slice_rows=spec.promotion.slice_rows, forced=forced)
    if not reasons:
        return None
    why = run.reason.text if run.reason else ""
    return Question(model=spec.model, reason=why, reasons=tuple(reasons), comparison=comparison, verdict=verdict)


def _answer(context: Context) -> Answer | None:
    """Return the answer to what the evaluation shows now; one to another evaluation is none."""
    manifest = context.store.read_manifest(context.run.key, APPROVE)
    if manifest is None or manifest["inputs"] != _shown(context):
        return None
    return Answer.model_validate({name: manifest["facts"][name] for name in Answer.model_fields})


def _shown(context: Context) -> str:
    return digest(context.manifest("evaluate")["outputs"])


def _context(spec: ModelSpec, run: Run, settings: Settings) -> Context:
    return Context(spec=spec, run=run, settings=settings, store=Store(settings.artefacts))
