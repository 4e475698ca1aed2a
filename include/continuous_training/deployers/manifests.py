"""The champion as objects of Kubernetes: a pure function, the same bytes for the same release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.deployers.base import Release
from continuous_training.deployers.pods import (
    LABEL,
    METRICS_PORT,
    OURS,
    PORT,
    Challenger,
    Manifest,
    ServedPods,
    labels,
    marks,
    object_name,
    plan_name,
    pod_labels,
    pod_spec,
)

if TYPE_CHECKING:
    from datetime import datetime

    from continuous_training.core.rollout import RolloutPlan
    from continuous_training.deployers.kubernetes import KubernetesService

REQUESTS_METRIC = "ct_requests_per_second"
"""Custom metric of a pod that the Prometheus adapter makes of the server's counter of requests."""
GRACE_SECONDS = 45
"""`ct serve` goes on answering for 5 seconds after it is asked to end, and needs up to 40 more to finish."""


def render(service: KubernetesService, release: Release, artefacts: str) -> list[Manifest]:
    """Return what serves `release`, for current Kubernetes: first the Deployment and the NetworkPolicy its pods need.

    The number of pods is left to the HorizontalPodAutoscaler: it belongs to whoever scales.
    """
    selector = selected(release)
    ports = [
        {"name": name, "protocol": "TCP", "port": port, "targetPort": name}
        for name, port in (("http", 80), ("metrics", METRICS_PORT))
    ]
    kinds: list[tuple[str, str, Manifest]] = [
        ("apps/v1", "Deployment", _deployment(service, release, artefacts, selector)),
        ("networking.k8s.io/v1", "NetworkPolicy", network_policy(service, release)),
        ("v1", "Service", {"selector": selector, "ports": ports}),
        ("policy/v1", "PodDisruptionBudget", {"maxUnavailable": 1, "selector": {"matchLabels": selector}}),
        ("autoscaling/v2", "HorizontalPodAutoscaler", _autoscaler(service, release)),
    ]
    if service.service_monitor:
        monitored = {
            "selector": {"matchLabels": labels(release)},
            "endpoints": [{"port": "metrics", "path": "/metrics"}],
        }
        kinds.append(("monitoring.coreos.com/v1", "ServiceMonitor", monitored))
    return [made(version, kind, service.namespace, release, spec) for version, kind, spec in kinds]


def made(version: str, kind: str, namespace: str, release: Release, spec: Manifest) -> Manifest:
    """Return one object that says whose it is and which release it serves."""
    metadata = {
        "name": object_name(release),
        "namespace": namespace,
        "labels": labels(release),
        "annotations": marks(release),
    }
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def plan_map(namespace: str, model: str, plan: RolloutPlan | None = None, now: datetime | None = None) -> Manifest:
    """Return the ConfigMap with the plan of a model's rollout; what is written in it anew renews the plan's lease."""
    champion = Release(model=model, version="0", fence=1, bundle="-")
    metadata = {
        "name": plan_name(champion),
        "namespace": namespace,
        "labels": labels(champion),
        "annotations": {f"{OURS}/model": model},
    }
    told = {"rollout.json": plan.model_dump_json(), "renewed": now.isoformat()} if plan and now else {}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": told}


def selected(release: Release) -> dict[str, str]:
    """Return the labels by which the pods of a model are found, whatever the release."""
    return {name: value for name, value in labels(release).items() if name != f"{LABEL}/managed-by"}


def _deployment(service: KubernetesService, release: Release, artefacts: str, selector: dict[str, str]) -> Manifest:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }
    pod = {
        **pod_spec(service, release, artefacts),
        "topologySpreadConstraints": [spread],
        "terminationGracePeriodSeconds": GRACE_SECONDS,
    }
    return {
        "paused": False,
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": int(service.startup.total_seconds()) + 1,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": selector},
        "template": {
            "metadata": {"labels": pod_labels(release, pod), "annotations": marks(release)},
            "spec": pod,
        },
    }


def network_policy(service: ServedPods, release: Release) -> Manifest:
    """Let in requests from the pods' own namespace and the callers', and out only what fetches a bundle.

    A challenger gets requests from the champion's pods only, which may send them there.
    """
    callers: list[Manifest] = [{"podSelector": {}}]
    callers += [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}} for name in service.callers
    ]
    names = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    store = [{"protocol": "TCP", "port": port} for port in service.store_ports]
    ingress, egress = [_let("from", callers, PORT, METRICS_PORT)], [{"ports": [*names, *store]}]
    if isinstance(release, Challenger):
        champion = Release.model_validate(release.model_dump())
        ingress = [_let("from", [_pods_of(champion)], PORT), _let("from", callers, METRICS_PORT)]
    elif service.rolls_out:
        egress.append(_let("to", [_pods_of(Challenger.model_validate(release.model_dump()))], PORT))
    return {
        "podSelector": {"matchLabels": selected(release)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }


def _pods_of(release: Release) -> Manifest:
    return {"podSelector": {"matchLabels": selected(release)}}


def _let(direction: str, peers: list[Manifest], *ports: int) -> Manifest:
    return {direction: peers, "ports": [{"protocol": "TCP", "port": port} for port in ports]}


def _autoscaler(service: KubernetesService, release: Release) -> Manifest:
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": service.cpu_target}}
    metrics: list[Manifest] = [{"type": "Resource", "resource": cpu}]
    if service.requests_target is not None:  # as many pods as the one or the other asks for, whichever are more
        target = {"type": "AverageValue", "averageValue": str(service.requests_target)}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": REQUESTS_METRIC}, "target": target}})
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": object_name(release)},
        "minReplicas": service.replicas.min,
        "maxReplicas": service.replicas.max,
        "metrics": metrics,
        "behavior": {  # up at once and by as many as there are, down slowly: benchmarks/autoscaling.py
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Max",
                "policies": [
                    {"type": "Percent", "value": 100, "periodSeconds": 15},
                    {"type": "Pods", "value": 4, "periodSeconds": 15},
                ],
            },
            "scaleDown": {
                "stabilizationWindowSeconds": 300,
                "selectPolicy": "Max",
                "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
            },
        },
    }


def stub(deployment: Manifest, replicas: int) -> Manifest:
    """Return the least Deployment that can be created, paused: creating one fails when somebody else was faster."""
    spec, template = deployment["spec"], deployment["spec"]["template"]
    server = template["spec"]["containers"][0]
    identity = {"name": server["name"], "image": server["image"]}
    kept = {name: value for name, value in deployment["metadata"].items() if name != "annotations"}
    return {
        **deployment,
        "metadata": {**kept, "annotations": {f"{OURS}/model": deployment["metadata"]["annotations"][f"{OURS}/model"]}},
        "spec": {
            "paused": True,
            "replicas": replicas,
            "selector": spec["selector"],
            "template": {
                "metadata": {"labels": spec["selector"]["matchLabels"]},
                "spec": {"containers": [identity]},
            },
        },
    }
