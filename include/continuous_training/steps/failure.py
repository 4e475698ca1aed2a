"""Write down that a run ended without a verdict."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from continuous_training.ledger import Ledger

if TYPE_CHECKING:
    from continuous_training.core.run import Run
    from continuous_training.settings import Settings


def record_failure(run: Run, settings: Settings, step: str, text: str) -> None:
    """Finish a train run in the ledger as failed, with the step and its error; a watch run leaves no trace.

    What the promote step has said stands: the run may be stale, or promoted and not yet served.
    """
    ledger = Ledger(settings.ledger)
    if run.kind == "train" and ledger.run(run.key).outcome not in {"stale", "promoted"}:
        ledger.finish_run(run.key, "failed", f"{step}: {text}", now=datetime.now(UTC))
