"""The namespaces of the work and of the serving, what may happen in them, and the least rights that Airflow needs there.

Rights are derived from the calls: those of Airflow's KubernetesPodOperator (deferrable, with an XCom sidecar) for the work, and
those of `Cluster` for the serving. The tests run both on a real cluster with exactly these rights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.deployers.pods import LABEL, OURS, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

WORK, SERVING, AIRFLOW = "training", "serving", "airflow"
WORKER, TRIGGERER = "airflow-worker", "airflow-triggerer"
"""Service accounts of an Airflow that Helm installed under the name `airflow`."""
DEPLOYER = f"{OURS}-deploy"
"""Service account of the pods that deploy (`deployment.via: pod`)."""

_APPLIED = ("create", "delete", "get", "patch")
RIGHTS: dict[str, list[tuple[str, tuple[str, ...], tuple[str, ...]]]] = {
    "run-work": [
        ("", ("pods",), ("create", "delete", "get", "list", "patch")),
        ("", ("pods/exec",), ("create", "get")),  # the XCom sidecar hands over the result
        ("", ("pods/log",), ("get",)),
        ("", ("events",), ("list", "watch")),
    ],
    "deploy": [
        ("apps", ("deployments",), _APPLIED),
        ("", ("services",), _APPLIED),
        ("", ("endpoints",), ("get",)),  # whether a Service leads to its pods
        ("", ("configmaps",), _APPLIED),  # the plan of a rollout
        ("", ("pods/proxy",), ("get",)),  # what the champion's pods count of it
        ("autoscaling", ("horizontalpodautoscalers",), _APPLIED),
        ("networking.k8s.io", ("networkpolicies",), _APPLIED),
        ("policy", ("poddisruptionbudgets",), _APPLIED),
        ("monitoring.coreos.com", ("servicemonitors",), _APPLIED),
        ("serving.kserve.io", ("inferenceservices",), _APPLIED),
        ("", ("pods",), ("list",)),  # why a new pod does not start
    ],
}
"""API group, resources and verbs of each role."""


def work_plane(namespace: str = WORK, airflow: str = AIRFLOW) -> list[Manifest]:
    """Return the namespace where work steps run as pods, and what Airflow's workers and triggerers may do there."""
    return [
        *_namespace(namespace),
        _egress(namespace, {"app": OURS}, "work-steps", ports=(443, 5432)),
        *_access(namespace, "run-work", airflow, (WORKER, TRIGGERER)),
    ]


def serving_plane(
    namespace: str = SERVING, airflow: str = AIRFLOW, *, via: str = "api", work: str = WORK
) -> list[Manifest]:
    """Return the namespace where champions answer, and what whoever deploys them may do there.

    Parameters
    ----------
    via
        `api`: Airflow's workers deploy. `pod`: pods of the namespace `work` do, with an account of their own, and Airflow
        has no right here.
    """
    if via == "api":
        return [*_namespace(namespace), *_access(namespace, "deploy", airflow, (WORKER,))]
    return [
        *_namespace(namespace),
        *_access(namespace, "deploy", work, (DEPLOYER,)),
        _made("v1", "ServiceAccount", work, DEPLOYER, automountServiceAccountToken=False),
        _egress(work, {"app": OURS, "step": "deploy"}, "deploy-step", ports=(443, 6443)),  # the API server's
    ]


def _namespace(name: str) -> list[Manifest]:
    """Return a namespace for restricted pods, in which nothing may talk to anything until a policy allows it."""
    security = {
        f"pod-security.kubernetes.io/{mode}{of}": value
        for mode in ("enforce", "audit", "warn")
        for of, value in (("", "restricted"), ("-version", "latest"))
    }
    quota = {"hard": {"pods": "100", "requests.cpu": "64", "requests.memory": "256Gi"}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**_labels(), **security}}},
        _made("v1", "ResourceQuota", name, OURS, spec=quota),
        _made(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            name,
            "default-deny",
            spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
        ),
        _made("v1", "ServiceAccount", name, name, automountServiceAccountToken=False),
    ]


def _egress(namespace: str, pods: dict[str, str], name: str, ports: tuple[int, ...]) -> Manifest:
    out = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    out += [{"protocol": "TCP", "port": port} for port in ports]
    spec = {"podSelector": {"matchLabels": pods}, "policyTypes": ["Egress"], "egress": [{"ports": out}]}
    return _made("networking.k8s.io/v1", "NetworkPolicy", namespace, name, spec=spec)


def _access(namespace: str, role: str, of: str, accounts: Iterable[str]) -> list[Manifest]:
    rules = [
        {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
        for group, resources, verbs in RIGHTS[role]
    ]
    api, name = "rbac.authorization.k8s.io", f"{OURS}-{role}"
    subjects = [{"kind": "ServiceAccount", "name": account, "namespace": of} for account in accounts]
    reference = {"apiGroup": api, "kind": "Role", "name": name}
    return [
        _made(f"{api}/v1", "Role", namespace, name, rules=rules),
        _made(f"{api}/v1", "RoleBinding", namespace, name, roleRef=reference, subjects=subjects),
    ]


def _labels() -> dict[str, str]:
    return {f"{LABEL}/name": OURS, f"{LABEL}/part-of": OURS}


def _made(version: str, kind: str, namespace: str, name: str, **content: object) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": _labels()}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}
