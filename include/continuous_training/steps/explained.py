"""One training run, or one look at a window, with everything that is kept of it: why, on which evidence, and what followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, ValidationError

from continuous_training.core.comparison import Comparison
from continuous_training.core.decisions import Evidence, GateVerdict, RetrainingDecision
from continuous_training.core.errors import ContinuousTrainingError, UsageError
from continuous_training.core.frozen import Frozen
from continuous_training.ledger import Champion, DecisionRecord, Episode, RolloutRecord, RunRecord
from continuous_training.reports import ModelCard
from continuous_training.reports.card import Change
from continuous_training.steps import TRAIN_STEPS
from continuous_training.steps.approval import APPROVE

NAMED = 5
"""Windows that a refusal names."""

if TYPE_CHECKING:
    from datetime import datetime

    from continuous_training.ledger import Ledger
    from continuous_training.storage import Store


class Explained(Frozen):
    """One run, with everything that is kept of it."""

    record: RunRecord
    decision: RetrainingDecision | None = Field(
        None, description="That asked for it; none where a person or a schedule did."
    )
    evidence: Evidence | None = None
    verdict: GateVerdict | None = None
    comparison: Comparison | None = None
    rollout: RolloutRecord | None = None
    changes: tuple[Change, ...] = Field((), description="What is new against the champion before.")
    facts: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Of each finished step.")
    has_card: bool = False
    notes: tuple[str, ...] = Field((), description="What is missing, and why.")


class ExplainedLook(Frozen):
    """One look at a window, with what came before and after it."""

    record: DecisionRecord
    champion: Champion | None = Field(None, description="Champion at the moment of the decision.")
    episodes: tuple[Episode, ...] = Field(
        (), description="Open at the decision, those included that it began or ended."
    )
    runs: tuple[RunRecord, ...] = Field((), description="Trainings that its yes asked for, the newest first.")


def explain_look(ledger: Ledger, model: str, moment: datetime) -> ExplainedLook:
    """Return the look at the first window of a model that ends at a moment, or holds it.

    Raises
    ------
    UsageError
        The ledger does not know the model, or no such window was decided on.
    """
    record = ledger.decision_at(model, moment)
    if record is None:
        raise UsageError(_no_look(ledger, model, moment))
    reason, asked_at = record.decision.reason, record.decision.as_of
    champions = (each for each in ledger.history(model) if each.promoted_at <= record.recorded_at)
    return ExplainedLook(
        record=record,
        champion=next(champions, None),
        episodes=tuple(
            each
            for each in ledger.episodes(model)
            if each.opened_by <= record.seq and (each.closed_at is None or each.closed_at >= asked_at)
        ),
        runs=ledger.runs(model, episode=reason.episode) if reason else (),
    )


def _no_look(ledger: Ledger, model: str, moment: datetime) -> str:
    """Return why there is no look to explain, and what there is."""
    known = ledger.models()
    if model not in known:
        return (
            f"nothing is recorded of {model!r}; the ledger knows {', '.join(known) or 'no model'}; correct the name, or let it watch: "
            f"ct run watch {model}; a retry before that finds the same"
        )
    ends = [f"{each.decision.window.end:%Y-%m-%dT%H:%MZ}" for each in ledger.decisions(model, NAMED)]
    if not ends:
        return f"no window of {model} was decided on yet; let it watch: ct run watch {model}; a retry before that finds the same"
    return (
        f"no window of {model} that was decided on ends at {moment:%Y-%m-%dT%H:%MZ} or holds it; the newest end at "
        f"{', '.join(ends)}; ct history {model} lists them; a retry finds the same"
    )


def explain_run(ledger: Ledger, store: Store, model: str, key: str) -> Explained:
    """Return one run of a model.

    Raises
    ------
    UsageError
        No run of this model has the key.
    """
    record = run_of(ledger, model, key)
    notes: list[str] = []
    manifests = _manifests(store, key, notes)
    evaluated = manifests.get("evaluate", {}).get("outputs", {})
    asked = _decision(ledger, record)
    card = read_output(store, evaluated, "card", ModelCard, notes)
    return Explained(
        record=record,
        decision=asked.decision if asked else None,
        evidence=asked.evidence if asked else None,
        verdict=read_output(store, evaluated, "verdict", GateVerdict, notes),
        comparison=read_output(store, evaluated, "comparison", Comparison, notes),
        rollout=ledger.rollout(model, key),
        changes=card.changes if card else (),
        facts={name: manifest["facts"] for name, manifest in manifests.items()},
        has_card=card is not None,
        notes=tuple(notes),
    )


def run_of(ledger: Ledger, model: str, key: str) -> RunRecord:
    """Return a run of a model.

    Raises
    ------
    UsageError
        No run of this model has the key.
    """
    record = ledger.run(key)
    if record.run.model != model:
        raise UsageError(f"run {key[:12]} is not one of {model}; a retry gives the same")
    return record


def _decision(ledger: Ledger, record: RunRecord) -> DecisionRecord | None:
    """Return the decision that asked for a training."""
    run = record.run
    found = ledger.decisions(run.model, 1, episode=run.reason.episode) if run.reason else ()
    return found[0] if found else None


def _manifests(store: Store, key: str, notes: list[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for step in (*TRAIN_STEPS, APPROVE, "rollout"):
        try:
            manifest = store.read_manifest(key, step)
        except ContinuousTrainingError as error:
            notes.append(str(error))
            continue
        if manifest is not None:
            found[step] = manifest
    return found


Read = TypeVar("Read", bound=Frozen)


def read_output(store: Store, outputs: dict[str, str], name: str, kind: type[Read], notes: list[str]) -> Read | None:
    """Return an object that a step kept; where it is damaged, gone or of another form, `None` and a note that says so."""
    if name not in outputs:
        return None
    try:
        return kind.model_validate_json(store.get(outputs[name]))
    except ContinuousTrainingError as error:
        notes.append(f"{name}: {error}")
    except ValidationError as error:
        notes.append(f"{name}: kept by another version of this package: {error.errors(include_input=False)[0]['msg']}")
    return None
