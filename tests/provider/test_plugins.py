"""The plugin files of this project."""

import runpy
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.provider

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "deployment_links.py"


def views() -> list[dict[str, Any]]:
    return runpy.run_path(str(PLUGIN))["DeploymentLinks"].external_views


def test_the_navigation_leads_to_mlflow_without_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:5000/")
    (view,) = views()
    assert (view["name"], view["href"], view["destination"]) == ("MLflow", "http://127.0.0.1:5000", "nav")


def test_the_navigation_leads_to_where_browsers_reach_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("MLFLOW_PUBLIC_URL", "http://127.0.0.1:5000")
    (view,) = views()
    assert view["href"] == "http://127.0.0.1:5000"


def test_a_registry_without_a_web_page_has_no_place_in_the_navigation() -> None:
    assert views() == []
