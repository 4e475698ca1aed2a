"""Serve from pods of a Kubernetes cluster.

`deploy` first asks the cluster whether it would take every object (a dry run), then applies the Deployment and waits until the
new pods answer. When they do not, it is put back as it was, and the pods of the release before have never stopped. The Service,
the autoscaler and the rest follow when the new pods answer; where it is the first release, `deploy` waits until the Service leads to
them.

A challenger is served in the same way under a name of its own. Its rollout's plan is a ConfigMap that the champion's pods mount; what
they count is asked of each of them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.errors import DeploymentFailed
from continuous_training.core.rollout import RolloutCounts
from continuous_training.deployers.base import Release
from continuous_training.deployers.claims import checked, refuse_foreign, replace
from continuous_training.deployers.cluster import Cluster, is_ours
from continuous_training.deployers.manifests import plan_map, render, selected, stub
from continuous_training.deployers.pods import (
    METRICS_PORT,
    OURS,
    Challenger,
    Manifest,
    ServedPods,
    object_name,
)
from continuous_training.deployers.rollout import await_address, await_rollout

if TYPE_CHECKING:
    from pathlib import Path

    from continuous_training.core.rollout import RolloutPlan
    from continuous_training.settings import Settings

_OPTIONAL = frozenset({"ServiceMonitor"})


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
        if self.via != "gitops":
            self._serve(Cluster.connect(), manifests, release)
        return f"http://{object_name(release)}.{self.namespace}.svc"

    @property
    def rolls_out(self) -> bool:
        """Tell whether a challenger can answer beside the champion: who looks at a rollout must reach the cluster."""
        return self.via == "api"

    def introduce(self, challenger: Release, bundle: Path, *, settings: Settings) -> str:  # noqa: ARG002
        """Serve the challenger from pods of its own, which only the champion's pods may ask, and return their address."""
        release = Challenger.model_validate(challenger.model_dump())
        cluster, manifests = Cluster.connect(), self.manifests(release, settings)
        live = cluster.get(manifests[0])
        if live is not None and is_ours(live, release.model) and not _serves(live, release):
            self.dismiss(release.model, settings=settings)  # fences of challengers do not follow one another
            live = None
        if live is None or not live.get("status", {}).get("availableReplicas"):
            self._serve(cluster, manifests, release)
        return f"http://{cluster.apply(_service(manifests))['spec']['clusterIP']}"

    def route(self, model: str, plan: RolloutPlan, *, settings: Settings) -> None:  # noqa: ARG002
        """Keep the plan in a ConfigMap, from which kubelets bring it to the champion's pods within a minute or two."""
        cluster, wanted = Cluster.connect(), plan_map(self.namespace, model, plan, datetime.now(UTC))
        refuse_foreign(cluster.get(wanted), model)
        cluster.apply(wanted)

    def counts(self, model: str, plan: RolloutPlan, *, settings: Settings) -> RolloutCounts:  # noqa: ARG002
        """Return what the champion's living pods have counted."""
        cluster, counted = Cluster.connect(), RolloutCounts(plan=plan.name)
        for pod in cluster.pods(self.namespace, selected(_some(Release, model))):
            told = cluster.ask(self.namespace, pod["metadata"]["name"], METRICS_PORT, "rollout")
            if told and told["counts"] and told["counts"]["plan"] == plan.name:
                counted += RolloutCounts.model_validate(told["counts"])
        return counted

    def dismiss(self, model: str, *, settings: Settings) -> None:  # noqa: ARG002
        """Take the plan away, then what serves the challenger; until a pod has noticed, its champion answers."""
        cluster = Cluster.connect()
        everything = self.model_copy(update={"service_monitor": True})
        for each in (plan_map(self.namespace, model), *render(everything, _some(Challenger, model), "")):
            _remove(cluster, each, model)

    def _serve(self, cluster: Cluster, manifests: list[Manifest], release: Release) -> None:
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
        await_address(cluster, _service(manifests), self.startup.total_seconds())
        # What an earlier model file asked for and this one does not.
        everything = render(self.model_copy(update={"service_monitor": True}), release, "")
        kept = {each["kind"] for each in manifests}
        for each in everything:
            if each["kind"] in _OPTIONAL - kept:
                _remove(cluster, each, release.model)

    def _render(self, release: Release, artefacts: str) -> list[Manifest]:
        return render(self, release, artefacts)


def _some(kind: type[Release], model: str) -> Release:
    """Return any release of a model: whose objects are, and which, does not depend on it."""
    return kind(model=model, version="0", fence=1, bundle="-")


def _service(manifests: list[Manifest]) -> Manifest:
    return next(each for each in manifests if each["kind"] == "Service")


def _serves(live: Manifest, release: Release) -> bool:
    told = live["metadata"].get("annotations", {})
    return (told.get(f"{OURS}/fence"), told.get(f"{OURS}/bundle")) == (str(release.fence), release.bundle)


def _remove(cluster: Cluster, manifest: Manifest, model: str) -> None:
    """Delete an object of this model's, where there is one."""
    try:
        known = cluster.adapt(manifest)
    except DeploymentFailed:  # a cluster without the kind has none of it
        return
    live = cluster.get(known)
    if live is not None and is_ours(live, model):
        cluster.delete(known)
