"""A few verbs on the objects of a Kubernetes cluster, and its refusals in words that say what to do.

Objects are applied server-side under one field manager: what somebody else changed in our fields is put back, what we no
longer say is dropped, and fields that are not ours, such as the number of pods, are left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from continuous_training.core.errors import ClusterUnavailable, Conflict, DeploymentFailed, UsageError
from continuous_training.deployers.pods import LABEL, OURS, Manifest

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from kubernetes.client.exceptions import ApiException

_PLURALS = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Endpoints": "endpoints",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "InferenceService": "inferenceservices",
    "NetworkPolicy": "networkpolicies",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Service": "services",
    "ServiceMonitor": "servicemonitors",
}
_OLDER = {"autoscaling/v2": "autoscaling/v2beta2", "policy/v1": "policy/v1beta1"}
"""Versions with the same fields that clusters before 1.23 and 1.21 have instead."""
_APPLY, _JSON = "application/apply-patch+yaml", "application/json"
_TIMEOUT = (5, 30)
_BUSY = 429
_SERVER_ERROR = 500


class Superseded(Conflict):
    """The object was changed between reading and writing it."""


class Cluster:
    """The API server that `KUBECONFIG` names, or the one of the pod this runs in."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._offered: set[str] | None = None

    @classmethod
    def connect(cls) -> Cluster:
        """Read `KUBECONFIG` or `~/.kube/config`, else the pod's service account.

        Raises
        ------
        UsageError
            There is neither, or it cannot be read.
        """
        from kubernetes import client, config

        configuration = client.Configuration()
        inside = "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ
        try:
            if inside:
                config.load_incluster_config(client_configuration=configuration)
            else:
                config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
        except (config.ConfigException, OSError, TypeError) as error:  # TypeError: the file is not a mapping
            msg = (
                f"no Kubernetes cluster is configured ({error}); let KUBECONFIG name a file that kubectl understands, or run in a "
                "pod with a service account; a retry gives the same"
            )
            raise UsageError(msg) from error
        return cls(client.ApiClient(configuration))

    def adapt(self, manifest: Manifest) -> Manifest:
        """Return the manifest in the version that this cluster offers.

        Raises
        ------
        DeploymentFailed
            It does not know the kind: a custom resource definition is missing.
        """
        version = manifest["apiVersion"]
        for each in (version, _OLDER.get(version, version)):
            if self.offers({**manifest, "apiVersion": each}):
                return {**manifest, "apiVersion": each}
        msg = (
            f"cannot apply {_named(manifest)}: the cluster does not offer {version}; install the custom resource definition of "
            f"{manifest['kind']} (kubectl get crds), or choose a deployment without it. Nothing was changed; a retry gives the same"
        )
        raise DeploymentFailed(msg)

    def offers(self, manifest: Manifest) -> bool:
        """Tell whether this cluster knows the version of a manifest."""
        if self._offered is None:
            groups = self._call("read", "GET", "/apis", {"kind": "APIGroupList", "metadata": {"name": "/apis"}})
            self._offered = {"v1"} | {each["groupVersion"] for group in groups["groups"] for each in group["versions"]}
        return manifest["apiVersion"] in self._offered

    def get(self, manifest: Manifest) -> Manifest | None:
        """Return the live object that a manifest names, or `None`."""
        from kubernetes.client.exceptions import NotFoundException

        try:
            live: Manifest = self._call("get", "GET", _path(manifest, named=True), manifest, missing=NotFoundException)
        except NotFoundException:
            return None
        return live

    def create(self, manifest: Manifest) -> Manifest:
        """Create an object and return it; raise `Superseded` when there is one by now."""
        path = f"{_path(manifest)}?{urlencode({'fieldManager': OURS})}"
        made: Manifest = self._call("create", "POST", path, manifest, manifest)
        return made

    def apply(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Make the object what the manifest says and return it; with a `resourceVersion` only when it is still that version.

        Raises
        ------
        Superseded
            It is not; nothing was changed.
        DeploymentFailed
            The cluster refuses it; the message says why and what to do.
        ClusterUnavailable
            The cluster does not answer.
        """
        query = {"fieldManager": OURS, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        path = f"{_path(manifest, named=True)}?{urlencode(query)}"
        live: Manifest = self._call("apply", "PATCH", path, manifest, manifest)
        return live

    def delete(self, manifest: Manifest) -> None:
        """Delete an object and what it owns; it may be gone already. With a `resourceVersion` as in `apply`."""
        from kubernetes.client.exceptions import NotFoundException

        with contextlib.suppress(NotFoundException):
            options: Manifest = {"propagationPolicy": "Background"}
            if "resourceVersion" in manifest["metadata"]:
                options["preconditions"] = {"resourceVersion": manifest["metadata"]["resourceVersion"]}
            self._call("delete", "DELETE", _path(manifest, named=True), manifest, options, missing=NotFoundException)

    def pods(self, namespace: str, labels: dict[str, str]) -> list[Manifest]:
        """Return the pods with these labels."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        path = f"/api/v1/namespaces/{namespace}/pods?{urlencode({'labelSelector': selector})}"
        wanted = {"kind": "Pod", "metadata": {"name": "*", "namespace": namespace}}
        items: list[Manifest] = self._call("list", "GET", path, wanted)["items"]
        return items

    def ask(self, namespace: str, pod: str, port: int, path: str) -> Any:
        """Return the JSON that a pod answers `GET path` with, through the API server; `None` when it gives no answer.

        Raises
        ------
        DeploymentFailed
            The account may not ask pods.
        """
        from kubernetes.client.exceptions import ForbiddenException

        url = f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/{path}"
        subject = {"kind": "Pod", "metadata": {"name": pod, "namespace": namespace}}
        try:
            return self._call("get proxies of", "GET", url, subject)
        except DeploymentFailed as error:
            if isinstance(error.__cause__, ForbiddenException):
                raise
        except (
            ClusterUnavailable
        ):  # the pod ends, or does not listen yet; where the cluster is down, what comes next says so
            pass
        return None

    def _call(
        self,
        verb: str,
        method: str,
        path: str,
        subject: Manifest,
        body: Manifest | None = None,
        missing: type[Exception] | None = None,
    ) -> Any:
        with _told(verb, subject, missing):
            return self._api.call_api(
                path,
                method,
                header_params={"Accept": _JSON, "Content-Type": _APPLY if method == "PATCH" else _JSON},
                body=body,
                response_types_map=dict.fromkeys((200, 201, 202), "object"),
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=_TIMEOUT,
            )


def is_ours(live: Manifest, model: str) -> bool:
    """Tell whether a live object was made for this model by this package."""
    of = live["metadata"]
    managed = of.get("labels", {}).get(f"{LABEL}/managed-by")
    return bool(managed == OURS and of.get("annotations", {}).get(f"{OURS}/model") == model)


def _path(manifest: Manifest, *, named: bool = False) -> str:
    version, of = manifest["apiVersion"], manifest["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    path = f"{root}/namespaces/{of['namespace']}/{_PLURALS[manifest['kind']]}"
    return f"{path}/{of['name']}" if named else path


def _named(manifest: Manifest) -> str:
    of = manifest["metadata"]
    return f"{manifest['kind']} {of['name']}" + (f" in namespace {of['namespace']}" if "namespace" in of else "")


@contextlib.contextmanager
def _told(verb: str, subject: Manifest, missing: type[Exception] | None) -> Iterator[None]:
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        if missing is not None and isinstance(error, missing) and not _no_namespace(error):
            raise
        raise _refusal(verb, subject, error) from error
    except HTTPError as error:
        msg = (
            f"cannot {verb} {_named(subject)}: the cluster does not answer ({error}); is it up, and does KUBECONFIG name it? What "
            "served before keeps serving; a retry goes on"
        )
        raise ClusterUnavailable(msg) from error


def _refusal(verb: str, subject: Manifest, error: ApiException) -> Exception:
    said = _message(error)
    what = f"cannot {verb} {_named(subject)}: {said}"
    if not error.status or error.status == _BUSY or error.status >= _SERVER_ERROR:
        return ClusterUnavailable(f"{what}; what served before keeps serving; a retry goes on")
    if error.status == 409:  # noqa: PLR2004
        return Superseded(f"{what}; a retry reads it again")
    return DeploymentFailed(f"{what}. {_remedy(verb, error.status, said, subject)}; a retry before that gives the same")


def _remedy(verb: str, status: int, said: str, subject: Manifest) -> str:
    namespace = subject["metadata"].get("namespace", "")
    if status == 401:  # noqa: PLR2004
        return "The credentials are not accepted: renew those in KUBECONFIG, or the service account's token"
    if "quota" in said:
        return f"Ask for less (deployment.replicas, deployment.resources), or raise the quota of {namespace}"
    if "PodSecurity" in said:
        return (
            f"Let the namespace {namespace} enforce at most the Pod Security standard restricted, which these pods pass"
        )
    if status == 403:  # noqa: PLR2004
        rights = "create and patch" if verb == "apply" else verb
        resource = _PLURALS.get(subject["kind"], "pods")
        return (
            f"Give the account the right to {rights} {resource} in {namespace}: `ct manifests` prints the Role it needs"
        )
    if status == 404:  # noqa: PLR2004
        return f"Create the namespace {namespace} first: `ct manifests` prints it with its Roles, or name another one"
    return "Correct deployment in the model file"


def _no_namespace(error: ApiException) -> bool:
    return "namespaces" in _message(error)


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, TypeError, KeyError):
        return str(error.reason or error.body or error)[:500]
