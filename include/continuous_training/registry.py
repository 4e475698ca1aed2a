"""The model registry: MLflow shows what the ledger decided.

Everything here is a projection: it is written after the ledger, any number of times with the same result, and can be
written again from the artefact store when MLflow was down or lost.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from continuous_training.core.errors import RegistryUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow import MlflowClient
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

    from continuous_training.core.task import Features

MODEL_CODE = Path(__file__).parent / "mlflow_model.py"
RUN_KEY = "ct_run_key"
ALIASES = ("champion", "challenger", "previous")
# MLflow's client waits minutes for a server that is down; the step's own retry is the better place to wait.
_CLIENT_LIMITS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Entry:
    """One challenger as the registry shows it."""

    model: str
    run_key: str
    bundle: Path
    features: Features
    requirements: tuple[str, ...]
    metrics: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    reports: Callable[[], dict[str, bytes]] = dict
    """Makes the files to keep with it, by name; asked once, when it is new."""


@dataclass(frozen=True)
class Registered:
    """A version in the registry and the MLflow run it came from."""

    version: str
    run_id: str
    experiment_id: str


class Registry:
    """The MLflow server of one deployment.

    Parameters
    ----------
    uri:
        MLflow tracking URI.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def register(self, entry: Entry) -> Registered:
        """Show `entry` as a model version with signature, metrics, parameters and tags; once for each run key.

        What somebody deleted in MLflow is shown again, as a new version.

        Raises
        ------
        RegistryUnavailable
            MLflow does not answer; a retry registers the same version, not a second one.
        """
        with self._client() as client:
            found = client.search_model_versions(f"name='{entry.model}' and tags.{RUN_KEY}='{entry.run_key}'")
            for version in sorted(found, key=lambda item: int(item.version)):
                experiment = _experiment_of(client, version.run_id)
                if experiment is not None:
                    return Registered(str(version.version), version.run_id, experiment)
            experiment = self._experiment(client, entry.model)
            run_id = _run(client, experiment, entry)
            logged = self._log_model(run_id, entry)
            if not client.search_registered_models(f"name='{entry.model}'"):
                client.create_registered_model(entry.model)
            created = client.create_model_version(
                entry.model,
                source=logged.model_uri,
                run_id=run_id,
                model_id=logged.model_id,
                tags={RUN_KEY: entry.run_key, **entry.tags},
            )
            client.set_terminated(run_id)
            return Registered(str(created.version), run_id, experiment)

    def tag(self, model: str, version: str, tags: dict[str, str]) -> None:
        """Set tags of a version."""
        with self._client() as client:
            for name, value in tags.items():
                client.set_model_version_tag(model, version, name, value)

    def point(self, model: str, aliases: dict[str, str | None]) -> None:
        """Make each alias name its version, and none where the version is `None`."""
        with self._client() as client:
            for alias, version in aliases.items():
                current = _alias(client, model, alias)
                if version is None and current is not None:
                    client.delete_registered_model_alias(model, alias)
                elif version is not None and version != current:
                    client.set_registered_model_alias(model, alias, version)

    def aliases(self, model: str) -> dict[str, str]:
        """Return the versions that the aliases name."""
        with self._client() as client:
            named = {alias: _alias(client, model, alias) for alias in ALIASES}
            return {alias: version for alias, version in named.items() if version is not None}

    def _experiment(self, client: MlflowClient, name: str) -> str:
        found = client.get_experiment_by_name(name)
        if found:
            if found.lifecycle_stage == "deleted":  # MLflow keeps its name, and takes no run into it
                client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        # Without a server MLflow would put artefacts under whatever folder the process stands in.
        beside = (
            Path(self.uri.removeprefix("sqlite:///")).parent / "mlflow-artefacts"
            if self.uri.startswith("sqlite:///")
            else None
        )
        return str(client.create_experiment(name, artifact_location=beside.as_uri() if beside else None))

    def _log_model(self, run_id: str, entry: Entry) -> ModelInfo:
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
            # It misses type hints and an example, which it would run the model on; the signature is given instead.
            warnings.simplefilter("ignore", UserWarning)
            return mlflow.pyfunc.log_model(
                name="model",
                python_model=str(MODEL_CODE),
                artifacts={"bundle": str(entry.bundle)},
                signature=_signature(entry.features),
                pip_requirements=list(entry.requirements),
            )

    @contextlib.contextmanager
    def _client(self) -> Iterator[MlflowClient]:
        for name, value in _CLIENT_LIMITS.items():
            os.environ.setdefault(name, value)
        import requests
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            yield MlflowClient(self.uri, registry_uri=self.uri)
        except (MlflowException, requests.RequestException, OSError) as error:
            msg = (
                f"MLflow did not do what was asked ({str(error)[:300]}); the ledger is right already. Check the server at the "
                "tracking URI; a retry or `ct reconcile` writes the same version"
            )
            raise RegistryUnavailable(msg) from error


def _experiment_of(client: MlflowClient, run_id: str) -> str | None:
    """Return the experiment of a version's run; `None` where `mlflow gc` took the run, and the version's files with it."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_run(run_id).info.experiment_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _alias(client: MlflowClient, model: str, alias: str) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        # Over REST the version is text, with a direct database URI a number.
        return str(client.get_model_version_by_alias(model, alias).version)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise


def _run(client: MlflowClient, experiment: str, entry: Entry) -> str:
    found = client.search_runs([experiment], f"tags.{RUN_KEY} = '{entry.run_key}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    run = client.create_run(experiment, tags={RUN_KEY: entry.run_key, **entry.tags}, run_name=entry.run_key[:12])
    run_id = str(run.info.run_id)
    for name, value in entry.parameters.items():
        client.log_param(run_id, name, value)
    for name, number in entry.metrics.items():
        client.log_metric(run_id, name, number)
    with tempfile.TemporaryDirectory() as folder:
        for name, data in entry.reports().items():
            (Path(folder) / name).write_bytes(data)
        client.log_artifacts(run_id, folder, "reports")
    return run_id


def _signature(features: Features) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    columns = [ColSpec(DataType.double, name, required=False) for name in features.numeric]
    columns += [ColSpec(DataType.string, name, required=False) for name in features.categorical]
    return ModelSignature(inputs=Schema(columns))
