"""Who may change what serves: the object that carries the fence is changed by compare-and-set, and put back on failure."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from continuous_training.core.errors import Conflict, ContinuousTrainingError, DeploymentFailed
from continuous_training.deployers.cluster import Superseded, is_ours
from continuous_training.deployers.pods import OURS, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from continuous_training.deployers.base import Release
    from continuous_training.deployers.cluster import Cluster

Result = TypeVar("Result")
_TRIES = 20


def fence(live: Manifest) -> int:
    """Return the fence that a live object was applied with, 0 before the first.

    >>> fence({"metadata": {"annotations": {"continuous-training/fence": "7"}}}), fence({"metadata": {}})
    (7, 0)
    """
    return int(live["metadata"].get("annotations", {}).get(f"{OURS}/fence", 0))


def refuse_unless_ours(cluster: Cluster, wanted: list[Manifest], release: Release) -> list[Manifest | None]:
    """Return what there is of the objects wanted, of which the first carries the fence.

    Raises
    ------
    DeploymentFailed
        Somebody else, or another model, has an object of that name.
    Conflict
        A newer fence is there.
    """
    before = [cluster.get(each) for each in wanted]
    for live in filter(None, before):
        _refuse_foreign(live, release)
    _refuse_stale(before[0], release)
    return before


def replace(
    cluster: Cluster,
    changes: list[tuple[Manifest, Manifest | None]],
    release: Release,
    *,
    first: Manifest,
    wait: Callable[[], Result],
) -> Result:
    """Apply the objects, wait until they serve, and put them back when they do not.

    Parameters
    ----------
    changes
        Each object and what it was before. The first carries the fence: it is changed by compare-and-set, so that of two
        deployers at once the higher fence stays.
    first
        What is created where there is none yet; creating fails when somebody else was faster, applying does not.
    wait
        Returns when the release serves.
    """
    (carrier, carried), *others = changes
    _claim(cluster, carrier, release, first)
    try:
        for each, _ in others:
            cluster.apply(each)
        return wait()
    except ContinuousTrainingError as error:
        if _put_back(cluster, carrier, carried, release):
            for each, old in others:
                _restore(cluster, each, old and _reapplied(old))
        if isinstance(error, DeploymentFailed):
            raise _failure(release, error, first=carried is None) from error
        raise


def _claim(cluster: Cluster, wanted: Manifest, release: Release, first: Manifest) -> None:
    def attempt() -> None:
        live = cluster.get(wanted) or cluster.create(first)
        _refuse_stale(live, release)
        cluster.apply(_at_version(wanted, live))

    _until_it_holds_still(attempt, wanted)


def _put_back(cluster: Cluster, wanted: Manifest, before: Manifest | None, release: Release) -> bool:
    """Make the object that carries the fence what it was before; tell whether that was still ours to do."""

    def attempt() -> bool:
        live = cluster.get(wanted)
        if live is None or fence(live) > release.fence:
            return False
        _restore(cluster, _at_version(wanted, live), before and _at_version(_reapplied(before), live))
        return True

    return _until_it_holds_still(attempt, wanted)


def _restore(cluster: Cluster, wanted: Manifest, before: Manifest | None) -> None:
    if before is None:
        cluster.delete(wanted)
    else:
        cluster.apply(before)


def _until_it_holds_still(change: Callable[[], Result], wanted: Manifest) -> Result:
    for _ in range(_TRIES):
        with contextlib.suppress(Superseded):  # its status moves often; read it again
            return change()
    msg = (
        f"{wanted['kind']} {wanted['metadata']['name']} in namespace {wanted['metadata']['namespace']} changed {_TRIES} times "
        "while it was being applied; find out who changes it, then deploy again (ct reconcile)"
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
    """Leave alone what somebody else, or another model, calls by the same name."""
    if not is_ours(live, release.model):
        of = live["metadata"]
        msg = (
            f"{live['kind']} {of['name']} in namespace {of['namespace']} was not made for the model {release.model}; delete or rename "
            "it, or name another namespace. Nothing was changed; a retry before that gives the same"
        )
        raise DeploymentFailed(msg)


def _refuse_stale(live: Manifest | None, release: Release) -> None:
    """Let only a higher fence replace what is there, or the same release repair it."""
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
    """Return the error of a release that did not get ready."""
    kept = "There was none before, so everything was deleted again" if first else "What served before keeps serving"
    return DeploymentFailed(
        f"{release.model} version {release.version} (fence {release.fence}) does not serve: {problem}\n{kept}. Repair the cause and "
        "deploy again (ct reconcile); a retry before that gives the same."
    )
