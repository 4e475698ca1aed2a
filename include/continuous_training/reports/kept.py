"""Find the reports that steps have kept in the artefact store."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from continuous_training.core.errors import ArtefactCorrupt, UsageError
from continuous_training.reports.card import ModelCard
from continuous_training.reports.distribution import DriftReport

if TYPE_CHECKING:
    from continuous_training.core.decisions import Evidence
    from continuous_training.storage import Store

Report = TypeVar("Report", ModelCard, DriftReport)


def model_card(store: Store, run_key: str) -> ModelCard:
    """Return the model card of the challenger that a run made.

    Raises
    ------
    UsageError
        The run has not evaluated a challenger, or did so with a version that kept no card.
    ArtefactCorrupt
        The card is gone, or was changed.
    """
    manifest = store.read_manifest(run_key, "evaluate")
    digest = manifest["outputs"].get("card") if manifest else None
    if digest is None:
        why = "was evaluated by a version that kept none" if manifest else "has evaluated no challenger"
        msg = (
            f"there is no model card of run {run_key[:12]}: it {why}; name another run (ct history lists them) or train again; a "
            "retry finds the same"
        )
        raise UsageError(msg)
    return _read(store, digest, ModelCard)


def drift_report(store: Store, evidence: Evidence) -> DriftReport:
    """Return the drift report of the window that some evidence was measured on.

    Raises
    ------
    UsageError
        The window was scored by a version that kept no report.
    ArtefactCorrupt
        The report is gone, or was changed.
    """
    if evidence.report is None:
        msg = (
            f"there is no drift report of {evidence.model} {evidence.window}: it was scored by a version that kept none; windows "
            "scored from now on have one; a retry finds the same"
        )
        raise UsageError(msg)
    return _read(store, evidence.report, DriftReport)


def _read(store: Store, digest: str, kind: type[Report]) -> Report:
    try:
        return kind.model_validate_json(store.get(digest))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        msg = (
            f"object {digest[:12]} is not a {kind.__name__} that this version reads ({place}: {first['msg']}); read it with the version "
            "that wrote it; a retry reads the same"
        )
        raise ArtefactCorrupt(msg) from error
