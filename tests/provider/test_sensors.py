"""The sensors, and what they hand to the triggerer. The drift sensor's looks at real windows are in `test_pipeline.py`."""

import inspect
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.serde import deserialize

import small_model
from airflow_worker import Worker, dag_run
from continuous_training.provider.sensors import DriftSensor, NewWindowSensor
from continuous_training.provider.triggers import WindowTrigger

pytestmark = pytest.mark.provider

CONNECTIONS = {"continuous_training_conn_id": "ours", "mlflow_conn_id": "theirs"}


def sensor(kind: type[Any], **arguments: Any) -> Any:
    with DAG("m.watch", schedule=None):
        return kind(task_id="wait", spec=small_model.spec(), **arguments)


def deferral(worker: Worker) -> dict[str, Any]:
    """Return what the triggerer is asked to do."""
    return next(body for path, body in worker.sent if path.endswith("/state") and body["state"] == "deferred")


def test_the_new_window_sensor_starts_its_trigger_with_exactly_what_the_trigger_takes() -> None:
    started = sensor(NewWindowSensor, poll_seconds=9.0, **CONNECTIONS).start_trigger_args
    assert set(started.trigger_kwargs) == set(inspect.signature(WindowTrigger).parameters)
    trigger = WindowTrigger(**started.trigger_kwargs)
    assert f"{type(trigger).__module__}.{type(trigger).__qualname__}" == started.trigger_cls
    assert trigger.serialize() == (started.trigger_cls, started.trigger_kwargs)
    assert (trigger.end_task, trigger.poll_seconds, trigger.continuous_training_conn_id, trigger.mlflow_conn_id) == (
        True,
        9.0,
        "ours",
        "theirs",
    )


def test_the_new_window_sensor_needs_no_worker() -> None:
    waits = sensor(NewWindowSensor)
    assert waits.start_from_trigger
    assert hasattr(waits, waits.start_trigger_args.next_method)


@pytest.mark.parametrize("kind", [NewWindowSensor, DriftSensor])
def test_run_by_a_worker_a_sensor_waits_in_the_triggerer_and_is_resumed_there(kind: type[Any]) -> None:
    worker = Worker(run=dag_run())
    outcome = worker.do(sensor(kind, **CONNECTIONS))
    assert outcome.state == "deferred"
    body = deferral(worker)
    assert (body["classpath"], body["next_method"]) == (
        "continuous_training.provider.triggers.WindowTrigger",
        "execute_complete",
    )
    trigger = WindowTrigger(**deserialize(body["trigger_kwargs"]))
    assert not trigger.end_task
    assert trigger.continuous_training_conn_id == "ours"


def test_the_resumed_sensor_returns_the_end_of_the_window() -> None:
    worker = Worker(run=dag_run())
    outcome = worker.do(sensor(NewWindowSensor), resume=("execute_complete", {"event": "2024-02-20T00:00:00+00:00"}))
    assert outcome.state == "success"
    assert worker.result("wait") == "2024-02-20T00:00:00+00:00"


@pytest.mark.parametrize("kind", [NewWindowSensor, DriftSensor])
def test_a_sensor_is_tried_again_unless_somebody_says_otherwise(kind: type[Any]) -> None:
    assert sensor(kind).retries >= 1
    assert sensor(kind, retries=0).retries == 0
