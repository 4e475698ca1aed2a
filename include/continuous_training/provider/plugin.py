"""The plugin that Airflow finds by this package's entry point."""

from airflow.plugins_manager import AirflowPlugin

from continuous_training.provider import alerts


class ContinuousTraining(AirflowPlugin):
    """Take alerts that ask for a retraining."""

    name = "continuous_training"
    fastapi_apps = [  # noqa: RUF012 - Airflow declares it so
        {"app": alerts.app, "url_prefix": alerts.PREFIX, "name": "Continuous training: alerts"}
    ]
