"""What Airflow is told about this provider. Nothing is imported here: Airflow reads it at every start."""

from typing import Any

from continuous_training import __version__

_OPTIONS = {
    "home": "Folder of this deployment for everything local: caches, the serving state, the default ledger.",
    "models": "Folder of the model files.",
    "artefacts": "URL of the artefact store; any fsspec URL. A connection of type continuous_training takes precedence.",
    "ledger": "SQLAlchemy URL of the ledger. A connection of type continuous_training takes precedence.",
    "locations": "JSON object: the URLs that {names} in the paths of model files stand for.",
    "allowed": "JSON object: the images, namespaces, secrets and other names that model files may use; any by default.",
    "registry": "MLflow tracking URI. A connection of type mlflow takes precedence.",
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form Airflow's schema asks for."""
    module = "continuous_training.provider"
    return {
        "package-name": "airflow-provider-continuous-training",
        "name": "Continuous Training",
        "description": "Retrain models on schedule, drift, performance or demand; promote only what is shown to be better.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": "Continuous Training", "external-doc-url": "", "tags": ["software"]},
        ],
        "operators": [
            {
                "integration-name": "Continuous Training",
                "python-modules": [
                    f"{module}.operators",
                    f"{module}.work_pod",
                    f"{module}.deploy_pod",
                    f"{module}.approval",
                ],
            },
        ],
        "sensors": [{"integration-name": "Continuous Training", "python-modules": [f"{module}.sensors"]}],
        "hooks": [{"integration-name": "Continuous Training", "python-modules": [f"{module}.hooks"]}],
        "triggers": [{"integration-name": "Continuous Training", "python-modules": [f"{module}.triggers"]}],
        "connection-types": _connection_types(module),
        "extra-links": [
            f"{module}.links.MLflowRunLink",
            f"{module}.links.ModelVersionLink",
            f"{module}.links.DataDocsLink",
            f"{module}.links.ModelCardLink",
            f"{module}.links.DriftReportLink",
            f"{module}.links.DashboardLink",
        ],
        "config": {
            "continuous_training": {
                "description": "Where Continuous Training keeps things; the CT_* environment variables are the defaults.",
                "options": _options(),
            }
        },
    }


def _connection_types(module: str) -> list[dict[str, Any]]:
    return [
        {
            "connection-type": "continuous_training",
            "hook-class-name": f"{module}.hooks.ContinuousTrainingHook",
            "hook-name": "Continuous Training",
            "ui-field-behaviour": {
                "hidden-fields": ["schema", "login", "port", "extra"],
                "relabeling": {"host": "Artefact store URL", "password": "Ledger URL"},
                "placeholders": {
                    "host": "s3://bucket/prefix",
                    "password": "postgresql+psycopg://user:password@host/ledger",
                },
            },
        },
        {
            "connection-type": "mlflow",
            "hook-class-name": f"{module}.hooks.MLflowHook",
            "hook-name": "MLflow",
            "ui-field-behaviour": {
                "hidden-fields": ["schema", "port", "extra"],
                "relabeling": {"host": "Tracking URI", "login": "User", "password": "Password or token"},
                "placeholders": {"host": "https://mlflow.example.com"},
            },
            "conn-fields": {
                "public_url": {
                    "label": "URL for people's browsers, when it differs from the tracking URI",
                    "schema": {"type": ["string", "null"]},
                }
            },
        },
    ]


def _options() -> dict[str, dict[str, Any]]:
    return {name: _option(text, sensitive=name == "ledger") for name, text in _OPTIONS.items()} | {
        "poll_seconds": _option("Seconds between two looks of the watch DAGs at their sources.", "float", "60"),
        "dashboards": _option("URL of Grafana for people's browsers; without one nothing leads there."),
        "alert_token": _option(
            "Bearer token that Alertmanager shows when its alerts ask for retrainings; without one none are taken.",
            sensitive=True,
        ),
    }


def _option(text: str, kind: str = "string", default: str = "", *, sensitive: bool = False) -> dict[str, Any]:
    return {
        "description": text,
        "version_added": "0.1.0",
        "type": kind,
        "example": None,
        "default": default,
        "sensitive": sensitive,
    }
