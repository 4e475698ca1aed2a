"""A pod whose failure is understood: what a retry cannot mend is not tried again, and nothing that never ran is left behind."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodNotFoundException, detect_pod_terminate_early_issues
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from kubernetes.client.exceptions import ApiException

from continuous_training.provider import pod_failures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.sdk import Context
    from kubernetes.client.models import V1ContainerStatus, V1Pod


class WorkPodOperator(KubernetesPodOperator):
    """Run a work step in a pod.

    An error of the step that a retry cannot mend (wrong data, a wrong model file) fails the task at once with the step's own
    words. A container that was killed, a pod that is gone or never started, or a store that did not answer, is tried again.
    """

    def execute(self, context: Context) -> Any:
        """Create the pod, or find the one that an attempt before this one created, and wait for it."""
        with pod_failures.understood(self.task_id, "create", self.namespace):
            return super().execute(context)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """Take the result of a pod that has ended, or give up one that cannot start."""
        with pod_failures.understood(self.task_id, "get", self.namespace):
            try:
                if event["status"] != "success":
                    self._give_up_unstarted(event)
                return super().trigger_reentry(context, event)
            except PodNotFoundException as error:
                raise pod_failures.lost(self.task_id, event["name"]) from error

    def cleanup(
        self, pod: V1Pod, remote_pod: V1Pod, xcom_result: dict[str, Any] | None = None, context: Any = None
    ) -> None:
        """Delete the pod when it succeeded, and tell why when it failed."""
        try:
            super().cleanup(pod, remote_pod, xcom_result, context)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            raise self._failure(remote_pod) or error from error

    def _failure(self, pod: V1Pod) -> AirflowException | None:
        """Return why a pod that had started failed, when the cluster tells it."""
        node = pod_failures.evicted(self.task_id, pod)
        states = [one.state.terminated for one in self._base(pod) if one.state.terminated]
        return node or (pod_failures.ended(self.task_id, states[0]) if states else None)

    def _give_up_unstarted(self, event: dict[str, Any]) -> None:
        """Delete a pod that cannot start: it would hold its quota, and Airflow would wait for its end for ever."""
        try:
            pod = self.hook.get_pod(event["name"], event["namespace"])
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise pod_failures.lost(self.task_id, event["name"]) from error
            raise
        begun = any(one.state.running or one.state.terminated for one in self._base(pod))
        hopeless = (
            event["status"] == "timeout" or detect_pod_terminate_early_issues(pod) or pod.status.phase == "Failed"
        )
        if begun or not hopeless:
            return
        warnings = [one for one in self.pod_manager.read_pod_events(pod).items if one.type == "Warning"]
        failure = pod_failures.evicted(self.task_id, pod) or pod_failures.never_started(
            self.task_id, pod, str(self.image), [one.message for one in warnings]
        )
        self.pod_manager.delete_pod(pod)
        raise failure

    def _base(self, pod: V1Pod) -> Iterable[V1ContainerStatus]:
        return [one for one in pod.status.container_statuses or [] if one.name == self.base_container_name]
