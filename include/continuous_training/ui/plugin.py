"""The plugin that Airflow finds by this package's entry point."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from continuous_training import __version__
from continuous_training.provider import alerts, listener
from continuous_training.ui import routes

STATIC = f"{routes.PREFIX.removeprefix('/')}/static"
"""Relative to Airflow's own address, whatever is before it."""


def _page(name: str, route: str, destination: str, script: str) -> dict[str, Any]:
    return {
        "name": name,
        "url_route": route,
        "destination": destination,
        # a new version is never answered from a browser's memory
        "bundle_url": f"{STATIC}/{script}?v={__version__}",
    }


class ContinuousTraining(AirflowPlugin):
    """Show what models do and why, take alerts that ask for a retraining, and write down that a training's DAG run failed."""

    name = "continuous_training"
    listeners = [listener]  # noqa: RUF012 - Airflow declares it so
    fastapi_apps = [  # noqa: RUF012 - Airflow declares it so
        # the longer address first: the other begins like it
        {"app": routes.app, "url_prefix": routes.PREFIX, "name": "Continuous training: pages"},
        {"app": alerts.app, "url_prefix": alerts.PREFIX, "name": "Continuous training: alerts"},
    ]
    react_apps = [  # noqa: RUF012 - Airflow declares it so
        {
            **_page("Models", "models", "nav", "models.js"),
            "nav_top_level": True,
            "icon": f"{STATIC}/models.svg",
            "icon_dark_mode": f"{STATIC}/models-dark.svg",
        },
        _page("Drift", "drift", "dag", "drift.js"),
        _page("Champions", "champions", "dag", "champions.js"),
        _page("Decision", "decision", "dag_run", "decision.js"),
    ]
