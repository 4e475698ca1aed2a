"""Every work step of a model as a pod of a real cluster, started by a real Airflow's KubernetesPodOperator."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import small_model
from continuous_training.deployers.planes import work_plane
from continuous_training.ledger import Ledger
from continuous_training.settings import Settings
from services import Airflow, Services, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kubernetes, pytest.mark.docker, pytest.mark.e2e]

WORK = ("collect", "validate", "prepare", "train", "evaluate")
ENDED = {"success", "failed"}
RUN_SECONDS = 400


class InPods(Services):
    """Services whose Airflow knows the image of the sidecar, which no registry can be asked for."""

    def _environment(self) -> dict[str, str]:
        connection = {
            "conn_type": "kubernetes",
            "extra": {"xcom_sidecar_container_image": os.environ.get("CT_TEST_BASE_IMAGE", "alpine")},
        }
        return super()._environment() | {"AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(connection)}


@dataclass
class Run:
    """One DAG run that has ended."""

    airflow: Airflow
    dag_id: str
    run_id: str

    @property
    def states(self) -> dict[str, str]:
        return {name: task["state"] for name, task in self.airflow.tasks(self.dag_id, self.run_id).items()}

    def log(self, task: str) -> str:
        """Return all that is logged, the texts of errors too."""
        attempt = self.airflow.tasks(self.dag_id, self.run_id)[task]["try_number"]
        return json.dumps(
            self.airflow.get(f"/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/{task}/logs/{attempt}")
        )


@dataclass
class Deployment:
    """A model whose work runs in pods."""

    airflow: Airflow
    namespace: Any

    def run(self, dag_id: str, run_id: str) -> Run:
        self.airflow.trigger(dag_id, {}, run_id).raise_for_status()

        def ended() -> bool:
            return self.airflow.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"] in ENDED

        run = Run(self.airflow, dag_id, run_id)
        try:
            wait_until(ended, f"the end of {dag_id} {run_id}", RUN_SECONDS)
        except TimeoutError as error:
            stuck = [name for name, state in run.states.items() if state in {"running", "up_for_retry", "failed"}]
            raise AssertionError("\n".join([str(run.states), *(run.log(name)[-2000:] for name in stuck)])) from error
        return run


def model_file(folder: Path, name: str, namespace: Any, image: str, **changes: Any) -> None:
    """Write the small model with a runner in the namespace; its folder is at the same place in pods and outside."""
    runner = {
        "kind": "kubernetes", "image": image, "namespace": namespace.name, "resources": {"cpu": "500m", "memory": "1Gi"},
        "volumes": [{"claim": namespace.claim, "path": str(namespace.folder)}], "startup": "3 minutes",
    }  # fmt: skip
    document = small_model.document(name, **{"runner": runner, **changes})
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


@pytest.fixture(scope="module")
def deployment(namespace: Any, work_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    kept = dict(os.environ)
    plane = work_plane(namespace.name, airflow=namespace.name)
    account = namespace.account("airflow-worker", plane, tmp_path_factory.mktemp("kube") / "config")
    home = namespace.folder / "home"
    models = tmp_path_factory.mktemp("models")
    model_file(models, "m", namespace, work_image)
    model_file(models, "few", namespace, work_image, min_rows=1_000_000)
    os.environ["KUBECONFIG"] = str(account)  # from here on with exactly the rights that `ct manifests` prints
    mask = os.umask(0)  # pods are user 10001, this test is another
    small_model.land(home, days=45)
    try:
        with InPods(home, model_files=models) as services:
            airflow = services.airflow()
            for dag_id in ("m.train", "few.train"):
                wait_until(lambda dag_id=dag_id: airflow.dag_exists(dag_id), f"the DAG {dag_id}", RUN_SECONDS)
                airflow.unpause(dag_id)
            yield Deployment(airflow, namespace)
    finally:
        os.umask(mask)
        os.environ.clear()
        os.environ.update(kept)


@pytest.fixture(scope="module")
def trained(deployment: Deployment) -> Run:
    return deployment.run("m.train", "first")


def test_every_work_step_is_a_pod_and_the_champion_stands(deployment: Deployment, trained: Run) -> None:
    assert set(trained.states.values()) == {"success"}, trained.states
    ledger = Ledger(Settings.from_environment().ledger)
    assert ledger.champion("m").fence == 1
    for step in WORK:
        assert "ct-m-" in trained.log(step)


def test_pods_that_succeeded_are_gone(deployment: Deployment, trained: Run) -> None:
    assert trained.states["promote"] == "success"

    def gone() -> bool:  # a pod is listed for a moment after it was deleted
        return not [pod for pod in deployment.namespace.pods() if pod.status.phase == "Succeeded"]

    wait_until(gone, "the end of the pods that succeeded", 60)


def test_data_that_cannot_be_used_is_not_tried_again_and_says_why(deployment: Deployment) -> None:
    run = deployment.run("few.train", "first")
    states = run.states
    [failed] = [name for name, state in states.items() if state == "failed"]
    assert run.airflow.tasks("few.train", "first")[failed]["try_number"] == 1
    assert "1,000,000" in run.log(failed)


def test_a_run_that_somebody_fails_takes_its_pod_with_it(deployment: Deployment, trained: Run) -> None:
    assert trained.states["promote"] == "success"
    airflow = deployment.airflow
    airflow.trigger("m.train", {"force": True}, "cancelled").raise_for_status()

    def running() -> bool:
        return any(pod.status.phase == "Running" for pod in deployment.namespace.pods(model="m"))

    wait_until(running, "a running pod", RUN_SECONDS)
    airflow.change("/dags/m.train/dagRuns/cancelled", {"state": "failed"})
    wait_until(lambda: not deployment.namespace.pods(model="m"), "the end of the pod", RUN_SECONDS)
