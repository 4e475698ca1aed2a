"""The DAGs of each model file: `<model>.watch` looks and decides, `<model>.train` retrains, `<model>.rollback` goes back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable
from airflow.sdk.exceptions import AirflowFailException

from continuous_training.core.errors import SpecError
from continuous_training.provider.hooks import configured_poll_seconds, configured_settings
from continuous_training.provider.operators import (
    CollectDataOperator,
    DecideRetrainingOperator,
    DeployChampionOperator,
    EvaluateChallengerOperator,
    PlanRunOperator,
    PrepareFeaturesOperator,
    PromoteChallengerOperator,
    RollBackOperator,
    RolloutOperator,
    ScoreWindowOperator,
    TrainChallengerOperator,
    ValidateDataOperator,
    retrain_asset,
)
from continuous_training.provider.pods import deploy_task, pod_task
from continuous_training.provider.requests import rollback_params, train_params
from continuous_training.provider.sensors import NewWindowSensor
from continuous_training.spec import load_specs

if TYPE_CHECKING:
    from continuous_training.provider.operators import StepOperator
    from continuous_training.spec import ModelSpec

TAG = "continuous-training"
KINDS = ("train", "watch", "rollback")
"""What follows the model's name in the name of a DAG."""
# With a start in the past a schedule's last missed tick runs as soon as the DAG is unpaused: the first training. Without
# one, `@continuous` asks for the same logical date again and again after its first run.
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


def build_dags(models: str | Path | None = None) -> dict[str, DAG]:
    """Return all DAGs of the model files in a folder, by name.

    A wrong model file becomes one DAG `<file>.invalid` that shows what is wrong; the other models are not affected.

    Parameters
    ----------
    models:
        Folder of the model files; the default is the deployment's.
    """
    settings = configured_settings()
    specs, errors = load_specs(Path(models or settings.models))
    dags: list[DAG] = []
    for name, spec in specs.items():
        try:
            settings.allowed.check(f"{name}: deployment", spec.deployment.asked())
            dags += [build_train_dag(spec), build_watch_dag(spec), build_rollback_dag(spec)]
        except SpecError as error:  # it asks for what this deployment does not allow
            errors[name] = error
    dags += [_build_invalid_dag(name, error) for name, error in errors.items()]
    return {dag.dag_id: dag for dag in dags}


def build_train_dag(spec: ModelSpec, **arguments: Any) -> DAG:
    """Return the training DAG of a model.

    Parameters
    ----------
    arguments:
        Passed to `DAG`, over what the model file says.

    Raises
    ------
    SpecError
        The model file asks for what this deployment does not allow.
    """
    asset = retrain_asset(spec.model)
    schedule: Any = [asset]
    if spec.retraining.schedule is not None:
        timetable = CronTriggerTimetable(spec.retraining.schedule, timezone=spec.retraining.timezone)
        schedule = AssetOrTimeSchedule(timetable=timetable, assets=[asset])
    settings = _settings(
        spec, "train", f"Train a challenger of {spec.model} and promote it when it is shown to be better"
    )
    settings |= {"schedule": schedule, "params": train_params()}
    with DAG(**{**settings, **arguments}) as dag:  # noqa: AIR002 - it is in the settings
        plan = PlanRunOperator(task_id="plan", spec=spec, doc_md=PlanRunOperator.__doc__)
        work = [_work_task(operator, spec, plan) for operator in TRAIN_WORK]
        promote = PromoteChallengerOperator(
            task_id="promote", spec=spec, run=plan.output, doc_md=PromoteChallengerOperator.__doc__
        )
        deploy = _deploy_task(spec, plan, promote)
        approve = _approval(spec, plan)
        rollout = [_rollout(spec, plan)] if spec.rollout is not None else []
        for earlier, later in pairwise([plan, *work, *approve, *rollout, promote, deploy]):
            earlier >> later
    return dag


def build_watch_dag(spec: ModelSpec, **arguments: Any) -> DAG:
    """Return the DAG that waits for each window of a model, scores it and decides.

    Parameters
    ----------
    arguments:
        Passed to `DAG`, over what the model file says.

    Raises
    ------
    SpecError
        The model file asks for what this deployment does not allow.
    """
    settings = _settings(spec, "watch", f"Look at each new window of {spec.model} and decide whether to retrain")
    settings |= {"schedule": "@continuous"}
    with DAG(**{**settings, **arguments}) as dag:  # noqa: AIR002 - it is in the settings
        wait = NewWindowSensor(
            task_id="wait", spec=spec, doc_md=NewWindowSensor.__doc__, poll_seconds=configured_poll_seconds()
        )
        plan = PlanRunOperator(task_id="plan", spec=spec, kind="watch", doc_md=PlanRunOperator.__doc__)
        score = _work_task(ScoreWindowOperator, spec, plan)
        decide = DecideRetrainingOperator(
            task_id="decide", spec=spec, run=plan.output, doc_md=DecideRetrainingOperator.__doc__
        )
        wait >> plan >> score >> decide
    return dag


def build_rollback_dag(spec: ModelSpec, **arguments: Any) -> DAG:
    """Return the DAG by which people make an earlier champion the champion again.

    Parameters
    ----------
    arguments:
        Passed to `DAG`, over what the model file says.
    """
    settings = _settings(spec, "rollback", f"Make an earlier champion of {spec.model} the champion again")
    settings |= {"schedule": None, "params": rollback_params(), "is_paused_upon_creation": False}
    with DAG(**{**settings, **arguments}) as dag:  # noqa: AIR002 - it is in the settings
        RollBackOperator(task_id="roll_back", spec=spec, doc_md=RollBackOperator.__doc__)
    return dag


def _settings(spec: ModelSpec, kind: str, description: str) -> dict[str, Any]:
    """Return what the DAGs of a model have in common."""
    return {
        "dag_id": f"{spec.model}.{kind}",
        "description": description,
        "doc_md": _document(spec),
        "start_date": BEGINNING,
        "max_active_runs": 1,
        "catchup": False,
        "tags": [TAG, spec.model],
        "default_args": {"priority_weight": spec.airflow.priority, "weight_rule": "absolute"},
    }


TRAIN_WORK: tuple[type[StepOperator], ...] = (
    CollectDataOperator,
    ValidateDataOperator,
    PrepareFeaturesOperator,
    TrainChallengerOperator,
    EvaluateChallengerOperator,
)


def _work_task(operator: type[StepOperator], spec: ModelSpec, plan: PlanRunOperator) -> Any:
    queued = _queued(spec)
    if spec.runner.kind == "kubernetes":
        return pod_task(spec, operator.step, doc_md=operator.__doc__, **queued)
    return operator(task_id=operator.step, spec=spec, run=plan.output, doc_md=operator.__doc__, **queued)


def _deploy_task(spec: ModelSpec, plan: PlanRunOperator, promote: PromoteChallengerOperator) -> Any:
    doc = DeployChampionOperator.__doc__
    if spec.deployment.in_pod:
        return deploy_task(spec, doc_md=doc)
    return DeployChampionOperator(task_id="deploy", spec=spec, run=plan.output, promotion=promote.output, doc_md=doc)


def _queued(spec: ModelSpec) -> dict[str, str]:
    """Return where Airflow queues the work of a model.

    Airflow itself never starts a task whose pool does not exist, and says so only in the scheduler's log.
    """
    allowed = configured_settings().allowed
    allowed.check(f"{spec.model}: airflow", spec.airflow.asked())
    return {"pool": spec.airflow.pool or allowed.pool} | ({"queue": spec.airflow.queue} if spec.airflow.queue else {})


def _rollout(spec: ModelSpec, plan: PlanRunOperator) -> RolloutOperator:
    return RolloutOperator(
        task_id="rollout",
        spec=spec,
        run=plan.output,
        doc_md=RolloutOperator.__doc__,
        # however seldom sources are looked at: servers leave a rollout that nobody has looked at for ten minutes
        poll_seconds=min(configured_poll_seconds(), 60.0),
    )


def _approval(spec: ModelSpec, plan: PlanRunOperator) -> list[Any]:
    """Return the task that asks a person before the challenger is promoted, where the model file wants one."""
    if spec.promotion.asks is None:
        return []
    from continuous_training.provider.approval import ApproveChallengerOperator

    doc = ApproveChallengerOperator.__doc__
    return [
        ApproveChallengerOperator(
            task_id="approve", spec=spec, approval=spec.promotion.asks, run=plan.output, doc_md=doc
        )
    ]


def _document(spec: ModelSpec) -> str:
    columns = ", ".join(spec.features.columns)
    return (
        f"### {spec.model}\n\n{spec.description}\n\n"
        f"Predicts `{spec.task.label}` ({spec.task.kind}) from {columns}.\n\n"
        f"`ct explain {spec.model}` says in words what this model file does; `ct history {spec.model}` lists every decision."
    )


def _build_invalid_dag(name: str, error: SpecError) -> DAG:
    from airflow.sdk import task

    message = str(error)
    # A file may have any name, a DAG may not.
    dag_id = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:200]}.invalid"
    with DAG(
        dag_id, schedule=None, tags=[TAG, "invalid"], doc_md=f"### {name}.yaml is wrong\n\n```\n{message}\n```"
    ) as dag:

        @task(task_id="wrong_model_file", retries=0)
        def fail() -> None:
            raise AirflowFailException(message)

        fail()
    return dag
