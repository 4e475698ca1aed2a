"""Pods as Airflow would send them to a cluster.

Import this only after `airflow_home`.
"""

from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from kubernetes.client import ApiClient

from airflow_worker import Worker, dag_run
from continuous_training.core.run import Run

IMAGE = "registry.example.com/ct@sha256:" + "0" * 64
RUNNER = {"kind": "kubernetes", "image": IMAGE}


def planned(text: str = "it drifted") -> dict[str, Any]:
    """Return what the plan step answers."""
    window = {"start": "2024-01-01T00:00:00Z", "end": "2024-02-10T00:00:00Z"}
    run = {
        "model": "m", "kind": "train", "key": "a" * 64, "as_of": "2024-02-11T00:00:00Z", "window": window, "spec_digest": "d" * 64,
        "reason": {"kind": "manual", "text": text, "episode": "manual:1"},
    }  # fmt: skip
    answer = Run.model_validate(run).model_dump(mode="json")
    return {"step": "plan", "key": "a" * 64, "facts": {"run": answer, "artefacts": "s3://bucket/artefacts"}}


class Shown(KubernetesPodOperator):
    """Returns the pod it would create."""

    def execute(self, context: Any) -> dict[str, Any]:
        self.name = self._set_name(self.name)
        return ApiClient().sanitize_for_serialization(self.build_pod_request_obj(context, dry_run=True))


def sent(model: str, step: str, arguments: dict[str, Any], plan: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the pod that a KubernetesPodOperator makes of its arguments."""
    with DAG(f"{model}.train", schedule=None):
        task = Shown(task_id=step, **arguments)
    worker = Worker(run=dag_run(), xcoms={("plan", "return_value"): plan or planned()})
    outcome = worker.do(task)
    assert outcome.state == "success", outcome.error
    made: dict[str, Any] = worker.result(step)
    return made


def environment(of: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in of["spec"]["containers"][0]["env"]}
