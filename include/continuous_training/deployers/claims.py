"""Who may change what serves: the object that carries the fence is changed by compare-and-set, and put back on failure."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

from continuous_training.core.errors import Conflict, ContinuousTrainingError, DeploymentFailed
from continuous_training.deployers.cluster import Superseded, is_ours
from continuous_training.deployers.pods import OURS, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from continuous_training.deployers.base import Release
    from continuous_training.deployers.cluster import Cluster

Result = TypeVar("Result")
Change = tuple[Manifest, Manifest | None]
"""An object that is wanted, and what there is of it."""

_TRIES = 20
_BEFORE = f"{OURS}/before"
"""Annotation of the last object while a release is rolled out: whose rollout it is, and what to put back when it fails."""


def fence(live: Manifest) -> int:
    """Return the fence that a live object was applied with, 0 before the first.

    >>> fence({"metadata": {"annotations": {"continuous-training/fence": "7"}}}), fence({"metadata": {}})
    (7, 0)
    """
    return int(live["metadata"].get("annotations", {}).get(f"{OURS}/fence", 0))


def checked(cluster: Cluster, manifests: list[Manifest], release: Release) -> list[Change]:
    """Return the objects as this cluster takes them, each with what there is of it; nothing is changed.

    Raises
    ------
    DeploymentFailed
        The cluster refuses an object, or somebody else, or another model, has one of that name.
    Conflict
        A newer fence is there: the first object carries it.
    """
    wanted = [cluster.adapt(each) for each in manifests]
    changes = [(each, cluster.get(each)) for each in wanted]
    for _, live in changes:
        refuse_foreign(live, release.model)
    _refuse_stale(changes[0][1], release)
    for each in wanted:
        cluster.apply(each, dry_run=True)
    return changes


def replace(
    cluster: Cluster,
    changes: list[Change],
    release: Release,
    *,
    first: Manifest,
    wait: Callable[[], Result],
) -> Result:
    """Apply the objects, wait until they serve, and put back what served last when they do not.

    Parameters
    ----------
    changes
        The first object carries the fence: it is changed by compare-and-set, so that of two deployers at once the higher
        fence stays. The last one remembers what to put back, for a retry after this process was killed.
    first
        What is created where there is none yet; creating fails when somebody else was faster, applying does not.
    wait
        Returns when the release serves.
    """
    carrier, *others = [wanted for wanted, _ in changes]
    served = _last_served(changes)
    note = json.dumps({"fence": release.fence, "objects": [each and _content(each) for each in served]})
    _remember(cluster, others[-1], note)
    _claim(cluster, carrier, release, first)
    try:
        for each in [*others[:-1], _noted(others[-1], note)]:
            cluster.apply(each)
        result = wait()
        cluster.apply(others[-1])
    except ContinuousTrainingError as error:
        if _put_back(cluster, carrier, served[0], release):
            for each, old in zip(others, served[1:], strict=True):
                _restore(cluster, each, old)
        if isinstance(error, DeploymentFailed):
            raise _failure(release, error, first=served[0] is None) from error
        raise
    return result


def _last_served(changes: list[Change]) -> list[Manifest | None]:
    """Return what there is, or, where a rollout was broken off, what there was before it."""
    contents: list[dict[str, Any] | None] = [live and _content(live) for _, live in changes]
    carried, keeper = changes[0][1], changes[-1][1]
    note = keeper["metadata"]["annotations"].get(_BEFORE) if keeper else None
    broken_off: dict[str, Any] = json.loads(note) if note else {"fence": None}
    if (fence(carried) if carried else 0) in {0, broken_off["fence"]}:  # 0: it ended before anything was claimed
        contents = broken_off.get("objects", contents)
    return [content and _with(wanted, content) for (wanted, _), content in zip(changes, contents, strict=True)]


def _remember(cluster: Cluster, keeper: Manifest, note: str) -> None:
    def attempt() -> None:
        live = cluster.get(keeper)
        kept = keeper if live is None else _at_version(_with(keeper, _content(live)), live)
        cluster.apply(_noted(kept, note))

    _until_it_holds_still(attempt, keeper)


def _noted(manifest: Manifest, note: str) -> Manifest:
    of = manifest["metadata"]
    return {**manifest, "metadata": {**of, "annotations": {**of["annotations"], _BEFORE: note}}}


def _content(live: Manifest) -> dict[str, Any]:
    return {"annotations": live["metadata"].get("annotations", {}), "spec": live["spec"]}


def _with(wanted: Manifest, content: dict[str, Any]) -> Manifest:
    """Return the object with another content, of which only what we set; the number of pods stays with the autoscaler."""
    of = wanted["metadata"]
    annotations = {
        name: value
        for name, value in content["annotations"].items()
        if name in of["annotations"] or (name.startswith(f"{OURS}/") and name != _BEFORE)
    }
    left = {"replicas"} if wanted["kind"] == "Deployment" else set()
    spec = {name: value for name, value in content["spec"].items() if name not in left}
    return {**wanted, "metadata": {**of, "annotations": annotations}, "spec": spec}


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
        _restore(cluster, _at_version(wanted, live), before and _at_version(before, live))
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


def refuse_foreign(live: Manifest | None, model: str) -> None:
    """Leave alone what somebody else, or another model, calls by the same name."""
    if live is not None and not is_ours(live, model):
        of = live["metadata"]
        msg = (
            f"{live['kind']} {of['name']} in namespace {of['namespace']} was not made for the model {model}; delete or rename "
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
