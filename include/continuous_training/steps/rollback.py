"""Make an earlier champion the champion again, and show and serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from continuous_training.ledger import Ledger
from continuous_training.steps.reconcile import reconcile

if TYPE_CHECKING:
    from datetime import datetime

    from continuous_training.core.run import Rollback
    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec


def roll_back(spec: ModelSpec, asked: Rollback, settings: Settings, *, now: datetime) -> dict[str, Any]:
    """Write the rollback to the ledger, then project it, and return what answers now.

    Asked again, also after a crash, it writes nothing more and goes on with the projection.

    Raises
    ------
    UsageError
        No champion ever was this version. Nothing was changed.
    RegistryUnavailable
        MLflow does not answer. The ledger says what was asked for; a retry shows it.
    """
    champion = Ledger(settings.ledger).rollback(spec.model, to=asked.to, reason=asked.reason, now=now)
    shown = reconcile(spec, settings) or {}
    return {"run_key": champion.run_key, "reason": asked.reason, **shown}
