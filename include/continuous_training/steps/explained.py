"""One training run with everything that is kept of it: why it ran, on which evidence, what the gate said, and what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, ValidationError

from continuous_training.core.comparison import Comparison
from continuous_training.core.decisions import Evidence, GateVerdict, RetrainingDecision
from continuous_training.core.errors import ContinuousTrainingError, UsageError
from continuous_training.core.frozen import Frozen
from continuous_training.ledger import DecisionRecord, RolloutRecord, RunRecord
from continuous_training.reports import ModelCard
from continuous_training.reports.card import Change
from continuous_training.steps import TRAIN_STEPS
from continuous_training.steps.approval import APPROVE

if TYPE_CHECKING:
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
