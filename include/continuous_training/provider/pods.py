"""A work step as a pod: the arguments of a KubernetesPodOperator, and nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from continuous_training.deployers.planes import DEPLOYER
from continuous_training.provider.hooks import configured_settings

if TYPE_CHECKING:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

    from continuous_training.runners import Kubernetes
    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec

USER = 10001
KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
XCOM_RESULT = "/airflow/xcom/return.json"
# Airflow renders both from the plan's answer when the pod starts.
PLANNED_RUN = r"{{ ti.xcom_pull(task_ids='plan')['facts']['run'] | tojson | replace('$', '\\u0024') }}"
ARTEFACTS = "{{ ti.xcom_pull(task_ids='plan')['facts']['artefacts'] }}"


def pod_task(spec: ModelSpec, step: str, **arguments: Any) -> KubernetesPodOperator:
    """Return the task that runs `step` in a pod.

    Raises
    ------
    SpecError
        The runner names what the deployment does not allow.
    """
    from continuous_training.provider.work_pod import WorkPodOperator

    settings = _settings(spec)
    return WorkPodOperator(task_id=step, **pod_arguments(spec, step, settings), **arguments)


def deploy_task(spec: ModelSpec, **arguments: Any) -> KubernetesPodOperator:
    """Return the task that deploys the champion from a pod beside those of the work steps, with an account of its own.

    Raises
    ------
    SpecError
        The runner names what the deployment does not allow.
    """
    from continuous_training.provider.deploy_pod import DeployPodOperator

    settings = _settings(spec)
    return DeployPodOperator(task_id="deploy", model=spec.model, **deploy_arguments(spec, settings), **arguments)


def _settings(spec: ModelSpec) -> Settings:
    """Return the deployment's settings, which allow what the runner names."""
    settings = configured_settings()
    assert spec.runner.kind == "kubernetes"
    settings.allowed.check(f"{spec.model}: runner", spec.runner.asked())
    return settings


def deploy_arguments(spec: ModelSpec, settings: Settings) -> dict[str, Any]:
    """Return the arguments of the KubernetesPodOperator that deploys: of all our pods this one alone may talk to the cluster."""
    arguments = pod_arguments(spec, "deploy", settings)
    allowed = literal(settings.to_environment()["CT_ALLOWED"])
    return arguments | {
        "env_vars": arguments["env_vars"] | {"CT_ALLOWED": allowed},
        "service_account_name": DEPLOYER,
        "automount_service_account_token": True,
    }


def pod_arguments(spec: ModelSpec, step: str, settings: Settings) -> dict[str, Any]:
    """Return the arguments of the KubernetesPodOperator that runs one work step.

    The pod is unprivileged and cannot write but to two empty directories; credentials come from the Secret that the
    runner names, never from the specification. The ledger and the registry are not told to it.
    """
    from kubernetes.client import models as k8s

    runner = spec.runner
    assert runner.kind == "kubernetes"
    resources = {"cpu": runner.resources.cpu, "memory": runner.resources.memory}
    secret = (
        [] if runner.secret is None else [k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=runner.secret))]
    )
    return {
        "name": f"ct-{spec.model.replace('_', '-')}-{step}",
        "namespace": runner.namespace,
        "image": runner.image,
        "cmds": ["ct", "step", step],
        "env_vars": _variables(spec, settings),
        "env_from": secret,
        "labels": _labels(spec, step, runner),
        "container_resources": k8s.V1ResourceRequirements(requests=resources, limits=resources),
        **_folders(runner),
        **_placed(runner),
        **_confined(),
        "service_account_name": runner.service_account,
        "automount_service_account_token": False,
        "startup_timeout_seconds": int(runner.startup.total_seconds()),
        "on_finish_action": "delete_succeeded_pod",
        "termination_message_policy": "FallbackToLogsOnError",
        "log_pod_spec_on_failure": False,
        # As kubectl: a file in KUBECONFIG comes before the connection and the pod's own account.
        "config_file": os.environ.get("KUBECONFIG"),
        "do_xcom_push": True,
        "deferrable": True,
        # The triggerer reads the log meanwhile; without it the log comes when the pod has ended.
        "logging_interval": 5,
        "durable": True,
        "retries": 2,
    }


def _labels(spec: ModelSpec, step: str, runner: Kubernetes) -> dict[str, str]:
    labels = {"app": "continuous-training", "model": spec.model.rstrip("_"), "step": step}
    return labels if runner.queue is None else labels | {KUEUE_QUEUE: runner.queue}


def _placed(runner: Kubernetes) -> dict[str, Any]:
    """Return on which nodes, and before which other pods, the pods of a runner run."""
    from kubernetes.client import models as k8s

    placed: dict[str, Any] = {"priority_class_name": runner.priority_class}
    if runner.tolerations:
        placed["tolerations"] = [
            k8s.V1Toleration(
                key=one.key, operator="Exists" if one.value is None else "Equal", value=one.value, effect=one.effect
            )
            for one in runner.tolerations
        ]
    if runner.nodes:
        wanted = [
            (one.weight, k8s.V1NodeSelectorRequirement(key=one.key, operator="In", values=list(one.values)))
            for one in runner.nodes
        ]
        needed = [requirement for weight, requirement in wanted if weight is None]
        preferred = [
            k8s.V1PreferredSchedulingTerm(
                weight=weight, preference=k8s.V1NodeSelectorTerm(match_expressions=[requirement])
            )
            for weight, requirement in wanted
            if weight is not None
        ]
        affinity = k8s.V1NodeAffinity(preferred_during_scheduling_ignored_during_execution=preferred or None)
        if needed:
            terms = [k8s.V1NodeSelectorTerm(match_expressions=needed)]
            affinity.required_during_scheduling_ignored_during_execution = k8s.V1NodeSelector(node_selector_terms=terms)
        placed["affinity"] = k8s.V1Affinity(node_affinity=affinity)
    return placed


def _folders(runner: Kubernetes) -> dict[str, Any]:
    """Return the two empty folders of every pod and the claims that the runner names."""
    from kubernetes.client import models as k8s

    volumes = [k8s.V1Volume(name=name, empty_dir=k8s.V1EmptyDirVolumeSource()) for name in ("work", "tmp")]
    mounts = [
        k8s.V1VolumeMount(name="work", mount_path="/work"),
        k8s.V1VolumeMount(name="tmp", mount_path="/tmp"),  # noqa: S108 - the pod's own, empty
    ]
    for number, volume in enumerate(runner.volumes):
        claim = k8s.V1PersistentVolumeClaimVolumeSource(claim_name=volume.claim, read_only=volume.read_only)
        volumes.append(k8s.V1Volume(name=f"claim-{number}", persistent_volume_claim=claim))
        mounts.append(
            k8s.V1VolumeMount(name=f"claim-{number}", mount_path=volume.path, read_only=volume.read_only or None)
        )
    return {"volumes": volumes, "volume_mounts": mounts}


def _confined() -> dict[str, Any]:
    """Return what makes both containers of a pod pass the "restricted" Pod Security standard."""
    from kubernetes.client import models as k8s

    user = k8s.V1PodSecurityContext(
        run_as_non_root=True,
        run_as_user=USER,
        run_as_group=USER,
        fs_group=USER,
        seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
    )
    unprivileged = k8s.V1SecurityContext(
        allow_privilege_escalation=False, read_only_root_filesystem=True, capabilities=k8s.V1Capabilities(drop=["ALL"])
    )
    return {
        "security_context": user,
        "container_security_context": unprivileged,
        "xcom_sidecar_container_security_context": unprivileged,
    }


def _variables(spec: ModelSpec, settings: Settings) -> dict[str, str]:
    return {
        "CT_HOME": "/work",
        "CT_ARTEFACTS": ARTEFACTS,
        "CT_LOCATIONS": literal(settings.to_environment()["CT_LOCATIONS"]),
        "CT_SPEC": literal(spec.model_dump_json()),
        "CT_RUN": PLANNED_RUN,
        "CT_RESULT": XCOM_RESULT,
        "HOME": "/work",
        "TRANSFORMERS_VERBOSITY": "error",
    }


def literal(document: str) -> str:
    """Return the same JSON in a form that both Jinja and Kubernetes, which replaces `$(NAME)`, leave as it is."""
    for special in ("$", "{{", "{%", "{#"):
        document = document.replace(special, f"{special[:-1]}\\u{ord(special[-1]):04x}")
    return document
