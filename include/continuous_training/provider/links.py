"""Buttons on a task that lead to what it made."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

    from continuous_training.spec import ModelSpec


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


def result_links(public_url: str | None, spec: ModelSpec, facts: dict[str, object]) -> dict[str, str]:
    """Return the links that the facts of a promote step lead to, by name."""
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
