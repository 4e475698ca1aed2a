"""Serve the champion the ledger names, whichever run asked."""

from __future__ import annotations

from continuous_training.steps.context import Context, Output
from continuous_training.steps.projection import project_serving


def do(context: Context) -> Output:
    """Hand the ledger's champion to the deployer; nothing changes when it is served already."""
    return Output(facts=project_serving(context))
