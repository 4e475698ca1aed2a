"""Serve the champion the ledger names, whichever run asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.core.run import StepResult
from continuous_training.steps.context import Context, Output
from continuous_training.steps.projection import project_serving, serve
from continuous_training.storage import Store

if TYPE_CHECKING:
    from continuous_training.core.run import Run
    from continuous_training.deployers.base import Release
    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec


def do(context: Context) -> Output:
    """Hand the ledger's champion to the deployer; nothing changes when it is served already."""
    return Output(facts=project_serving(context))


def deploy_release(spec: ModelSpec, run: Run, release: Release, settings: Settings) -> StepResult:
    """Hand a release to the deployer where there is no ledger: in a pod, for a task that has read it from there."""
    context = Context(spec=spec, run=run, settings=settings, store=Store(settings.artefacts))
    return StepResult(step="deploy", key=run.key, facts=serve(context, release))
