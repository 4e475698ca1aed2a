"""Deployments to go on from: migrating databases and importing libraries takes longer than most tests."""

import os
from pathlib import Path
from typing import Any

import pytest

import small_deployment
from small_deployment import Deployment


@pytest.fixture(autouse=True)
def _quiet_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("CT_", "MLFLOW_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """Give an empty deployment."""
    return Deployment(tmp_path / "home")


@pytest.fixture(scope="session")
def first_champion(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give the home of a deployment whose first champion was trained on forty days; nobody may change it."""
    home = tmp_path_factory.mktemp("first") / "home"
    deployment = Deployment(home)
    deployment.land(45)
    run, results = deployment.train(small_deployment.spec())
    assert results["promote"].facts["outcome"] == "promoted"
    return deployment, run, results


@pytest.fixture
def champion(first_champion: Any, tmp_path: Path) -> Deployment:
    """Give a copy of the deployment with a first champion, made from days 0 to 40."""
    return first_champion[0].copy(tmp_path / "home")
