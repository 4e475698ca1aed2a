"""The deploy step as a pod of a real cluster, started by an account that may not touch what serves."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from kubernetes.client import AppsV1Api
from kubernetes.client.exceptions import ApiException

import small_deployment
from airflow_worker import Worker, dag_run
from continuous_training.deployers.planes import DEPLOYER, serving_plane, work_plane
from continuous_training.provider.pods import deploy_task
from kubernetes import config

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kubernetes, pytest.mark.docker]

SIDECAR = os.environ.get("CT_TEST_BASE_IMAGE", "python:3.11-slim-bookworm")


def test_a_champion_is_deployed_by_a_pod_and_the_worker_needs_no_right_to(
    namespace: Any, work_image: str, serve_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {
        "namespace": namespace.name, "startup": "60 seconds",
        "volumes": [{"claim": namespace.claim, "path": str(namespace.folder)}],
    }  # fmt: skip
    runner = {"kind": "kubernetes", "image": work_image, "resources": {"cpu": "100m", "memory": "1Gi"}, **where}
    deployment = {
        "kind": "kubernetes", "via": "pod", "image": serve_image, "replicas": {"min": 1, "max": 2},
        "resources": {"cpu": "100m", "memory": "256Mi"}, **where,
    }  # fmt: skip
    spec = small_deployment.spec(runner=runner, deployment=deployment)
    whole = small_deployment.Deployment(namespace.folder / "whole")
    whole.land(45)
    run, done = whole.train(spec, until="promote")
    for path in [namespace.folder, *namespace.folder.rglob("*")]:
        path.chmod(0o755)
    namespace.account(DEPLOYER, serving_plane(namespace.name, via="pod", work=namespace.name), tmp_path / "of-the-pod")
    worker = namespace.account(
        "airflow-worker", work_plane(namespace.name, airflow=namespace.name), tmp_path / "config"
    )
    monkeypatch.setenv("KUBECONFIG", str(worker))
    monkeypatch.setenv("CT_HOME", str(whole.home))
    apps = AppsV1Api(config.new_client_from_config(str(worker)))
    with pytest.raises(ApiException, match="cannot get resource"):
        apps.read_namespaced_deployment("m", namespace.name)

    planned = {"run": run.model_dump(mode="json"), "artefacts": whole.settings.artefacts}
    airflow = Worker(
        run=dag_run("deployed"),
        xcoms={("plan", "return_value"): {"facts": planned}, ("promote", "return_value"): {"facts": done["promote"].facts}},
        connections={
            "kubernetes_default": {"conn_type": "kubernetes", "extra": json.dumps({"xcom_sidecar_container_image": SIDECAR})}
        },
    )  # fmt: skip
    with DAG("m.train", schedule=None):
        task = deploy_task(spec)
    outcome = airflow.do_all(task)
    assert outcome.state == "success", outcome.error
    url = f"http://m.{namespace.name}.svc"
    assert airflow.result("deploy")["facts"] == {"outcome": "deployed", "url": url, "version": "1", "fence": 1}
    assert whole.ledger.champion("m").serving == url
    labels = "app.kubernetes.io/instance=m"
    [server] = namespace.api.list_namespaced_pod(namespace.name, label_selector=labels).items
    assert server.status.container_statuses[0].ready
