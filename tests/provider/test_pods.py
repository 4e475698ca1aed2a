"""The pods of work steps: rendered by Airflow as in a task, valid for Kubernetes, and without privileges."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes_validate import utils as kubernetes
from pydantic import ValidationError

import small_model
from continuous_training.core.run import Run
from continuous_training.provider.dags import build_train_dag, build_watch_dag
from continuous_training.provider.hooks import configured_settings
from continuous_training.provider.pods import USER, pod_arguments
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec
from continuous_training.steps import STEPS
from pod_parts import IMAGE, RUNNER, environment, planned, sent

pytestmark = pytest.mark.provider

WORK = [name for name, step in STEPS.items() if step.plane == "work"]
HOSTILE = 'it\'s "late" {{ 7*7 }} {% raw %}{# no #} \\n \n\t $(PATH) ${HOME} `id` </script> ü 🙂'
CANARY = "canary-ab12"


def pod(spec: ModelSpec | None = None, step: str = "train", plan: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the pod of a step as Kubernetes would be sent it."""
    spec = spec or small_model.spec(runner=RUNNER)
    return sent(spec.model, step, pod_arguments(spec, step, configured_settings()), plan)


@pytest.mark.parametrize("step", WORK)
def test_the_pod_of_every_work_step_is_valid_for_the_newest_kubernetes(step: str) -> None:
    kubernetes.validate(pod(step=step), kubernetes.latest_version(), strict=True)


@pytest.mark.parametrize("version", sorted({*kubernetes.all_versions()})[-3:])
def test_the_pod_is_valid_for_every_kubernetes_that_is_supported(version: str) -> None:
    kubernetes.validate(pod(), version, strict=True)


def test_every_container_of_the_pod_passes_the_restricted_pod_security_standard() -> None:
    spec = pod()["spec"]
    assert {container["name"] for container in spec["containers"]} == {"base", "airflow-xcom-sidecar"}
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == USER > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec.get("hostNetwork")
    assert not {"hostPID", "hostIPC"} & set(spec)
    assert not spec.get("initContainers")
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert not {"privileged", "runAsUser", "seccompProfile", "procMount"} & set(context)  # none undoes the pod's


def test_the_pod_can_write_to_empty_folders_only_and_knows_nobody_in_the_cluster() -> None:
    spec = pod()["spec"]
    assert {tuple(volume) for volume in spec["volumes"]} == {("emptyDir", "name")}
    mounts = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts == {"/work", "/tmp", "/airflow/xcom"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "Never"


def test_nodes_taints_priority_and_queue_are_what_the_scheduler_is_asked_for_and_the_pod_stays_valid() -> None:
    placed = {
        "nodes": [{"key": "zone", "values": ["a", "b"]}, {"key": "example.com/disk", "values": ["ssd"], "weight": 7}],
        "tolerations": [{"key": "spot", "effect": "NoSchedule"}, {"key": "team", "value": "ml"}],
        "priority_class": "batch",
        "queue": "nightly",
    }
    rendered = pod(small_model.spec(runner=RUNNER | placed))
    kubernetes.validate(rendered, "1.33", strict=True)
    spec = rendered["spec"]
    terms = spec["affinity"]["nodeAffinity"]
    [needed] = terms["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    [preferred] = terms["preferredDuringSchedulingIgnoredDuringExecution"]
    assert needed["matchExpressions"] == [{"key": "zone", "operator": "In", "values": ["a", "b"]}]
    assert preferred["preference"]["matchExpressions"] == [
        {"key": "example.com/disk", "operator": "In", "values": ["ssd"]}
    ]
    assert preferred["weight"] == 7
    assert spec["tolerations"] == [
        {"key": "spot", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "team", "operator": "Equal", "value": "ml"},
    ]
    assert spec["priorityClassName"] == "batch"
    assert rendered["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "nightly"


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": [{"key": "zone", "values": []}]},
        {"nodes": [{"key": "zone{{", "values": ["a"]}]},
        {"nodes": [{"key": "zone", "values": ["a"], "weight": 101}]},
        {"tolerations": [{"key": "spot", "effect": "Never"}]},
        {"priority_class": "System"},
        {"queue": "a/b"},
        {"security_context": {"privileged": True}},
    ],
)
def test_what_kubernetes_would_refuse_and_what_would_give_rights_cannot_be_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        small_model.spec(runner=RUNNER | wrong)


def test_claims_are_folders_of_the_pod_and_the_pod_stays_valid() -> None:
    volumes = [{"claim": "lake", "path": "/data/lake", "read_only": True}, {"claim": "store", "path": "/store"}]
    rendered = pod(small_model.spec(runner=RUNNER | {"volumes": volumes}))
    kubernetes.validate(rendered, "1.33", strict=True)
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in rendered["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    mounts = {
        mount["mountPath"]: (claims.get(mount["name"]), mount.get("readOnly", False))
        for mount in rendered["spec"]["containers"][0]["volumeMounts"]
    }
    assert (mounts["/data/lake"], mounts["/store"]) == (("lake", True), ("store", False))
    assert {"/work", "/tmp"} < mounts.keys()


@pytest.mark.parametrize("path", ["/work", "/tmp", "/airflow/xcom", "/opt/ct", "relative", "/a/../b", "/"])
def test_a_claim_cannot_hide_a_folder_of_the_pod(path: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        small_model.spec(runner=RUNNER | {"volumes": [{"claim": "store", "path": path}]})


def test_pods_are_started_with_the_file_in_kubeconfig_as_kubectl_does(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = small_model.spec(runner=RUNNER)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert pod_arguments(spec, "train", configured_settings())["config_file"] is None
    monkeypatch.setenv("KUBECONFIG", "/etc/kube/config")
    assert pod_arguments(spec, "train", configured_settings())["config_file"] == "/etc/kube/config"


def test_the_step_gets_what_it_asks_for_and_no_more() -> None:
    resources = {"cpu": "1500m", "memory": "3Gi"}
    (base, _) = pod(small_model.spec(runner={**RUNNER, "resources": resources}))["spec"]["containers"]
    assert base["resources"] == {"requests": resources, "limits": resources}
    assert base["command"] == ["ct", "step", "train"]
    assert base["image"] == IMAGE


def test_a_secret_is_named_and_cannot_replace_what_the_step_is_told() -> None:
    (base, _) = pod(small_model.spec(runner={**RUNNER, "secret": "ct-store", "service_account": "ct"}))["spec"][
        "containers"
    ]
    assert base["envFrom"] == [{"secretRef": {"name": "ct-store"}}]
    # Kubernetes lets `env` win over `envFrom`, so everything that steers the step must stand in `env`.
    assert {"CT_SPEC", "CT_RUN", "CT_RESULT", "CT_ARTEFACTS", "CT_LOCATIONS", "CT_HOME"} <= {
        variable["name"] for variable in base["env"]
    }


def test_the_pod_is_told_neither_the_ledger_nor_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_LEDGER", f"postgresql://ct:{CANARY}@db/ledger")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://ct:{CANARY}@mlflow.example.com")
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", f"mlflow://ct:{CANARY}@https%3A%2F%2Fmlflow.example.com")
    shown = pod()
    assert CANARY not in json.dumps(shown)
    assert not {"CT_LEDGER", "MLFLOW_TRACKING_URI"} & set(environment(shown))


def test_the_step_keeps_its_artefacts_where_the_plan_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_ARTEFACTS", "/elsewhere")  # a connection may say otherwise, and only the plan has seen it
    assert environment(pod())["CT_ARTEFACTS"] == "s3://bucket/artefacts"


def test_what_the_step_is_told_is_what_the_step_reads() -> None:
    spec = small_model.spec(runner=RUNNER, description=HOSTILE)
    told = environment(pod(spec))
    assert ModelSpec.model_validate_json(told["CT_SPEC"]) == spec
    assert Run.model_validate_json(told["CT_RUN"]) == Run.model_validate(planned()["facts"]["run"])
    assert "$" not in told["CT_SPEC"]
    settings = Settings.from_environment(told)
    assert (settings.home, settings.artefacts) == ("/work", "s3://bucket/artefacts")
    assert told["CT_RESULT"] == "/airflow/xcom/return.json"


@pytest.mark.parametrize(
    "text", [HOSTILE, "{{ 7*7 }}", "{% for x in y %}", "}}", "'", '"', "\\", "\n", "$(CT_SPEC)", ""]
)
def test_what_people_write_as_a_reason_is_neither_evaluated_nor_changed(text: str) -> None:
    told = environment(pod(plan=planned(text)))
    assert "49" not in told["CT_RUN"]
    assert "$" not in told["CT_RUN"]  # Kubernetes replaces $(NAME), also by what a secret holds
    assert Run.model_validate_json(told["CT_RUN"]).reason.text == text


@pytest.mark.parametrize("model", ["m", "a_", "a" * 63, "a_" * 31, "x__y"])
def test_every_model_name_gives_a_valid_pod_name_and_valid_labels(model: str) -> None:
    metadata = pod(small_model.spec(model, runner=RUNNER), step="validate")["metadata"]
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", metadata["name"])
    assert metadata["name"].startswith("ct-")
    for name, value in metadata["labels"].items():
        assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", value), name
    assert (metadata["labels"]["app"], metadata["labels"]["step"]) == ("continuous-training", "validate")


@pytest.mark.parametrize("build", [build_train_dag, build_watch_dag])
def test_a_pod_outlives_its_worker_and_waits_in_the_triggerer(build: Any) -> None:
    pods = [task for task in build(small_model.spec(runner=RUNNER)).tasks if isinstance(task, KubernetesPodOperator)]
    assert pods
    for task in pods:
        assert task.deferrable
        assert task.durable
        assert task.do_xcom_push
        assert task.retries >= 1
        assert task.startup_timeout_seconds == 600
        assert task.namespace == "default"


def test_the_result_of_the_pod_is_what_later_tasks_read(tmp_path: Path) -> None:
    # The sidecar hands over the file; promote reads the evaluate step's manifest, so only the shape matters here.
    (base, sidecar) = pod()["spec"]["containers"]
    (shared,) = {mount["mountPath"] for mount in sidecar["volumeMounts"]}
    assert shared in {mount["mountPath"] for mount in base["volumeMounts"]}
    assert environment(pod())["CT_RESULT"].startswith(shared)
