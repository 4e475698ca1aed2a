"""What a person is asked before a challenger is promoted, and whether anybody must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.core.comparison import Comparison
from continuous_training.core.decisions import GateVerdict, Outcome
from continuous_training.core.frozen import Frozen
from continuous_training.steps.context import Context
from continuous_training.steps.promote import gate_outcome
from continuous_training.storage import Store

if TYPE_CHECKING:
    from continuous_training.core.run import Run
    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec


class Question(Frozen):
    """Everything that whoever approves should see."""

    model: str
    reason: str
    reasons: tuple[str, ...]
    comparison: Comparison
    verdict: GateVerdict


def question(spec: ModelSpec, run: Run, settings: Settings) -> Question | None:
    """Return what a person is asked after the evaluation of a run; `None` where nobody needs to be."""
    approval = spec.promotion.asks
    if approval is None:
        return None
    context = Context(spec=spec, run=run, settings=settings, store=Store(settings.artefacts))
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
