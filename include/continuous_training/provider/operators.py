"""One operator for each step. The work is done by `ct step`; the operator starts it and reads its answer."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from continuous_training.core.errors import ContinuousTrainingError, Permanent
from continuous_training.core.run import Request, Run
from continuous_training.provider.containers import StepContainer
from continuous_training.provider.hooks import (
    ContinuousTrainingHook,
    MLflowHook,
    configured_airflow,
    configured_dashboards,
    configured_settings,
    source_environment,
)
from continuous_training.provider.links import (
    DashboardLink,
    DataDocsLink,
    DriftReportLink,
    MLflowRunLink,
    ModelCardLink,
    ModelVersionLink,
    look_links,
    page_link,
    result_links,
)
from continuous_training.provider.process import StepProcess, step_environment
from continuous_training.provider.requests import request_of, rollback_of
from continuous_training.provider.triggers import SETTLE_SECONDS
from continuous_training.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec

_READ_THE_SOURCE = frozenset({"plan", "collect", "score"})


def retrain_asset(model: str) -> Asset:
    """Return the asset whose events start `<model>.train`: the one door for every reason that is not a schedule.

    An event may carry a request (`continuous_training.core.run.Request`) as its extra.
    """
    return Asset(name=f"{model}/retrain", uri=f"continuous-training://{model}/retrain")


class StepOperator(BaseOperator):
    """Run one step of a run in a process of its own.

    Parameters
    ----------
    spec:
        The model, as `continuous_training.spec.load_spec` returns it.
    run:
        The answer of the plan step: `plan.output` or a template that renders to it.
    continuous_training_conn_id, mlflow_conn_id:
        Connections of the deployment; the configuration is used where they do not exist.
    """

    step: ClassVar[str]
    template_fields: Sequence[str] = ("run",)
    ui_color = "#e6f0fa"

    def __init__(
        self,
        *,
        spec: ModelSpec,
        run: Any,
        continuous_training_conn_id: str = ContinuousTrainingHook.default_conn_name,
        mlflow_conn_id: str = MLflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("retries", 2)
        super().__init__(**kwargs)
        self.spec = spec
        self.run = run
        self.continuous_training_conn_id = continuous_training_conn_id
        self.mlflow_conn_id = mlflow_conn_id
        self.links: dict[str, str] = {}
        self._process = self._runner()

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Run the step and return its result: small JSON."""
        return self._run_step(self.step, {"CT_RUN": planned_run(self.run).model_dump_json()})

    def on_kill(self) -> None:
        """End the step process; a later try goes on from the last finished step."""
        self._process.stop()

    def _runner(self) -> StepProcess | StepContainer:
        """Return what starts the step: control steps run beside the worker in any case."""
        runner = self.spec.runner
        if runner.kind == "docker" and self.step in STEPS and STEPS[self.step].plane == "work":
            configured_settings().allowed.check(f"{self.spec.model}: runner", runner.asked())
            return StepContainer(runner)
        return StepProcess()

    def _run_step(self, step: str, told: Mapping[str, str]) -> dict[str, Any]:
        try:
            settings = ContinuousTrainingHook(self.continuous_training_conn_id, self.mlflow_conn_id).get_conn()
        except Permanent as error:
            raise AirflowFailException(str(error)) from error
        registry = MLflowHook(self.mlflow_conn_id).environment()
        source = source_environment(self.spec) if step in _READ_THE_SOURCE else {}
        environment = step_environment(step, self.spec, settings, registry=registry, source=source)
        try:
            return self._process.run(step, {**environment, **told}, self.log)
        except AirflowFailException as error:
            if "CT_RUN" in told:
                self._record_failure(Run.model_validate_json(told["CT_RUN"]), settings, step, str(error))
            raise

    def _record_failure(self, run: Run, settings: Settings, step: str, text: str) -> None:
        from continuous_training.steps.failure import record_failure

        try:
            record_failure(run, settings, step, text)
        except ContinuousTrainingError as error:
            # What the step said is the task's error, not that the ledger is down as well.
            self.log.warning("the ledger does not say that run %s failed: %s", run.key[:12], error)


class PlanRunOperator(StepOperator):
    """Turn whatever started this DAG run into one planned run.

    A cron tick, an event on the model's asset, the trigger form and the REST API all end here; the same request twice
    is the same run. With `kind="watch"` the run is a look at the next complete window.
    """

    step = "plan"
    template_fields: Sequence[str] = ()

    def __init__(self, *, spec: ModelSpec, kind: str = "train", **kwargs: Any) -> None:
        super().__init__(spec=spec, run=None, **kwargs)
        self.kind = kind

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the plan step's result; `facts.run` is what the other operators take."""
        request = Request(kind="watch") if self.kind == "watch" else request_of(context)
        self.log.info("request: %s", request.model_dump_json())
        return self._run_step("plan", {"CT_REQUEST": request.model_dump_json()})


class CollectDataOperator(StepOperator):
    """Read the run's window from the source and keep the rows."""

    step = "collect"


class ValidateDataOperator(StepOperator):
    """Check the rows with Great Expectations; a failed critical check ends the run before training."""

    step = "validate"


class PrepareFeaturesOperator(StepOperator):
    """Split the rows by time and fit the transformation on the training rows."""

    step = "prepare"


class TrainChallengerOperator(StepOperator):
    """Train the challenger."""

    step = "train"


class EvaluateChallengerOperator(StepOperator):
    """Measure challenger and champion on the same hold-out rows and let the promotion gate judge."""

    step = "evaluate"


class PromoteChallengerOperator(StepOperator):
    """Make the challenger champion when the gate says so; exactly once."""

    step = "promote"
    operator_extra_links = (ModelCardLink(), MLflowRunLink(), ModelVersionLink(), DataDocsLink())

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the promote step's result; `facts.outcome` is promoted, kept or dry_run."""
        result = super().execute(context)
        self.links = result_links(MLflowHook(self.mlflow_conn_id).public_url(), self.spec, result["facts"])
        self.links[ModelCardLink.name] = page_link(
            configured_airflow(), self.spec.model, "train", "card", key=result["key"]
        )
        return result


class RolloutOperator(StepOperator):
    """Let a challenger that passed the gate meet real requests beside the champion, until that is decided.

    Each look is one step process; between two looks the task waits in the triggerer and holds no worker. A look that was killed is
    done again from the ledger's word. The task succeeds either way: `facts.answer` is promote, reject, or none where there was
    nothing to compare with.

    Parameters
    ----------
    poll_seconds:
        Time between two looks. Servers let the champion answer everything when nobody has looked for ten minutes.
    """

    step = "rollout"

    def __init__(self, *, poll_seconds: float = 60.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.poll_seconds = poll_seconds

    def execute(self, context: Context, event: Any = None) -> dict[str, Any]:  # noqa: ARG002 - what the trigger says is the time
        """Look; return the rollout's end, or wait for the next look."""
        result = super().execute(context)
        facts = result["facts"]
        self.log.info("%s: %s", facts["answer"], facts["text"])
        for rule in facts.get("rules", ()):
            self.log.info("  %s", rule)
        if facts["answer"] == "watch":
            from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

            wait = TimeDeltaTrigger(timedelta(seconds=max(self.poll_seconds, SETTLE_SECONDS)))
            self.defer(trigger=wait, method_name="execute")
        return result


class DeployChampionOperator(StepOperator):
    """Serve the champion that the ledger names.

    Parameters
    ----------
    promotion:
        The answer of the promote step; the task is skipped unless it says promoted.
    """

    step = "deploy"
    template_fields: Sequence[str] = ("run", "promotion")

    def __init__(self, *, promotion: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.promotion = promotion

    def execute(self, context: Context) -> dict[str, Any]:
        """Return where the champion answers."""
        facts = decoded(self.promotion)["facts"]
        if facts["outcome"] != "promoted":
            raise AirflowSkipException(f"the champion stays: {facts['text']}")
        return super().execute(context)


class RollBackOperator(StepOperator):
    """Make an earlier champion the champion again, show it in MLflow and serve it.

    Which version and why are asked for by the trigger form. A repeated attempt changes nothing more.
    """

    step = "rollback"
    template_fields: Sequence[str] = ()

    def __init__(self, *, spec: ModelSpec, **kwargs: Any) -> None:
        super().__init__(spec=spec, run=None, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Return which version is the champion and where it answers."""
        return self._run_step("rollback", {"CT_ROLLBACK": rollback_of(context).model_dump_json()})


class ScoreWindowOperator(StepOperator):
    """Measure drift and realised performance of one window."""

    step = "score"


class DecideRetrainingOperator(StepOperator):
    """Decide on a scored window, write the decision to the ledger, and on yes emit the model's retrain asset.

    On no the task is skipped, so that no event is emitted; the reason stands in the log and in the ledger. An earlier yes
    whose event was lost, so that no run of it has begun, is emitted again.
    """

    step = "decide"
    operator_extra_links = (DriftReportLink(), DashboardLink())

    def __init__(self, *, spec: ModelSpec, **kwargs: Any) -> None:
        kwargs.setdefault("outlets", [retrain_asset(spec.model)])
        super().__init__(spec=spec, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the decision when it asks for a retraining."""
        result = super().execute(context)
        facts = result["facts"]
        self.log.info("ct explain %s --window %s tells all of it", self.spec.model, facts["window"])
        self.links = look_links(configured_airflow(), configured_dashboards(), planned_run(self.run))
        if "request" not in facts:
            raise AirflowSkipException(f"{facts['answer']}: {facts['why']}")
        context["outlet_events"][retrain_asset(self.spec.model)].extra = facts["request"]
        return result


def decoded(value: Any) -> Any:
    """Return the value of an XCom that may still be JSON text."""
    return json.loads(value) if isinstance(value, str) else value


def planned_run(value: Any) -> Run:
    """Return the run in the answer of a plan step."""
    return Run.model_validate(decoded(value)["facts"]["run"])
