"""The deploy step as a pod: what it may do, what it is told, and when there is none."""

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from kubernetes_validate import utils as kubernetes
from pydantic import ValidationError

import small_deployment
import small_model
from airflow_worker import Worker, dag_run
from continuous_training.provider.dags import build_train_dag
from continuous_training.provider.deploy_pod import DeployPodOperator
from continuous_training.provider.hooks import configured_settings
from continuous_training.provider.pods import deploy_arguments, deploy_task
from pod_parts import IMAGE, RUNNER, environment, sent
from pod_security import restricted_problems

pytestmark = pytest.mark.provider

FROM_A_POD = {"kind": "kubernetes", "via": "pod", "image": IMAGE}
SPEC = small_model.spec(runner=RUNNER, deployment=FROM_A_POD)


def pod() -> dict[str, Any]:
    return sent("m", "deploy", deploy_arguments(SPEC, configured_settings()))


def deployed(*, outcome: str) -> tuple[Worker, Any]:
    """Run the task after a promote step that ended so."""
    with DAG("m.train", schedule=None):
        task = deploy_task(SPEC)
    facts = {"facts": {"outcome": outcome, "text": "no better"}}
    planned = {"facts": {"run": {}, "artefacts": "s3://bucket"}}
    worker = Worker(
        run=dag_run(), xcoms={("promote", "return_value"): facts, ("plan", "return_value"): planned}
    )  # fmt: skip
    return worker, worker.do(task)


def test_the_pod_is_valid_restricted_and_alone_has_an_account_that_may_talk_to_the_cluster() -> None:
    made = pod()
    kubernetes.validate(made, kubernetes.latest_version(), strict=True)
    assert restricted_problems(made["spec"]) == []
    assert made["spec"]["serviceAccountName"] == "continuous-training-deploy"
    assert made["spec"]["automountServiceAccountToken"] is True
    assert made["spec"]["containers"][0]["command"] == ["ct", "step", "deploy"]


def test_the_pod_is_bound_by_what_the_deployment_allows_and_knows_no_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_ALLOWED", '{"namespaces": ["serving"]}')
    told = environment(pod())
    assert told["CT_ALLOWED"] == '{"namespaces":["serving"]}'
    assert not {"CT_LEDGER", "MLFLOW_TRACKING_URI"} & told.keys()


def test_the_training_dag_deploys_from_the_pod() -> None:
    dag = build_train_dag(SPEC)
    assert isinstance(dag.task_dict["deploy"], DeployPodOperator)
    assert dag.task_dict["deploy"].upstream_task_ids == {"promote"}


def test_a_challenger_that_was_not_promoted_makes_no_pod() -> None:
    assert deployed(outcome="kept")[1].state == "skipped"


def test_without_a_champion_there_is_nothing_to_deploy_and_no_pod() -> None:
    worker, outcome = deployed(outcome="promoted")
    assert outcome.state == "success", outcome.error
    assert worker.result("deploy")["facts"]["outcome"] == "nothing to deploy"


def test_a_ledger_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CT_LEDGER", f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'ledger.db'}")
    (tmp_path / "no").write_text("a file")
    assert deployed(outcome="promoted")[1].state == "up_for_retry"


def test_a_pod_needs_the_runner_whose_pods_it_is_made_like() -> None:
    with pytest.raises(ValidationError, match=r"deployment\.via: pod needs the runner kubernetes"):
        small_deployment.spec(deployment=FROM_A_POD)
