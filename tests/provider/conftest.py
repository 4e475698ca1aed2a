"""Airflow in a throw-away home, set up before anything imports it, and a small deployment for each test."""

import os
import secrets
from pathlib import Path
from typing import Any

import pytest

import airflow_home  # noqa: F401 - before anything that imports Airflow

os.environ |= {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
}

_OURS = ("CT_", "MLFLOW_", "AIRFLOW_CONN_", "AIRFLOW_CTX_", "AIRFLOW__CONTINUOUS_TRAINING__")


@pytest.fixture(autouse=True)
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the home of an empty deployment that nothing in the surroundings configures."""
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("CT_HOME", str(home))
    monkeypatch.setenv("CT_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    return home


@pytest.fixture
def model_files(tmp_path: Path) -> Any:
    """Give a function that writes model files, name to content, into the deployment's folder of models."""
    import yaml

    folder = tmp_path / "models"
    folder.mkdir()

    def write(**files: dict[str, Any] | str) -> Path:
        for name, content in files.items():
            (folder / f"{name}.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return folder

    return write
