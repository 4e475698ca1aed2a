"""Serve with KServe: the champion as an InferenceService, which KServe turns into pods, scaling and routes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from continuous_training.core.errors import Conflict, DeploymentFailed
from continuous_training.deployers.claims import checked, fence, replace
from continuous_training.deployers.cluster import Cluster
from continuous_training.deployers.manifests import made, network_policy
from continuous_training.deployers.pods import Manifest, ServedPods, marks, pod_labels, pod_spec

if TYPE_CHECKING:
    from pathlib import Path

    from continuous_training.deployers.base import Release
    from continuous_training.settings import Settings

_POLL_SECONDS = 0.5


class KServe(ServedPods):
    """Answer requests from an InferenceService of KServe, in its mode that needs no Knative (KServe 0.16 or later)."""

    kind: Literal["kserve"] = "kserve"

    def deploy(self, release: Release, bundle: Path, *, settings: Settings) -> str:  # noqa: ARG002
        """Serve `release` and return the URL that KServe gives it; the same release again repairs what was changed by hand.

        Raises
        ------
        DeploymentFailed
            KServe is not installed, the cluster refuses the object, or it did not get ready; it is then put back as it was.
        Conflict
            A newer fence is served.
        ClusterUnavailable
            The cluster does not answer.
        SpecError
            A name is not one that this deployment allows, such as an image without a digest.
        UsageError
            No cluster is configured, or pods cannot reach the artefact store.
        """
        cluster = Cluster.connect()
        changes = checked(cluster, self.manifests(release, settings), release)
        service = changes[0][0]
        return replace(
            cluster,
            changes,
            release,
            first=service,
            wait=lambda: _await_ready(cluster, service, release, self.startup.total_seconds()),
        )

    def _render(self, release: Release, artefacts: str) -> list[Manifest]:
        pod = pod_spec(self, release, artefacts)
        [server] = pod["containers"]
        predictor = {
            "minReplicas": self.replicas.min,
            "maxReplicas": self.replicas.max,
            "scaleMetric": "cpu",
            "scaleTarget": self.cpu_target,
            "labels": pod_labels(release, pod),
            "annotations": marks(release),
            **pod,
            "containers": [{**server, "name": "kserve-container", "ports": server["ports"][:1]}],
        }
        service = made(
            "serving.kserve.io/v1beta1", "InferenceService", self.namespace, release, {"predictor": predictor}
        )
        modes = {"serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "hpa"}
        service["metadata"]["annotations"] |= modes
        policy = network_policy(self, release)
        return [service, made("networking.k8s.io/v1", "NetworkPolicy", self.namespace, release, policy)]


def _await_ready(cluster: Cluster, service: Manifest, release: Release, seconds: float) -> str:
    deadline, problem = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        live = cluster.get(service)
        if live is None or fence(live) > release.fence:
            raise Conflict(
                f"{release.model} version {release.version} (fence {release.fence}) is not waited for: its InferenceService was "
                "deleted or serves a newer decision meanwhile; a retry is refused the same way"
            )
        status = live.get("status", {})
        ready: dict[str, str] = next((each for each in status.get("conditions", []) if each["type"] == "Ready"), {})
        current = status.get("observedGeneration", 0) >= live["metadata"]["generation"]
        if current and ready.get("status") == "True":
            return str(status.get("url", ""))
        problem = (
            f"{ready.get('reason', '')}: {ready.get('message', '')}".strip(": ") or "KServe has said nothing of it"
        )
        time.sleep(_POLL_SECONDS)
    raise DeploymentFailed(f"its InferenceService is not ready after {seconds:g} s: {problem}")
