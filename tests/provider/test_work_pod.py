"""What Airflow is told of a pod that failed."""

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client.models import V1ContainerStateTerminated

from continuous_training.provider.work_pod import failure

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
    error = failure("train", V1ContainerStateTerminated(exit_code=code, reason=reason, message=message))
    assert isinstance(error, AirflowFailException) is final
    assert isinstance(error, AirflowException)
    assert words in str(error)
