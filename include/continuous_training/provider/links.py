"""Buttons on a task that lead to what it made: into MLflow, to our own pages, to the dashboards."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit, urlunsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

    from continuous_training.core.run import Run
    from continuous_training.spec import ModelSpec

PAGES = "/continuous-training/pages"


class _ResultLink(BaseOperatorLink):
    """A link that the operator worked out while it ran; Airflow asks for it in the same process when the task ends."""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        return str(getattr(operator, "links", {}).get(self.name, ""))


class MLflowRunLink(_ResultLink):
    """The MLflow run of the challenger."""

    name = "MLflow run"


class ModelVersionLink(_ResultLink):
    """The version in the model registry."""

    name = "Model version"


class DataDocsLink(_ResultLink):
    """The report of the data check."""

    name = "Data Docs"


class ModelCardLink(_ResultLink):
    """The model card of the challenger."""

    name = "Model card"


class DriftReportLink(_ResultLink):
    """The drift report of the window."""

    name = "Drift report"


class DashboardLink(_ResultLink):
    """The dashboard of the model, where the deployment says where dashboards are."""

    name = "Dashboard"


def browser_url(uri: str) -> str | None:
    """Return the address for people's browsers, without credentials; `None` when `uri` has no web page.

    >>> browser_url("https://me:secret@mlflow.example.com/")
    'https://mlflow.example.com'
    >>> browser_url("sqlite:////srv/ct/mlflow.db")
    """
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"}:
        return None
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")


def page_link(airflow: str, model: str, kind: str, page: str, **asked: str) -> str:
    """Return the address of a page of a model's DAG.

    >>> page_link("https://airflow.example.com/", "m", "train", "card", key="ab")
    'https://airflow.example.com/continuous-training/pages/dags/m.train/card?key=ab'
    """
    return f"{airflow.rstrip('/')}{PAGES}/dags/{model}.{kind}/{page}?{urlencode(asked)}"


def look_links(airflow: str, dashboards: str, run: Run) -> dict[str, str]:
    """Return the links that a decided look leads to, by name.

    Parameters
    ----------
    airflow, dashboards:
        Where people's browsers reach Airflow and Grafana; without the second there is no link to it.
    """
    window = run.window.model_dump(mode="json")
    links = {DriftReportLink.name: page_link(airflow, run.model, "watch", "drift/report", **window)}
    if (grafana := browser_url(dashboards)) is not None:
        links[DashboardLink.name] = f"{grafana}/d/ct-drift?{urlencode({'var-model': run.model})}"
    return links


def result_links(public_url: str | None, spec: ModelSpec, facts: Mapping[str, object]) -> dict[str, str]:
    """Return the links into MLflow that the facts of a promote step lead to, by name."""
    if public_url is None or "mlflow_run" not in facts:
        return {}
    run = f"{public_url}/#/experiments/{facts['mlflow_experiment']}/runs/{facts['mlflow_run']}"
    links = {
        MLflowRunLink.name: run,
        ModelVersionLink.name: f"{public_url}/#/models/{spec.model}/versions/{facts['registry_version']}",
    }
    if spec.expectations is not None:
        links[DataDocsLink.name] = f"{run}/artifacts/reports/data_docs.html"
    return links
