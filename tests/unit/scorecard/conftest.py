"""A history with one real change and one noisy detector."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import small_deployment
import small_model
from continuous_training.cli import main
from small_deployment import Deployment, day

CHANGES: dict[str, Any] = {
    "trainer": small_deployment.TRAINER,
    "drift": [{"kind": "psi", "name": "noisy", "columns": ["carrier"], "threshold": 1e-9}],
    "performance": [{"name": "low", "metric": "roc_auc", "below": 0.7}],
    "retraining": {"kind": "signals", "cooldown": "1 day", "judged_over": 2, "demote_below": 0.6},
}
"""`noisy` fires in every window, `low` when the champion fails; what wind means for lateness turns round on day 100."""


class Said(NamedTuple):
    code: int
    out: str
    err: str


def write(deployment: Deployment, **changes: Any) -> None:
    """Write the model file."""
    folder = Path(deployment.settings.models)
    folder.mkdir(exist_ok=True)
    (folder / "m.yaml").write_text(json.dumps(small_model.document(**{**CHANGES, **changes})))


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Give a deployment that has lived through that history; nobody may change it."""
    deployment = Deployment(tmp_path_factory.mktemp("lived") / "home")
    _land(deployment, 171)
    write(deployment)
    with pytest.MonkeyPatch.context() as patch:
        _named(deployment, patch)
        assert main(["run", "train", "m", "--as-of", day(41).isoformat()]) == 0
        assert main(["run", "watch", "m", "--as-of", day(161).isoformat()]) in {0, 3, 5}
    return deployment


@pytest.fixture
def deployment(lived: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Give a copy of it that the environment names."""
    copy = lived.copy(tmp_path / "home")
    _named(copy, monkeypatch)
    monkeypatch.chdir(tmp_path)
    return copy


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Give a deployment with the same change in its rows, a limit that is far too low for it, and an empty ledger."""
    deployment = Deployment(tmp_path / "home")
    _land(deployment, 201)
    write(deployment, drift=[], performance=[{"name": "low", "metric": "roc_auc", "below": 0.01}])
    _named(deployment, monkeypatch)
    return deployment


@pytest.fixture
def ct(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Give the command `ct`."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = main(arguments)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


def _land(deployment: Deployment, days: int) -> None:
    deployment.land(days, lambda rows: rows.assign(late=rows["late"].where(rows["at"] < day(100), 1 - rows["late"])))


def _named(deployment: Deployment, patch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("CT_", "MLFLOW_"))]:
        patch.delenv(name)
    for name, value in deployment.settings.to_environment().items():
        patch.setenv(name, value)
