"""The deploy step as a pod: it reads and writes the ledger beside the worker, and talks to the serving's cluster in the pod."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from kubernetes.client import models as k8s

from continuous_training.core.errors import Permanent, Transient
from continuous_training.provider.hooks import ContinuousTrainingHook
from continuous_training.provider.pods import literal
from continuous_training.provider.work_pod import WorkPodOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context

    from continuous_training.ledger import Ledger


class DeployPodOperator(WorkPodOperator):
    """Serve the champion that the ledger names, from a pod; skipped unless the run was promoted.

    Parameters
    ----------
    model:
        Name of the model.
    """

    def __init__(self, *, model: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model

    def execute(self, context: Context) -> Any:
        """Tell the pod the champion's release, create it and wait for it."""
        from continuous_training.steps.projection import NOTHING_TO_DEPLOY, champion_release

        promotion = context["ti"].xcom_pull(task_ids="promote")["facts"]
        if promotion["outcome"] != "promoted":
            raise AirflowSkipException(f"the champion stays: {promotion['text']}")
        with _ledger() as ledger:
            release = champion_release(ledger, self.model)
        if release is None:
            return {"step": "deploy", "facts": NOTHING_TO_DEPLOY}
        told = k8s.V1EnvVar(name="CT_RELEASE", value=literal(release.model_dump_json()))
        self.env_vars = [*self.env_vars, told]
        return super().execute(context)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """Write in the ledger where the pod that has ended says the champion answers."""
        from continuous_training.steps.projection import record_serving

        result = super().trigger_reentry(context, event)
        with _ledger() as ledger:
            record_serving(ledger, self.model, result["facts"])
        return result


@contextlib.contextmanager
def _ledger() -> Iterator[Ledger]:
    """Give the ledger; what it cannot do now is tried again."""
    from continuous_training.ledger import Ledger

    try:
        yield Ledger(ContinuousTrainingHook().get_conn().ledger)
    except Permanent as error:
        raise AirflowFailException(str(error)) from error
    except Transient as error:
        raise AirflowException(str(error)) from error
