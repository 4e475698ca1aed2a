"""A pod whose failure is understood: what a retry cannot mend is not tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from continuous_training.core.errors import Transient

if TYPE_CHECKING:
    from kubernetes.client.models import V1ContainerStateTerminated, V1Pod

KILLED = 128
"""Exit codes from here on are signals: the node, the memory limit or somebody ended the container."""


class WorkPodOperator(KubernetesPodOperator):
    """Run a work step in a pod.

    An error of the step that a retry cannot mend (wrong data, a wrong model file) fails the task at once with the step's own
    words. A container that was killed, or a store that did not answer, is tried again.
    """

    def cleanup(
        self, pod: V1Pod, remote_pod: V1Pod, xcom_result: dict[str, Any] | None = None, context: Any = None
    ) -> None:
        """Delete the pod, and tell why it failed."""
        try:
            super().cleanup(pod, remote_pod, xcom_result, context)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            ended = self._ended(remote_pod)
            if ended is None:
                raise
            raise failure(self.task_id, ended) from error

    def _ended(self, pod: V1Pod) -> V1ContainerStateTerminated | None:
        """Return how the step's container ended, if it did."""
        statuses = (pod.status.container_statuses if pod.status else None) or []
        return next((one.state.terminated for one in statuses if one.name == self.base_container_name), None)


def failure(step: str, ended: V1ContainerStateTerminated) -> AirflowException:
    """Return the error of a step whose container ended so: one that Airflow tries again, or one that it does not."""
    code, reason = ended.exit_code, ended.reason or "Error"
    if code >= KILLED or reason == "OOMKilled":
        more = "; give runner.resources.memory more" if reason == "OOMKilled" else ""
        return AirflowException(
            f"{step}: the container was killed ({reason}, exit code {code}){more}; a retry starts it again"
        )
    told = [line.removeprefix("ct: ") for line in (ended.message or "").splitlines() if line.startswith("ct: ")]
    words = f"{step}: {told[-1] if told else f'exit code {code}; its log is above'}"
    return AirflowException(words) if code == Transient.exit_code else AirflowFailException(words)
