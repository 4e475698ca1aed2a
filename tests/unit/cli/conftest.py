"""A deployment on the command line, with one model and one champion."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import small_deployment
import small_model
from continuous_training.cli import main
from small_deployment import Deployment

LONG_AGO = "CT_", "MLFLOW_"


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def with_champion(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Give a deployment with a champion made from days 0 to 40; nobody may change it."""
    deployment = Deployment(tmp_path_factory.mktemp("cli") / "home")
    write(deployment)
    deployment.land(45)
    deployment.train(small_deployment.spec())
    return deployment


@pytest.fixture(autouse=True)
def deployment(with_champion: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Give a copy of it that the environment names."""
    copy = with_champion.copy(tmp_path / "home")
    for name in [name for name in os.environ if name.startswith(LONG_AGO)]:
        monkeypatch.delenv(name)
    for name, value in copy.settings.to_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return copy


@pytest.fixture
def model(deployment: Deployment) -> Callable[..., None]:
    """Give a function that rewrites the model file."""
    return lambda **changes: write(deployment, **changes)


@pytest.fixture
def ct(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Give the command `ct`: it returns the exit code and what was said."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        return Said(code, *capsys.readouterr())

    return run


def write(deployment: Deployment, /, **changes: Any) -> None:
    folder = deployment.home / "models"
    folder.mkdir(parents=True, exist_ok=True)
    content = small_model.document("m", **{"trainer": small_deployment.TRAINER, **changes})
    (folder / "m.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
