"""Links of this deployment in Airflow's navigation."""

from airflow.plugins_manager import AirflowPlugin

from continuous_training.provider.hooks import configured_dashboards, configured_registry_page
from continuous_training.provider.links import browser_url

PLACES = {"MLflow": configured_registry_page(), "Grafana": browser_url(configured_dashboards())}


class DeploymentLinks(AirflowPlugin):
    """The MLflow server and the dashboards beside this Airflow."""

    name = "deployment_links"
    external_views = [  # noqa: RUF012 - Airflow declares it so
        {"name": name, "href": place, "url_route": name.lower(), "destination": "nav"}
        for name, place in PLACES.items()
        if place
    ]
