"""Every work step of the flights model as a pod of a real cluster, started by a real Airflow's KubernetesPodOperator."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flights
import pandas as pd
import pytest
import yaml

import small_model
from continuous_training.deployers.planes import work_plane
from continuous_training.ledger import Ledger
from continuous_training.settings import Settings
from services import Airflow, Services, wait_until

pytestmark = [pytest.mark.kubernetes, pytest.mark.docker, pytest.mark.e2e]

WORK = ("collect", "validate", "prepare", "train", "evaluate")
ENDED = {"success", "failed"}
RUN_SECONDS = 600
FLIGHTS = Path(__file__).resolve().parents[2] / "include" / "models" / "flight_delays.yaml"
MODEL = "flight_delays"


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

    def run(self, dag_id: str, run_id: str, **conf: Any) -> Run:
        self.airflow.trigger(dag_id, conf, run_id).raise_for_status()

        def ended() -> bool:
            return self.airflow.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"] in ENDED

        run = Run(self.airflow, dag_id, run_id)
        try:
            wait_until(ended, f"the end of {dag_id} {run_id}", RUN_SECONDS)
        except TimeoutError as error:
            stuck = [name for name, state in run.states.items() if state in {"running", "up_for_retry", "failed"}]
            raise AssertionError("\n".join([str(run.states), *(run.log(name)[-2000:] for name in stuck)])) from error
        return run


def model_file(folder: Path, document: dict[str, Any], namespace: Any, image: str) -> None:
    """Write a model with a runner in the namespace; its folder is at the same place in pods and outside."""
    runner = {
        "kind": "kubernetes", "image": image, "namespace": namespace.name, "resources": {"cpu": "1", "memory": "1Gi"},
        "volumes": [{"claim": namespace.claim, "path": str(namespace.folder)}], "startup": "3 minutes",
    }  # fmt: skip
    text = yaml.safe_dump({**document, "deployment": {"kind": "none"}, "runner": runner}, sort_keys=False)
    (folder / f"{document['model']}.yaml").write_text(text)


@pytest.fixture(scope="module")
def deployment(namespace: Any, work_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    kept = dict(os.environ)
    plane = work_plane(namespace.name, airflow=namespace.name)
    account = namespace.account("airflow-worker", plane, tmp_path_factory.mktemp("kube") / "config")
    home = namespace.folder / "home"
    models = tmp_path_factory.mktemp("models")
    of_flights = yaml.safe_load(FLIGHTS.read_text())
    del of_flights["retraining"]["schedule"], of_flights["retraining"]["timezone"]  # no run but those of the tests
    model_file(models, of_flights, namespace, work_image)
    model_file(models, small_model.document("few", min_rows=1_000_000), namespace, work_image)
    os.environ["KUBECONFIG"] = str(account)  # from here on with exactly the rights that `ct manifests` prints
    mask = os.umask(0)  # pods are user 10001, this test is another
    small_model.land(home, days=45)
    start, end = (pd.Timestamp(day, tz="UTC") for day in ("2013-01-01", "2013-03-03"))
    flights.land(flights.flights(), home / "data" / "flights", start, end)
    try:
        with InPods(home, model_files=models) as services:
            airflow = services.airflow()
            for dag_id in (f"{MODEL}.train", "few.train"):
                wait_until(lambda dag_id=dag_id: airflow.dag_exists(dag_id), f"the DAG {dag_id}", RUN_SECONDS)
                airflow.unpause(dag_id)
            yield Deployment(airflow, namespace)
    finally:
        os.umask(mask)
        os.environ.clear()
        os.environ.update(kept)


@pytest.fixture(scope="module")
def trained(deployment: Deployment) -> Run:
    return deployment.run(f"{MODEL}.train", "first", trials=0)


def test_every_work_step_is_a_pod_and_the_champion_stands(deployment: Deployment, trained: Run) -> None:
    assert set(trained.states.values()) == {"success"}, trained.states
    ledger = Ledger(Settings.from_environment().ledger)
    assert ledger.champion(MODEL).fence == 1
    for step in WORK:
        assert "ct-flight-delays-" in trained.log(step)


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
    airflow.trigger(f"{MODEL}.train", {"force": True}, "cancelled").raise_for_status()

    def running() -> bool:
        return any(pod.status.phase == "Running" for pod in deployment.namespace.pods(model=MODEL))

    wait_until(running, "a running pod", RUN_SECONDS)
    airflow.change(f"/dags/{MODEL}.train/dagRuns/cancelled", {"state": "failed"})
    wait_until(lambda: not deployment.namespace.pods(model=MODEL), "the end of the pod", RUN_SECONDS)
