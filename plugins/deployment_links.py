"""Links of this deployment in Airflow's navigation."""

from airflow.plugins_manager import AirflowPlugin

from continuous_training.provider.hooks import configured_registry_page

REGISTRY = configured_registry_page()


class DeploymentLinks(AirflowPlugin):
    """The MLflow server beside this Airflow."""

    name = "deployment_links"
    external_views = (
        [{"name": "MLflow", "href": REGISTRY, "url_route": "mlflow", "destination": "nav"}] if REGISTRY else []
    )
