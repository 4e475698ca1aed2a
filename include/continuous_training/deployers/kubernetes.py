"""Serve from pods of a Kubernetes cluster.

`deploy` first asks the cluster whether it would take every object (a dry run), then applies the Deployment and waits until the
new pods answer. When they do not, it is put back as it was, and the pods of the release before have never stopped. The Service,
the autoscaler and the rest follow when the new pods answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.deployers.claims import checked, replace
from continuous_training.deployers.cluster import Cluster, is_ours
from continuous_training.deployers.manifests import render, stub
from continuous_training.deployers.pods import Manifest, ServedPods, object_name
from continuous_training.deployers.rollout import await_rollout

if TYPE_CHECKING:
    from pathlib import Path

    from continuous_training.deployers.base import Release
    from continuous_training.settings import Settings

_OPTIONAL = ({"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor"},)


class KubernetesService(ServedPods):
    """Answer requests from pods of a Kubernetes cluster, at a Service with the model's name."""

    kind: Literal["kubernetes"] = "kubernetes"
    via: Literal["api", "pod", "gitops"] = Field(
        "api",
        description="Who applies the objects: the deploy step beside Airflow's worker; a pod of the runner's namespace, so that "
        "the worker needs no right where the champion answers; or your GitOps tool, from what `ct manifests` writes, and then "
        "the deploy step changes nothing.",
    )
    requests_target: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Requests per second that one pod is kept near, besides `cpu_target`: with more, pods are added. Needs the "
        "Prometheus adapter.",
    )
    service_monitor: bool = Field(
        default=False, description="Whether the Prometheus operator is told to read the servers' metrics."
    )

    @property
    def in_pod(self) -> bool:
        """Tell whether Airflow calls `deploy` in a pod instead of beside its worker."""
        return self.via == "pod"

    def deploy(self, release: Release, bundle: Path, *, settings: Settings) -> str:  # noqa: ARG002
        """Serve `release` and return the URL of its Service; the same release again repairs what was changed by hand.

        Raises
        ------
        DeploymentFailed
            The cluster refuses an object, or the new pods did not get ready; the old ones keep serving.
        Conflict
            A newer fence is served.
        ClusterUnavailable
            The cluster does not answer.
        SpecError
            A name is not one that this deployment allows, such as an image without a digest.
        UsageError
            No cluster is configured, or pods cannot reach the artefact store.
        """
        manifests = self.manifests(release, settings)
        url = f"http://{object_name(release.model)}.{self.namespace}.svc"
        if self.via == "gitops":
            return url
        cluster = Cluster.connect()
        changes = checked(cluster, manifests, release)
        deployment, _, *others = [wanted for wanted, _ in changes]
        replace(
            cluster,
            changes[:2],
            release,
            first=stub(deployment, self.replicas.min),
            wait=lambda: await_rollout(cluster, deployment, release, self.startup.total_seconds()),
        )
        for each in others:
            cluster.apply(each)
        self._prune(cluster, manifests, release)
        return url

    def _render(self, release: Release, artefacts: str) -> list[Manifest]:
        return render(self, release, artefacts)

    def _prune(self, cluster: Cluster, wanted: list[Manifest], release: Release) -> None:
        """Delete what an earlier model file asked for and this one does not."""
        for kind in _OPTIONAL:
            old = {**kind, "metadata": wanted[0]["metadata"]}
            if any(each["kind"] == old["kind"] for each in wanted) or not cluster.offers(old):
                continue
            live = cluster.get(old)
            if live is not None and is_ours(live, release.model):
                cluster.delete(old)
