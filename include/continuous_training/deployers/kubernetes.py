"""Serve from pods of a Kubernetes cluster.

`deploy` first asks the cluster whether it would take every object (a dry run), then applies the Deployment and waits until the
new pods answer. When they do not, it is put back as it was, and the pods of the release before have never stopped. The Service,
the autoscaler and the rest follow when the new pods answer.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import Field

from continuous_training.core.errors import Conflict, ContinuousTrainingError, DeploymentFailed
from continuous_training.deployers.cluster import Cluster, Superseded, is_ours
from continuous_training.deployers.manifests import render, stub
from continuous_training.deployers.pods import OURS, Manifest, ServedPods, object_name
from continuous_training.deployers.rollout import await_rollout, fence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from continuous_training.deployers.base import Release
    from continuous_training.settings import Settings

Result = TypeVar("Result")
_TRIES = 20
_OPTIONAL = ({"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor"},)


class KubernetesService(ServedPods):
    """Answer requests from pods of a Kubernetes cluster, at a Service with the model's name."""

    kind: Literal["kubernetes"] = "kubernetes"
    via: Literal["api", "gitops"] = Field(
        "api",
        description="Who applies the objects: the deploy step, through the cluster's API; or your GitOps tool, from what "
        "`ct manifests` writes. Then the deploy step changes nothing.",
    )
    callers: tuple[str, ...] = Field(
        (), max_length=50, description="Namespaces whose pods may send requests, besides the pods' own."
    )
    store_ports: tuple[int, ...] = Field(
        (443,), max_length=20, description="TCP ports that the pods may connect to: those of the artefact store."
    )
    service_monitor: bool = Field(
        default=False, description="Whether the Prometheus operator is told to read the servers' metrics."
    )

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
        UsageError
            No cluster is configured, the image has no digest where one is demanded, or pods cannot reach the store.
        """
        manifests = self.manifests(release, settings)
        url = f"http://{object_name(release.model)}.{self.namespace}.svc"
        if self.via == "gitops":
            return url
        cluster = Cluster.connect()
        wanted = [cluster.adapt(each) for each in manifests]
        before = [cluster.get(each) for each in wanted]
        for live in filter(None, before):
            _refuse_foreign(live, release)
        _refuse_stale(before[0], release)
        for each in wanted:
            cluster.apply(each, dry_run=True)
        deployment, policy, *others = wanted
        _claim(cluster, deployment, release, self.replicas.min)
        try:
            cluster.apply(policy)  # without it the new pods may not reach the store
            await_rollout(cluster, deployment, release, self.startup.total_seconds())
        except ContinuousTrainingError as error:
            _put_back(cluster, wanted, before, release)
            if isinstance(error, DeploymentFailed):
                raise _failure(release, error, first=before[0] is None) from error
            raise
        for each in others:
            cluster.apply(each)
        self._prune(cluster, wanted, release)
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


def _claim(cluster: Cluster, wanted: Manifest, release: Release, replicas: int) -> None:
    """Apply the Deployment in one compare-and-set: of two deployers at once the higher fence stays."""

    def claim() -> None:
        live = cluster.get(wanted) or cluster.create(stub(wanted, replicas))
        _refuse_stale(live, release)
        cluster.apply(_at_version(wanted, live))

    _until_it_holds_still(claim, wanted)


def _put_back(cluster: Cluster, wanted: list[Manifest], before: list[Manifest | None], release: Release) -> None:
    """Make Deployment and NetworkPolicy what they were before, unless a newer release is there by now."""
    deployment, policy, *_ = zip(wanted, before, strict=True)

    def put_back() -> bool:
        live = cluster.get(deployment[0])
        if live is None or fence(live) > release.fence:
            return False
        if deployment[1] is None:
            cluster.delete(_at_version(deployment[0], live))
        else:
            cluster.apply(_at_version(_reapplied(deployment[1]), live))
        return True

    if not _until_it_holds_still(put_back, deployment[0]):
        return
    if policy[1] is None:
        cluster.delete(policy[0])
    else:
        cluster.apply(_reapplied(policy[1]))


def _until_it_holds_still(change: Callable[[], Result], deployment: Manifest) -> Result:
    for _ in range(_TRIES):
        with contextlib.suppress(Superseded):  # its status moves often; read it again
            return change()
    msg = (
        f"Deployment {deployment['metadata']['name']} in namespace {deployment['metadata']['namespace']} changed {_TRIES} times "
        "while it was being applied; find out who changes it. A retry tries again"
    )
    raise Conflict(msg)


def _at_version(manifest: Manifest, live: Manifest) -> Manifest:
    """Return the manifest so that it is refused when the live object changes before it arrives."""
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}}


def _reapplied(live: Manifest) -> Manifest:
    """Return a live object in a form that can be applied; the number of pods stays with the autoscaler."""
    kept = {name: live["metadata"][name] for name in ("name", "namespace", "labels", "annotations")}
    kept["annotations"] = {name: value for name, value in kept["annotations"].items() if name.startswith(f"{OURS}/")}
    spec = {name: value for name, value in live["spec"].items() if (live["kind"], name) != ("Deployment", "replicas")}
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": kept, "spec": spec}


def _refuse_foreign(live: Manifest, release: Release) -> None:
    if not is_ours(live, release.model):
        of = live["metadata"]
        msg = (
            f"{live['kind']} {of['name']} in namespace {of['namespace']} was not made for the model {release.model}; delete or rename "
            "it, or name another namespace. Nothing was changed; a retry before that gives the same"
        )
        raise DeploymentFailed(msg)


def _refuse_stale(live: Manifest | None, release: Release) -> None:
    if live is None or fence(live) < release.fence:
        return
    of = live["metadata"]["annotations"]
    if fence(live) > release.fence or of[f"{OURS}/bundle"] != release.bundle:
        msg = (
            f"{release.model} version {release.version} has fence {release.fence}, but version {of[f'{OURS}/version']} with fence "
            f"{fence(live)} has been deployed; only a higher fence replaces it. Nothing was changed; a retry gives the same."
        )
        raise Conflict(msg)


def _failure(release: Release, problem: Exception, *, first: bool) -> DeploymentFailed:
    kept = "There was none before, so everything was deleted again" if first else "What served before keeps serving"
    return DeploymentFailed(
        f"{release.model} version {release.version} (fence {release.fence}) does not serve: {problem}\n{kept}. Repair the cause and "
        "deploy again (ct reconcile); a retry before that gives the same."
    )
