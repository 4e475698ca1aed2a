"""The same pipeline written by hand with the operators, for those who want their own DAG around it.

`example_retrain` is the training, started by hand. `example_drift_alarm` is the sensor alone: it waits in the triggerer
until a window of data calls for retraining, and what follows is up to you.
"""

from pathlib import Path

from airflow.sdk import DAG

from continuous_training.provider.hooks import configured_settings
from continuous_training.provider.operators import (
    CollectDataOperator,
    DeployChampionOperator,
    EvaluateChallengerOperator,
    PlanRunOperator,
    PrepareFeaturesOperator,
    PromoteChallengerOperator,
    TrainChallengerOperator,
    ValidateDataOperator,
)
from continuous_training.provider.requests import train_params
from continuous_training.provider.sensors import DriftSensor
from continuous_training.spec import load_spec

SPEC = load_spec(Path(configured_settings().models) / "flight_delays.yaml")

with DAG(
    "example_retrain", schedule=None, params=train_params(), tags=["continuous-training", "example"], doc_md=__doc__
):
    plan = PlanRunOperator(task_id="plan", spec=SPEC)
    collect = CollectDataOperator(task_id="collect", spec=SPEC, run=plan.output)
    validate = ValidateDataOperator(task_id="validate", spec=SPEC, run=plan.output)
    prepare = PrepareFeaturesOperator(task_id="prepare", spec=SPEC, run=plan.output)
    train = TrainChallengerOperator(task_id="train", spec=SPEC, run=plan.output)
    evaluate = EvaluateChallengerOperator(task_id="evaluate", spec=SPEC, run=plan.output)
    promote = PromoteChallengerOperator(task_id="promote", spec=SPEC, run=plan.output)
    deploy = DeployChampionOperator(task_id="deploy", spec=SPEC, run=plan.output, promotion=promote.output)
    plan >> collect >> validate >> prepare >> train >> evaluate >> promote >> deploy

with DAG("example_drift_alarm", schedule=None, tags=["continuous-training", "example"], doc_md=__doc__):
    DriftSensor(task_id="wait_for_drift", spec=SPEC, poll_seconds=5)
