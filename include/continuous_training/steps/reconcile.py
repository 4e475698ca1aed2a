"""Let MLflow and the serving pointer show what the ledger says, after whatever happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from continuous_training.core.run import Run
from continuous_training.ledger import Ledger
from continuous_training.steps.context import Context
from continuous_training.steps.projection import project_registry, project_serving
from continuous_training.storage import Store

if TYPE_CHECKING:
    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec


def reconcile(spec: ModelSpec, settings: Settings) -> dict[str, Any] | None:
    """Project the ledger's champion of one model and return where it is; `None` when there is no champion.

    Raises
    ------
    RegistryUnavailable
        MLflow does not answer; do it again later, nothing was made worse.
    """
    ledger = Ledger(settings.ledger)
    rollout = ledger.rollout(spec.model)
    if spec.deployment.rolls_out and (rollout is None or rollout.ended):
        spec.deployment.dismiss(spec.model, settings=settings)  # whoever ended it may have been killed before
    champion = ledger.champion(spec.model)
    if champion is None:
        return None
    run: Run = ledger.run(champion.run_key).run
    context = Context(spec=spec, run=run, settings=settings, store=Store(settings.artefacts))
    shown = project_registry(context, run_key=champion.run_key, outcome="promoted")
    return {"version": champion.version, "fence": champion.fence, **shown, **project_serving(context)}
