"""What Airflow is told of a pod that failed."""

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client.models import (
    V1ContainerState,
    V1ContainerStateTerminated,
    V1ContainerStateWaiting,
    V1ContainerStatus,
    V1ObjectMeta,
    V1Pod,
    V1PodStatus,
)

from continuous_training.provider import pod_failures

pytestmark = pytest.mark.provider

NO_ROWS = "reading rows\nct: the source has no rows; a retry reads again\n"


@pytest.mark.parametrize(
    ("code", "reason", "message", "final", "words"),
    [
        (4, "Error", NO_ROWS, True, "train: the source has no rows; a retry reads again"),
        (2, "Error", NO_ROWS, True, "train: the source has no rows"),
        (1, "Error", "Traceback (most recent call last):", True, "train: exit code 1; its log is above"),
        (7, "Error", "ct: the store does not answer", False, "train: the store does not answer"),
        (137, "OOMKilled", None, False, "give runner.resources.memory more"),
        (1, "OOMKilled", None, False, "give runner.resources.memory more"),
        (143, "Error", None, False, "the container was killed (Error, exit code 143); a retry starts it again"),
        (137, None, None, False, "the container was killed (Error, exit code 137)"),
    ],
)
def test_what_a_retry_cannot_mend_is_final_and_says_why(code, reason, message, final, words):
    error = pod_failures.ended("train", V1ContainerStateTerminated(exit_code=code, reason=reason, message=message))
    assert isinstance(error, AirflowFailException) is final
    assert isinstance(error, AirflowException)
    assert words in str(error)


def test_a_command_that_could_not_be_run_is_the_fault_of_the_image() -> None:
    state = V1ContainerStateTerminated(exit_code=127, reason="ContainerCannotRun", message='exec: "ct": not found')
    error = pod_failures.ended("train", state)
    assert isinstance(error, AirflowFailException)
    assert 'the image does not hold the command ct (exec: "ct": not found)' in str(error)


def test_a_pod_that_its_node_ended_says_why() -> None:
    status = V1PodStatus(phase="Failed", reason="Evicted", message="The node was low on resource: memory. ")
    error = pod_failures.evicted("train", V1Pod(metadata=V1ObjectMeta(name="ct-m-train"), status=status))
    assert not isinstance(error, AirflowFailException)
    assert "ct-m-train (Evicted: The node was low on resource: memory); a retry starts another" in str(error)


def test_a_pod_that_no_node_ended_is_not_evicted() -> None:
    assert pod_failures.evicted("train", V1Pod(status=V1PodStatus(phase="Failed"))) is None


def test_a_claim_or_volume_that_is_missing_is_told_by_the_pods_warnings() -> None:
    waiting = V1ContainerStatus(
        name="base", image="i", image_id="", ready=False, restart_count=0,
        state=V1ContainerState(waiting=V1ContainerStateWaiting(reason="ContainerCreating")),
    )  # fmt: skip
    pod = V1Pod(metadata=V1ObjectMeta(name="p"), status=V1PodStatus(phase="Pending", container_statuses=[waiting]))
    error = pod_failures.never_started("train", pod, "image", ["Pulled", 'MountVolume failed: "lake" not found'])
    assert 'did not start in time (MountVolume failed: "lake" not found)' in str(error)
