"""The buttons on a promote task. That a worker pushes them is in `test_pipeline.py`, that the web server knows them in `test_dags.py`."""

from typing import Any

import pytest
from airflow.sdk import DAG

import small_model
from continuous_training.provider.links import (
    DashboardLink,
    DataDocsLink,
    DriftReportLink,
    MLflowRunLink,
    ModelCardLink,
    ModelVersionLink,
    browser_url,
    look_links,
    result_links,
)
from continuous_training.provider.operators import CollectDataOperator, PromoteChallengerOperator
from ledger_parts import a_run

pytestmark = pytest.mark.provider

FACTS = {"mlflow_experiment": "3", "mlflow_run": "0" * 32, "registry_version": "7"}


def checked() -> Any:
    """Return a model that has a data check, whatever is checked."""
    spec = small_model.spec()
    return spec.model_copy(update={"expectations": "flights.yaml"})


def test_each_link_leads_to_its_page() -> None:
    run = f"https://mlflow.example.com/#/experiments/3/runs/{'0' * 32}"
    assert result_links("https://mlflow.example.com", checked(), FACTS) == {
        "MLflow run": run,
        "Model version": "https://mlflow.example.com/#/models/m/versions/7",
        "Data Docs": f"{run}/artifacts/reports/data_docs.html",
    }


def test_a_model_without_a_data_check_has_no_report_to_lead_to() -> None:
    assert "Data Docs" not in result_links("https://mlflow.example.com", small_model.spec(), FACTS)


@pytest.mark.parametrize(("url", "facts"), [(None, FACTS), ("https://mlflow.example.com", {"outcome": "kept"})])
def test_nothing_leads_nowhere(url: str | None, facts: dict[str, Any]) -> None:
    assert result_links(url, checked(), facts) == {}


@pytest.mark.parametrize(
    "link", [MLflowRunLink(), ModelVersionLink(), DataDocsLink(), ModelCardLink(), DriftReportLink(), DashboardLink()]
)
def test_a_task_that_has_not_run_has_empty_links(link: Any) -> None:
    with DAG("m.train", schedule=None):
        promote = PromoteChallengerOperator(task_id="promote", spec=small_model.spec(), run={})
        collect = CollectDataOperator(task_id="collect", spec=small_model.spec(), run={})
    assert link.get_link(promote, ti_key=None) == ""
    assert link.get_link(collect, ti_key=None) == ""


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://me:secret@mlflow.example.com/prefix/", "https://mlflow.example.com/prefix"),
        ("https://token@[::1]:5000", "https://[::1]:5000"),
        ("sqlite:////srv/mlflow.db", None),
        ("databricks", None),
        ("javascript:alert(1)", None),
        ("", None),
    ],
)
def test_only_a_web_page_is_an_address_for_browsers(uri: str, url: str | None) -> None:
    assert browser_url(uri) == url


@pytest.mark.parametrize(
    ("dashboards", "leads"),
    [
        ("https://me:secret@grafana.example.com/", {"Dashboard": "https://grafana.example.com/d/ct-drift?var-model=m"}),
        ("", {}),
        ("javascript:alert(1)", {}),
    ],
)
def test_a_look_leads_to_its_report_and_to_the_dashboard_where_there_is_one(
    dashboards: str, leads: dict[str, str]
) -> None:
    report = (
        "https://airflow.example.com/continuous-training/pages/dags/m.watch/drift/report"
        "?start=2013-01-08T00%3A00%3A00Z&end=2013-01-15T00%3A00%3A00Z"
    )
    found = look_links("https://airflow.example.com", dashboards, a_run(14, kind="watch"))
    assert found == {"Drift report": report, **leads}
