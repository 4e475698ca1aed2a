"""What became of a pod, in words: why it failed, what to do, and whether Airflow tries again.

Wrong data and wrong settings are final (`AirflowFailException`). What the cluster did (a node lost, memory, an image that could
not be pulled, a quota that is used up, an API server that does not answer) is tried again.
"""

from __future__ import annotations

import contextlib
import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from continuous_training.core.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kubernetes.client.models import V1ContainerStateTerminated, V1Pod

KILLED = 128
"""Exit codes from here on are signals: the node, the memory limit or somebody ended the container."""

AGAIN = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT}
)  # fmt: skip
"""Answers below 500 that another request may not get: an expired token, a conflict, an old version, too many requests."""

REMEDIES = (
    ("no PriorityClass", "create the PriorityClass, or correct runner.priority_class"),
    ("error looking up service account", "create the ServiceAccount, or correct runner.service_account"),
    ("PodSecurity", "allow pods of the restricted profile in the namespace, and check runner.volumes"),
    ("namespaces ", "create the namespace, or correct runner.namespace"),
)
"""What the API server says, and what to do about it."""


UNSTARTED = frozenset({"ContainerCannotRun", "StartError"})
"""Reasons of a container whose command could not be run."""


def ended(step: str, state: V1ContainerStateTerminated) -> AirflowException:
    """Return the error of a step whose container ended with a failure."""
    code, reason = state.exit_code, state.reason or "Error"
    if reason in UNSTARTED:
        return AirflowFailException(
            f"{step}: the image does not hold the command ct ({_short(state.message or reason)}); build it from "
            "docker/work.Dockerfile and name it in runner.image; a retry gives the same"
        )
    if code >= KILLED or reason == "OOMKilled":
        more = "; give runner.resources.memory more" if reason == "OOMKilled" else ""
        return AirflowException(
            f"{step}: the container was killed ({reason}, exit code {code}){more}; a retry starts it again"
        )
    told = [line.removeprefix("ct: ") for line in (state.message or "").splitlines() if line.startswith("ct: ")]
    words = f"{step}: {told[-1] if told else f'exit code {code}; its log is above'}"
    return AirflowException(words) if code == Transient.exit_code else AirflowFailException(words)


def lost(step: str, name: str) -> AirflowException:
    """Return the error of a step whose pod is gone."""
    return AirflowException(
        f"{step}: the pod {name} is gone: somebody deleted it, or its node was lost; a retry starts another, and a step that had "
        "finished is not done again"
    )


def evicted(step: str, pod: V1Pod) -> AirflowException | None:
    """Return the error of a step whose pod the node ended as a whole, or `None` when it did not."""
    if not pod.status.reason:
        return None
    why = (pod.status.message or "").strip().rstrip(".")
    return AirflowException(
        f"{step}: the node ended the pod {pod.metadata.name} ({pod.status.reason}{': ' if why else ''}{why}); "
        "a retry starts another; when it happens again give runner.resources more, or choose other nodes"
    )


def never_started(step: str, pod: V1Pod, image: str, events: Sequence[str]) -> AirflowException:
    """Return the error of a step whose pod did not begin, from the newest that the cluster says of it.

    Parameters
    ----------
    events
        Messages of the pod's warnings, the newest last.
    """
    waiting = [one.state.waiting for one in pod.status.container_statuses or [] if one.state.waiting]
    told = [f"{state.reason}: {state.message or ''}" for state in waiting if state.reason not in {None, "ContainerCreating"}]  # fmt: skip
    if any("Image" in text for text in told):
        return AirflowException(
            f"{step}: the image {image} cannot be pulled ({_short(told[0])}); correct runner.image, or let the nodes pull it "
            "(an image pull secret on the service account); a retry pulls it again"
        )
    unscheduled = [
        condition.message
        for condition in pod.status.conditions or []
        if condition.type == "PodScheduled" and condition.status == "False" and condition.message
    ]
    why = _short((told or unscheduled or list(events)[-1:] or ["the cluster says nothing of it"])[-1])
    return AirflowException(
        f"{step}: the pod {pod.metadata.name} did not start in time ({why}) and was deleted; ask for less or for other nodes, "
        "create what it names, or raise runner.startup; a retry starts another"
    )


@contextlib.contextmanager
def understood(step: str, verb: str, namespace: str | None) -> Iterator[None]:
    """Turn what the Kubernetes API answers to `verb` into an error that says what to do."""
    try:
        yield
    except ApiException as error:
        raise refused(step, verb, namespace, error) from error
    except ConfigException as error:
        raise AirflowFailException(
            f"{step}: no cluster is configured ({error}); set KUBECONFIG for Airflow, or run it in the cluster; a retry gives the same"
        ) from error
    except HTTPError as error:
        raise AirflowException(
            f"{step}: the API server does not answer ({error}); check the cluster and the network; a retry asks again, and finds the "
            "pod when it runs"
        ) from error


def refused(step: str, verb: str, namespace: str | None, error: ApiException) -> AirflowException:
    """Return the error of a step whose request the API server answered with a failure."""
    words = _words(error)
    where = f"{step}: cannot {verb} pods in namespace {namespace} ({error.status} {words})"
    if "exceeded quota" in words:
        return AirflowException(
            f"{where}; ask for less under runner.resources, or raise the ResourceQuota; a retry asks again"
        )
    if error.status in AGAIN or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return AirflowException(f"{where}; a retry asks again, and finds the pod when it runs")
    remedy = next((what for said, what in REMEDIES if said in words), None)
    if remedy is None and error.status == HTTPStatus.FORBIDDEN:
        remedy = f"bind Airflow's account to a Role of {namespace} that may {verb} pods"
    return AirflowFailException(f"{where}; {remedy or 'correct the block runner'}; a retry gives the same")


def _words(error: ApiException) -> str:
    try:
        return _short(str(json.loads(error.body)["message"]))
    except (TypeError, ValueError, KeyError):
        return _short(str(error.reason))


def _short(text: str) -> str:
    return " ".join(text.split())[:500].rstrip(" .:")
