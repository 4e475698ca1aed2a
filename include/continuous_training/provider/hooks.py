"""Connections: where this deployment keeps things, and its MLflow server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, conf
from airflow.sdk.exceptions import AirflowNotFoundException

from continuous_training.core.errors import UsageError
from continuous_training.provider.links import browser_url
from continuous_training.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from mlflow import MlflowClient

    from continuous_training.spec import ModelSpec

_OPTIONS = {
    "home": "CT_HOME",
    "models": "CT_MODELS",
    "artefacts": "CT_ARTEFACTS",
    "ledger": "CT_LEDGER",
    "locations": "CT_LOCATIONS",
    "allowed": "CT_ALLOWED",
    "registry": "MLFLOW_TRACKING_URI",
}


def configured_settings() -> Settings:
    """Return the settings of Airflow's section `[continuous_training]`; what is not set there comes from the environment.

    No connection is read, so this is safe while a DAG file is parsed.
    """
    configured = {
        # What a command prints (`ledger_cmd`) ends with a line break.
        variable: conf.get("continuous_training", option, fallback="").strip()
        for option, variable in _OPTIONS.items()
    }
    return Settings.from_environment({**os.environ, **{name: value for name, value in configured.items() if value}})


def configured_registry_page() -> str | None:
    """Return the registry's URL for people's browsers, or `None` when it has no web page.

    `MLFLOW_PUBLIC_URL` says it where browsers reach the server by another name than Airflow does.
    """
    return browser_url(os.environ.get("MLFLOW_PUBLIC_URL") or configured_settings().registry)


def configured_poll_seconds() -> float:
    """Return the time between two looks of the watch DAGs at their sources."""
    return conf.getfloat("continuous_training", "poll_seconds", fallback=60.0)


def configured_airflow() -> str:
    """Return where people's browsers reach this Airflow; empty where it is not said, and links begin at its root."""
    return str(conf.get("api", "base_url", fallback=""))


def configured_dashboards() -> str:
    """Return where people's browsers reach Grafana; empty where there is none."""
    return str(conf.get("continuous_training", "dashboards", fallback="")).strip()


def configured_alert_token() -> str:
    """Return what those must show who ask for retrainings by alerts; empty where nobody may."""
    return str(conf.get("continuous_training", "alert_token", fallback="")).strip()


class ContinuousTrainingHook(BaseHook):
    """The artefact store and the ledger of this deployment.

    Parameters
    ----------
    continuous_training_conn_id:
        Connection whose host is the artefact store's URL and whose password is the ledger's URL. Where the default
        one does not exist the configuration section `[continuous_training]` and the environment say where things are.
    mlflow_conn_id:
        Connection of the registry, likewise.
    """

    conn_name_attr = "continuous_training_conn_id"
    default_conn_name = "continuous_training_default"
    conn_type = "continuous_training"
    hook_name = "Continuous Training"

    def __init__(
        self,
        continuous_training_conn_id: str = default_conn_name,
        mlflow_conn_id: str = "mlflow_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.continuous_training_conn_id = continuous_training_conn_id
        self.mlflow_conn_id = mlflow_conn_id

    def get_conn(self) -> Settings:
        """Return the settings of this deployment with what the connections say."""
        configured = configured_settings()
        connection = _find(ContinuousTrainingHook, self.continuous_training_conn_id)
        changes: dict[str, Any] = {}
        if connection is not None:
            changes |= {"artefacts": connection.host} if connection.host else {}
            changes |= {"ledger": connection.password} if connection.password else {}
        registry = MLflowHook(self.mlflow_conn_id).tracking_uri()
        changes |= {"registry": registry} if registry else {}
        return configured.model_copy(update=changes)

    def test_connection(self) -> tuple[bool, str]:
        """Write to the artefact store and open the ledger."""
        from continuous_training.core.errors import ContinuousTrainingError
        from continuous_training.ledger import Ledger
        from continuous_training.storage import Store

        try:
            settings = self.get_conn()
            Store(settings.artefacts).put(b"continuous training can write here")
            Ledger(settings.ledger)
        except ContinuousTrainingError as error:
            return False, str(error)
        return True, "The artefact store takes objects and the ledger opens"


class MLflowHook(BaseHook):
    """An MLflow server.

    Parameters
    ----------
    mlflow_conn_id:
        Connection whose host is the tracking URI; login and password, or a password alone as a token, are optional.
    """

    conn_name_attr = "mlflow_conn_id"
    default_conn_name = "mlflow_default"
    conn_type = "mlflow"
    hook_name = "MLflow"

    def __init__(self, mlflow_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mlflow_conn_id = mlflow_conn_id

    def tracking_uri(self) -> str | None:
        """Return the tracking URI of the connection, or `None` when the connection does not exist or names none.

        Raises
        ------
        UsageError
            The host is a name without a scheme, or holds credentials, which would show up in links and errors.
        """
        connection = _find(MLflowHook, self.mlflow_conn_id)
        if connection is None or not connection.host:
            return None
        scheme, _, place = connection.host.partition("://")
        if not place or "@" in place.partition("/")[0]:
            msg = (
                f"connection {self.mlflow_conn_id}: the host is not a plain tracking URI (it begins with {scheme[:20]!r}); "
                "write it with its scheme and without credentials, for example https://mlflow.example.com:5000, and user "
                "and password or token in their own fields; a retry gives the same"
            )
            raise UsageError(msg)
        return str(connection.host)

    def public_url(self) -> str | None:
        """Return the URL for people's browsers, or `None` when the registry has no web page."""
        connection = _find(MLflowHook, self.mlflow_conn_id)
        named = connection.extra_dejson.get("public_url") if connection is not None else None
        own = named or self.tracking_uri()
        return browser_url(str(own)) if own else configured_registry_page()

    def environment(self) -> dict[str, str]:
        """Return the variables MLflow's client reads its credentials from."""
        connection = _find(MLflowHook, self.mlflow_conn_id)
        if connection is None or not connection.password:
            return {}
        if connection.login:
            return {"MLFLOW_TRACKING_USERNAME": connection.login, "MLFLOW_TRACKING_PASSWORD": connection.password}
        return {"MLFLOW_TRACKING_TOKEN": connection.password}

    def get_conn(self) -> MlflowClient:
        """Return a client of the server."""
        os.environ.update(self.environment())
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri() or configured_settings().registry)

    def test_connection(self) -> tuple[bool, str]:
        """Ask the server for one registered model."""
        from mlflow.exceptions import MlflowException

        # Somebody waits before a button; the client's own limits are minutes.
        os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
        try:
            self.get_conn().search_registered_models(max_results=1)
        except UsageError as error:
            return False, str(error)
        except MlflowException as error:
            return False, f"MLflow does not answer: {str(error)[:300]}"
        return True, "MLflow answers"


def source_environment(spec: ModelSpec) -> dict[str, str]:
    """Return the variable that holds the connection of the model's source, if it names one."""
    conn_id = getattr(spec.source, "conn_id", None)
    if conn_id is None:
        return {}
    return {f"AIRFLOW_CONN_{conn_id.upper()}": BaseHook.get_connection(conn_id).get_uri()}


def _find(hook: type[ContinuousTrainingHook | MLflowHook], conn_id: str) -> Connection | None:
    """Return a connection; only the one with the default name may be missing, another was named on purpose."""
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        if conn_id == hook.default_conn_name:
            return None
        raise
