"""A history with one real change and one noisy detector."""

import json
import os
from typing import Any

import pytest

import small_deployment
from continuous_training.replay.walk import walk
from small_deployment import Deployment, day

DAYS, FLIP = 171, 100
CHANGES: dict[str, Any] = {
    "drift": [{"kind": "psi", "name": "noisy", "columns": ["carrier"], "threshold": 1e-9}],
    "performance": [{"name": "low", "metric": "roc_auc", "below": 0.7}],
    "retraining": {"kind": "signals", "cooldown": "1 day", "judged_over": 2, "demote_below": 0.6},
}
"""`noisy` fires in every window, `low` when the champion fails; what wind means for lateness turns round on day 100."""


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Give a deployment that has lived through that history; nobody may change it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("CT_", "MLFLOW_"))]:
            patch.delenv(name)
        deployment = Deployment(tmp_path_factory.mktemp("walked") / "home")
        deployment.land(DAYS, lambda rows: rows.assign(late=rows["late"].where(rows["at"] < day(FLIP), 1 - rows["late"])))
        (deployment.home / "models").mkdir()
        document = small_deployment.small_model.document(trainer=small_deployment.TRAINER, **CHANGES)
        (deployment.home / "models" / "m.yaml").write_text(json.dumps(document))
        walk(
            small_deployment.spec(**CHANGES),
            deployment.settings,
            start=day(40),
            end=day(DAYS - 11),
        )
        return deployment
