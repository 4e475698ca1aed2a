"""Wait until a Deployment's new pods answer, or say why they do not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from continuous_training.core.errors import ClusterUnavailable, Conflict, DeploymentFailed
from continuous_training.deployers.claims import fence
from continuous_training.deployers.pods import Manifest

if TYPE_CHECKING:
    from continuous_training.deployers.base import Release
    from continuous_training.deployers.cluster import Cluster

_POLL_SECONDS = 0.5
_LAST_WORDS = 2000
_HOPELESS = {
    "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "ErrImageNeverPull", "ImagePullBackOff",
    "InvalidImageName", "RunContainerError",
}  # fmt: skip


def await_rollout(cluster: Cluster, deployment: Manifest, release: Release, seconds: float) -> None:
    """Return when all pods are of this release and ready.

    Raises
    ------
    DeploymentFailed
        A new pod cannot start, or nothing got further for `seconds`.
    Conflict
        A newer release is being deployed.
    """
    progress, deadline = None, 0.0
    while True:
        live = cluster.get(deployment)
        if live is None or fence(live) > release.fence:
            state = "was deleted" if live is None else f"serves fence {fence(live)}"
            raise Conflict(
                f"{release.model} version {release.version} (fence {release.fence}) is not waited for: its Deployment {state} "
                "meanwhile; the newer decision stays, a retry is refused the same way"
            )
        if _complete(live):
            return
        counts = {name: value for name, value in live.get("status", {}).items() if name.endswith("eplicas")}
        if counts != progress:
            progress, deadline = counts, time.monotonic() + seconds
        pods = cluster.pods(deployment["metadata"]["namespace"], deployment["spec"]["template"]["metadata"]["labels"])
        late = time.monotonic() >= deadline
        problems = [pod_problem(pod, late=late) for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        problem = next(filter(None, problems), "")
        if not problem and late:
            problem = _unmade(live) or f"no new pod got ready within {seconds:g} s"
        if problem:
            raise DeploymentFailed(problem)
        time.sleep(_POLL_SECONDS)


def await_address(cluster: Cluster, service: Manifest, seconds: float) -> None:
    """Return when the cluster leads requests to a Service on to a pod that is ready.

    Raises
    ------
    ClusterUnavailable
        It did not within `seconds`.
    """
    # Not EndpointSlices: every version has this one object, with a name that is known.
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": service["metadata"]}
    deadline = time.monotonic() + seconds
    while not any(subset.get("addresses") for subset in (cluster.get(endpoints) or {}).get("subsets") or []):
        if time.monotonic() >= deadline:
            of = service["metadata"]
            msg = (
                f"Service {of['name']} in namespace {of['namespace']} leads to none of its pods after {seconds:g} s, though they are "
                "ready; does the cluster's controller manager run? The release stays; a retry waits again"
            )
            raise ClusterUnavailable(msg)
        time.sleep(_POLL_SECONDS)


def pod_problem(pod: Manifest, *, late: bool) -> str:
    """Return why a pod does not serve, or nothing; one that merely waits has no problem before it is late."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for container in status.get("containerStatuses", []):
        waiting = container.get("state", {}).get("waiting", {})
        ended = container.get("lastState", {}).get("terminated") or container.get("state", {}).get("terminated") or {}
        if ended and (late or waiting.get("reason") in _HOPELESS):
            return f"pod {name} ended: {_ending(ended)}"
        if waiting.get("reason") in _HOPELESS or (late and waiting):
            return f"pod {name} does not start: {waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    if not late:
        return ""
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"pod {name} cannot be placed: {condition.get('message', condition.get('reason', ''))}"
    unready = [each["name"] for each in status.get("containerStatuses", []) if not each.get("ready")]
    return f"pod {name} runs, but does not get ready: /v2/health/ready did not answer" if unready else ""


def _ending(ended: dict[str, Any]) -> str:
    words = ended.get("message", "").strip()[-_LAST_WORDS:]
    more = "; give deployment.resources.memory more" if ended.get("reason") == "OOMKilled" else ""
    last = f"\nIts last words:\n{words}" if words else ""
    return f"{ended.get('reason', 'Error')}, exit code {ended.get('exitCode')}{more}{last}"


def _complete(live: Manifest) -> bool:
    wanted, status = live["spec"].get("replicas", 1), live.get("status", {})
    seen = status.get("observedGeneration", 0) >= live["metadata"]["generation"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return seen and counts == [wanted] * len(counts)


def _unmade(live: Manifest) -> str:
    """Return why no pod could be made: a quota, an admission."""
    for condition in live.get("status", {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return f"no pod could be made: {condition.get('message', condition.get('reason', ''))}"
    return ""
