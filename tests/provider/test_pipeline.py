"""Retrainings and looks at windows through the operators and the drift sensor, on generated rows, as a worker runs them."""

import json
import runpy
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG

import small_model
from airflow_worker import Worker, asset_event, dag_run
from continuous_training.core.run import Request
from continuous_training.ledger import Ledger
from continuous_training.provider.dags import build_rollback_dag, build_train_dag, build_watch_dag
from continuous_training.provider.operators import planned_run
from continuous_training.provider.requests import request_of
from continuous_training.provider.sensors import DriftSensor
from continuous_training.spec import load_spec
from continuous_training.steps import TRAIN_STEPS

pytestmark = pytest.mark.provider

ROOT = Path(__file__).resolve().parents[2]
MODEL = "flight_delays"
CANARY = "canary-7f3a9"
AS_OF = {"as_of": "2024-02-11T00:00:00Z", "reason": "the first one"}
RESUMED = "execute_complete", {"event": "2024-02-20T00:00:00+00:00"}


def do_all(dag: Any, run: dict[str, Any], *which: str, **connections: dict[str, Any]) -> Any:
    """Run the tasks of a chain (or some of them) in order until one does not succeed."""
    worker = Worker(run=run, connections=connections)
    states: dict[str, str] = {}
    for task in [task for task in dag.topological_sort() if not which or task.task_id in which]:
        states[task.task_id] = str(worker.do(task).state.value)
        if states[task.task_id] != "success":
            break
    return SimpleNamespace(worker=worker, states=states)


def look(spec: Any) -> Any:
    """Resume a drift sensor of its own, as the triggerer does once a window is complete."""
    with DAG("alarm", schedule=None):
        sensor = DriftSensor(task_id="wait_for_drift", spec=spec)
    worker = Worker(run=dag_run())
    return SimpleNamespace(worker=worker, outcome=worker.do(sensor, resume=RESUMED))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Tell what became of five runs and two looks on the same rows, whose wind is another from day sixty on."""
    root = tmp_path_factory.mktemp("pipeline")
    (root / "models").mkdir()
    (root / "models" / f"{MODEL}.yaml").write_text(yaml.safe_dump(small_model.document(MODEL)))
    small_model.land(root / "home", days=82, drift_after=60)
    mlflow = {
        "conn_type": "mlflow", "host": f"sqlite:///{root}/home/mlflow.db", "login": "me", "password": CANARY,
        "extra": json.dumps({"public_url": "https://mlflow.example.com/"}),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("CT_HOME", str(root / "home"))
        patch.setenv("CT_MODELS", str(root / "models"))
        patch.setenv("AIRFLOW_CONN_OTHER", f"postgres://me:{CANARY}@db/other")
        example = runpy.run_path(str(ROOT / "dags" / "example_operators.py"))["plan"].dag
        spec = load_spec(root / "models" / f"{MODEL}.yaml")
        strict = spec.model_copy(update={"promotion": spec.promotion.model_copy(update={"margin": 0.9})})
        again = spec.model_copy(
            update={"retraining": spec.retraining.model_copy(update={"cooldown": small_model.A_MOMENT})}
        )
        watched = "plan", "score", "decide"
        yield SimpleNamespace(
            spec=spec,
            root=root,
            ledger=Ledger(f"sqlite:///{root}/home/ledger.db"),
            first=do_all(example, dag_run(dag_id="example_retrain", conf=AS_OF), mlflow_default=mlflow),
            again=do_all(build_train_dag(spec), dag_run(conf=AS_OF), "plan", *TRAIN_STEPS[:5]),
            refused=do_all(build_train_dag(strict), dag_run("manual__2", conf=AS_OF)),
            alarm_quiet=look(spec),  # days 40 to 50
            quiet=do_all(build_watch_dag(spec), dag_run("scheduled__1", "scheduled"), *watched),  # days 50 to 60
            drifted=do_all(build_watch_dag(spec), dag_run("scheduled__2", "scheduled"), *watched),  # days 60 to 70
            alarm_drifted=look(again),  # days 70 to 80
        )


def test_the_hand_written_example_trains_promotes_and_deploys(story: Any) -> None:
    assert story.first.states == dict.fromkeys(["plan", *TRAIN_STEPS], "success")
    assert story.first.worker.result("promote")["facts"]["outcome"] == "promoted"
    assert story.ledger.history(MODEL)[-1].fence == 1
    planned = planned_run(story.first.worker.result("plan"))
    record = story.ledger.run(planned.key)
    assert (record.outcome, record.run.reason.text) == ("promoted", "the first one")


def test_the_same_request_again_is_the_same_run_and_does_nothing_twice(story: Any) -> None:
    assert story.again.states == dict.fromkeys(["plan", *TRAIN_STEPS[:5]], "success")
    for step in TRAIN_STEPS[:5]:
        before, after = story.first.worker.result(step), story.again.worker.result(step)
        assert not before["reused"]
        assert after == {**before, "reused": True}


def test_a_challenger_that_the_gate_refuses_is_not_deployed(story: Any) -> None:
    assert story.refused.states == {**dict.fromkeys(["plan", *TRAIN_STEPS[:6]], "success"), "deploy": "skipped"}
    facts = story.refused.worker.result("promote")["facts"]
    assert (facts["outcome"], facts["verdict"]) == ("kept", "fail")
    assert len(story.ledger.history(MODEL)) == 1
    record = story.ledger.run(planned_run(story.refused.worker.result("plan")).key)
    assert (record.outcome, record.text) == ("kept", facts["text"])


def test_a_quiet_window_skips_the_decision_so_that_no_event_starts_a_training(story: Any) -> None:
    assert story.quiet.states == {"plan": "success", "score": "success", "decide": "skipped"}
    assert ("decide", "return_value") not in story.quiet.worker.xcoms
    assert not any("outlet_events" in str(body) and body.get("outlet_events") for _, body in story.quiet.worker.sent)


def test_a_drifted_window_sends_a_request_that_the_train_dag_understands(story: Any) -> None:
    assert story.drifted.states["decide"] == "success"
    ends = [body for path, body in story.drifted.worker.sent if path.endswith("/state")]
    (event,) = ends[-1]["outlet_events"]
    assert (event["dest_asset_key"]["name"], event["dest_asset_key"]["uri"]) == (
        f"{MODEL}/retrain",
        f"continuous-training://{MODEL}/retrain",
    )
    request = Request.model_validate(event["extra"])
    assert (request.kind, request.reason, request.as_of) == ("train", "drift", datetime(2024, 3, 12, tzinfo=UTC))
    assert request.episode.startswith("drift:")
    assert "wind" in request.text
    arrived = SimpleNamespace(extra=asset_event(event["extra"])["extra"], timestamp=0)
    assert request_of({"triggering_asset_events": {"asset": [arrived]}}) == request


def test_the_drift_sensor_alone_goes_on_waiting_after_a_quiet_window(story: Any) -> None:
    assert story.alarm_quiet.outcome.state == "deferred"
    body = story.alarm_quiet.worker.sent[-1][1]
    assert (body["state"], body["next_method"]) == ("deferred", "execute_complete")
    assert body["classpath"] == "continuous_training.provider.triggers.WindowTrigger"


def test_the_drift_sensor_alone_returns_the_decision_when_it_is_yes(story: Any) -> None:
    assert story.alarm_drifted.outcome.state == "success"
    facts = story.alarm_drifted.worker.result("wait_for_drift")
    assert facts["answer"] == "yes"
    assert Request.model_validate(facts["request"]).reason == "drift"


def test_every_window_was_decided_once_and_in_order(story: Any) -> None:
    decided = [
        (record.decision.window.end.date().isoformat(), record.decision.answer)
        for record in story.ledger.decisions(MODEL)
    ]
    assert sorted(decided) == [("2024-02-20", "no"), ("2024-03-01", "no"), ("2024-03-11", "yes"), ("2024-03-21", "yes")]


def test_the_links_of_the_promotion_lead_to_what_it_made(story: Any) -> None:
    facts = story.first.worker.result("promote")["facts"]
    run = f"https://mlflow.example.com/#/experiments/{facts['mlflow_experiment']}/runs/{facts['mlflow_run']}"
    assert {
        key: value
        for (task, key), value in story.first.worker.xcoms.items()
        if task == "promote" and key != "return_value"
    } == {
        "_link_ModelCardLink": f"/continuous-training/pages/dags/{MODEL}.train/card?key={story.first.worker.result('promote')['key']}",
        "_link_MLflowRunLink": run,
        "_link_ModelVersionLink": f"https://mlflow.example.com/#/models/{MODEL}/versions/1",
        "_link_DataDocsLink": "",  # this model has no data check
    }


def test_there_are_no_links_where_the_registry_has_no_web_page(story: Any) -> None:
    pushed = story.refused.worker.xcoms
    assert {pushed["promote", f"_link_{name}"] for name in ("MLflowRunLink", "ModelVersionLink", "DataDocsLink")} == {
        ""
    }


def test_what_tasks_hand_to_one_another_is_small_json_without_secrets(story: Any) -> None:
    for told in (
        story.first,
        story.again,
        story.refused,
        story.alarm_quiet,
        story.quiet,
        story.drifted,
        story.alarm_drifted,
    ):
        for key, value in told.worker.xcoms.items():
            text = json.dumps(value, allow_nan=False)
            assert len(text) < 4096, key
            assert "sqlite:" not in text, key
        assert CANARY not in json.dumps(told.worker.sent)


def test_a_rollback_to_what_never_was_is_refused_in_words(story: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_HOME", str(story.root / "home"))
    dag = build_rollback_dag(story.spec)
    outcome = Worker(run=dag_run(dag_id=dag.dag_id, conf={"version": 7, "reason": "x"})).do(dag.get_task("roll_back"))
    assert str(outcome.state.value) == "failed"
    assert "never had a champion with fence 7" in str(outcome.error)
    assert story.ledger.champion(MODEL).fence == 1


def test_who_rolled_back_is_kept_with_the_reason(story: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_HOME", str(story.root / "home"))
    dag = build_rollback_dag(story.spec)
    worker = Worker(
        run=dag_run(dag_id=dag.dag_id, conf={"version": 1, "reason": "again"}, triggering_user_name="amelia")
    )
    assert str(worker.do(dag.get_task("roll_back")).state.value) == "success"
    facts = worker.result("roll_back")["facts"]
    assert (facts["version"], facts["reason"]) == ("1", "again (amelia)")


def test_nothing_is_written_outside_the_home_of_the_deployment(story: Any) -> None:
    assert {path.name for path in story.root.iterdir()} == {"home", "models"}
