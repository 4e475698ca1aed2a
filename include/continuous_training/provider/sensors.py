"""Wait for the next complete window, for drift, or for the end of a rollout, without holding a worker slot."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, BaseSensorOperator
from airflow.triggers.base import StartTriggerArgs

from continuous_training.core.run import Request
from continuous_training.provider.hooks import ContinuousTrainingHook, MLflowHook
from continuous_training.provider.operators import StepOperator, planned_run
from continuous_training.provider.triggers import SETTLE_SECONDS, WindowTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from continuous_training.spec import ModelSpec


class NewWindowSensor(BaseSensorOperator):
    """Succeed when the next window that nobody has scored is complete.

    The task begins and ends in the triggerer: no worker is started at all.

    Parameters
    ----------
    spec:
        The model, as `continuous_training.spec.load_spec` returns it.
    poll_seconds:
        Time between two looks at the source's watermark.
    """

    start_from_trigger = True

    def __init__(
        self,
        *,
        spec: ModelSpec,
        poll_seconds: float = 60.0,
        continuous_training_conn_id: str = ContinuousTrainingHook.default_conn_name,
        mlflow_conn_id: str = MLflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("retries", 2)
        super().__init__(**kwargs)
        self.spec = spec
        self._arguments: dict[str, Any] = {
            "spec": spec.model_dump_json(),
            "continuous_training_conn_id": continuous_training_conn_id,
            "mlflow_conn_id": mlflow_conn_id,
            "poll_seconds": poll_seconds,
            "end_task": True,
        }
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="continuous_training.provider.triggers.WindowTrigger",
            trigger_kwargs=self._arguments,
            next_method="execute_complete",
        )

    def execute(self, context: Context) -> NoReturn:  # noqa: ARG002 - Airflow's signature
        """Wait in the triggerer; reached only where a task is run by hand."""
        self.defer(trigger=WindowTrigger(**{**self._arguments, "end_task": False}), method_name="execute_complete")

    def execute_complete(self, context: Context, event: str) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the end of the window that is complete."""
        return event


class DriftSensor(StepOperator):
    """Succeed when a window of the model calls for retraining; works alone in any DAG.

    Each window that completes is scored and decided exactly as in `<model>.watch`, with the same ledger; between
    windows the sensor waits in the triggerer.

    Parameters
    ----------
    spec:
        The model, as `continuous_training.spec.load_spec` returns it.
    poll_seconds:
        Time between two looks at the source's watermark.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, spec: ModelSpec, poll_seconds: float = 60.0, **kwargs: Any) -> None:
        super().__init__(spec=spec, run=None, **kwargs)
        self.poll_seconds = poll_seconds

    def execute(self, context: Context) -> NoReturn:  # noqa: ARG002 - Airflow's signature
        """Wait for the next complete window."""
        self._wait()

    def execute_complete(self, context: Context, event: str) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Score the complete window; return the decision when it asks for a retraining, else wait for the next window."""
        self.log.info("the window that ends at %s is complete", event)
        planned = self._run_step("plan", {"CT_REQUEST": Request(kind="watch").model_dump_json()})
        run = {"CT_RUN": planned_run(planned).model_dump_json()}
        self._run_step("score", run)
        facts: dict[str, Any] = self._run_step("decide", run)["facts"]
        self.log.info("%s: %s", facts["answer"], facts["why"])
        if "request" not in facts:
            self._wait()
        return facts

    def _wait(self) -> NoReturn:
        trigger = WindowTrigger(
            self.spec.model_dump_json(),
            self.continuous_training_conn_id,
            self.mlflow_conn_id,
            self.poll_seconds,
            end_task=False,
        )
        self.defer(trigger=trigger, method_name="execute_complete")


class RolloutSensor(BaseOperator):
    """Succeed when no rollout of a model goes on; for DAGs that must not change anything meanwhile.

    Whatever drives the rollout, `<model>.train` or a hand-written DAG, writes its steps to the ledger, which is all that is read here.
    Between two looks the sensor waits in the triggerer.

    Parameters
    ----------
    model:
        Name of the model.
    poll_seconds:
        Time between two looks at the ledger.
    continuous_training_conn_id, mlflow_conn_id:
        Connections of the deployment; the configuration is used where they do not exist.
    """

    def __init__(
        self,
        *,
        model: str,
        poll_seconds: float = 60.0,
        continuous_training_conn_id: str = ContinuousTrainingHook.default_conn_name,
        mlflow_conn_id: str = MLflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.poll_seconds = poll_seconds
        self.continuous_training_conn_id = continuous_training_conn_id
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context, event: Any = None) -> dict[str, Any] | None:  # noqa: ARG002 - what the trigger says is the time
        """Return how the newest rollout ended, or nothing where there was none."""
        from continuous_training.ledger import Ledger
        from continuous_training.steps.rollout import facts_of

        settings = ContinuousTrainingHook(self.continuous_training_conn_id, self.mlflow_conn_id).get_conn()
        record = Ledger(settings.ledger).rollout(self.model)
        if record is not None and not record.ended:
            from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

            self.log.info("step %s: %s", record.step + 1, record.text)
            wait = TimeDeltaTrigger(timedelta(seconds=max(self.poll_seconds, SETTLE_SECONDS)))
            self.defer(trigger=wait, method_name="execute")
        return None if record is None else facts_of(record)
