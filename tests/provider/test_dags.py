"""The DAGs that model files turn into, as the DAG processor, the scheduler and the web server see them."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.models.trigger import Trigger
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.module_loading import import_string
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.simple import AssetTriggeredTimetable, ContinuousTimetable

import small_model
from airflow_worker import Worker, dag_run
from continuous_training.provider.dags import build_dags, build_rollback_dag, build_train_dag, build_watch_dag
from continuous_training.provider.triggers import WindowTrigger
from continuous_training.spec import ModelSpec

pytestmark = pytest.mark.provider

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ["plan", "collect", "validate", "prepare", "train", "evaluate", "promote", "deploy"]
WATCH = ["wait", "plan", "score", "decide"]
RIGHT = {"right.train", "right.watch", "right.rollback"}
KUBERNETES = {"kind": "kubernetes", "image": "registry.example.com/ct@sha256:" + "0" * 64}
EVERY_MONDAY = {"schedule": "0 3 * * MON", "timezone": "America/New_York"}


def round_trip(dag: Any) -> Any:
    """Return the DAG as the scheduler and the web server get it: through JSON."""
    return DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))


def next_run(dag: Any, after: Any = None) -> Any:
    """Return the run that the scheduler would make next."""
    return dag.next_dagrun_info(last_automated_run_info=after)


@pytest.fixture
def bag(monkeypatch: pytest.MonkeyPatch) -> DagBag:
    monkeypatch.setenv("CT_MODELS", str(ROOT / "include" / "models"))
    return DagBag(ROOT / "dags")


def test_the_dag_files_of_this_project_load(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == {
        "flight_delays.train",
        "flight_delays.watch",
        "flight_delays.rollback",
        "example_retrain",
        "example_drift_alarm",
    }


def test_every_dag_of_this_project_survives_the_way_to_the_scheduler(bag: DagBag) -> None:
    for dag_id, dag in bag.dags.items():
        assert [task.task_id for task in round_trip(dag).tasks] == [task.task_id for task in dag.tasks], dag_id


def test_every_dag_and_every_task_of_a_model_is_documented() -> None:
    for build in (build_train_dag, build_watch_dag, build_rollback_dag):
        dag = round_trip(build(small_model.spec()))
        assert "Predicts `late`" in dag.doc_md
        for task in dag.tasks:
            assert task.doc_md.strip(), task.task_id


@pytest.mark.parametrize(("build", "tasks"), [(build_train_dag, TRAIN), (build_watch_dag, WATCH)])
@pytest.mark.parametrize("runner", [{"kind": "subprocess"}, KUBERNETES])
def test_the_steps_follow_one_another(build: Any, tasks: list[str], runner: dict[str, Any]) -> None:
    dag = build(small_model.spec(runner=runner))
    assert [task.task_id for task in dag.topological_sort()] == tasks
    for earlier, later in pairwise(tasks):
        assert later in dag.get_task(earlier).downstream_task_ids


@pytest.mark.parametrize("build", [build_train_dag, build_watch_dag])
def test_there_is_one_run_at_a_time_and_none_for_the_past(build: Any) -> None:
    dag = round_trip(build(small_model.spec(retraining=EVERY_MONDAY)))
    assert dag.max_active_runs == 1
    assert not dag.catchup


def test_the_schedule_is_cron_in_the_zone_of_the_model_or_the_asset() -> None:
    dag = round_trip(build_train_dag(small_model.spec(retraining=EVERY_MONDAY)))
    assert isinstance(dag.timetable, AssetOrTimeSchedule)
    (_, asset) = next(dag.timetable.asset_condition.iter_assets())
    assert (asset.name, asset.uri) == ("m/retrain", "continuous-training://m/retrain")
    local = next_run(dag).run_after.in_timezone("America/New_York")
    assert (local.format("ddd"), local.hour, local.minute) == ("Mon", 3, 0)


def test_a_scheduled_model_is_first_trained_at_once_and_then_on_its_schedule() -> None:
    dag = round_trip(build_train_dag(small_model.spec(retraining=EVERY_MONDAY)))
    first = next_run(dag)
    now = datetime.now(UTC)
    assert now - timedelta(days=8) < first.run_after <= now
    assert next_run(dag, first).run_after > now


@pytest.mark.parametrize(
    "schedule",
    ["*/5 * * * *", "0 0 29 2 *", "0 3 * * MON#1", "0 3 L * *", "59 23 31 12 *", "0 3 * JAN-MAR SUN", "0 3 1,15 * 7"],
)
@pytest.mark.parametrize("timezone", ["UTC", "Asia/Kathmandu", "Etc/GMT+12"])
def test_every_schedule_that_a_model_file_may_have_is_one_that_airflow_takes(schedule: str, timezone: str) -> None:
    dag = round_trip(build_train_dag(small_model.spec(retraining={"schedule": schedule, "timezone": timezone})))
    assert next_run(dag).run_after


def test_a_model_without_a_schedule_is_trained_on_the_asset_alone() -> None:
    dag = round_trip(build_train_dag(small_model.spec()))
    assert isinstance(dag.timetable, AssetTriggeredTimetable)
    assert [asset.name for _, asset in dag.timetable.asset_condition.iter_assets()] == ["m/retrain"]


def test_the_watch_goes_on_for_ever_and_starts_in_the_triggerer() -> None:
    dag = round_trip(build_watch_dag(small_model.spec()))
    assert isinstance(dag.timetable, ContinuousTimetable)
    first = next_run(dag)
    assert next_run(dag, first).logical_date > first.logical_date  # the same one again would never be run
    wait = dag.get_task("wait")
    assert wait.start_from_trigger
    started = Trigger(classpath=wait.start_trigger_args.trigger_cls, kwargs=wait.start_trigger_args.trigger_kwargs)
    trigger = import_string(started.classpath)(**started.kwargs)
    assert isinstance(trigger, WindowTrigger)
    assert trigger.end_task
    assert ModelSpec.model_validate_json(trigger.spec) == small_model.spec()


def test_the_watch_tells_the_train_dag_through_the_asset() -> None:
    decide = round_trip(build_watch_dag(small_model.spec())).get_task("decide")
    assert [outlet.name for outlet in decide.outlets] == ["m/retrain"]


@pytest.mark.parametrize("runner", [{"kind": "subprocess"}, KUBERNETES])
@pytest.mark.parametrize("build", [build_train_dag, build_watch_dag])
def test_every_task_is_tried_again_after_a_passing_failure(build: Any, runner: dict[str, Any]) -> None:
    # A task resumed within the worker's heartbeat of its deferral can be marked failed: deferrable ones need it most.
    for task in round_trip(
        build(small_model.spec(runner=runner, promotion={"metric": "roc_auc", "approval": "always"}))
    ).tasks:
        assert task.retries >= 1, task.task_id


def test_the_form_and_the_links_reach_the_web_server() -> None:
    dag = round_trip(build_train_dag(small_model.spec()))
    assert set(dag.params.dump()) == {"reason", "as_of", "trials", "force", "dry_run"}
    assert dag.params.get_param("as_of").schema["format"] == "date-time"
    assert set(dag.get_task("promote").operator_extra_link_dict) == {
        "Model card",
        "MLflow run",
        "Model version",
        "Data Docs",
    }


def test_the_deployment_says_how_often_the_sources_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def poll_seconds() -> float:
        return build_watch_dag(small_model.spec()).get_task("wait").start_trigger_args.trigger_kwargs["poll_seconds"]

    assert poll_seconds() == 60.0
    monkeypatch.setenv("AIRFLOW__CONTINUOUS_TRAINING__POLL_SECONDS", "2.5")
    assert poll_seconds() == 2.5


@pytest.mark.parametrize("runner", [{"kind": "subprocess"}, KUBERNETES])
def test_no_secret_of_the_deployment_is_in_a_serialised_dag(
    runner: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "canary-51d0"
    monkeypatch.setenv("CT_LEDGER", f"postgresql://ct:{secret}@db/ledger")
    monkeypatch.setenv("AIRFLOW__CONTINUOUS_TRAINING__LEDGER", f"postgresql://ct:{secret}@db/ledger")
    monkeypatch.setenv("AIRFLOW__CONTINUOUS_TRAINING__REGISTRY", f"https://ct:{secret}@mlflow.example.com")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://ct:{secret}@mlflow.example.com")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"postgres://ct:{secret}@db/shop")
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", f"mlflow://ct:{secret}@https%3A%2F%2Fmlflow.example.com")
    monkeypatch.setenv(
        "AIRFLOW_CONN_CONTINUOUS_TRAINING_DEFAULT", json.dumps({"conn_type": "continuous_training", "password": secret})
    )
    spec = small_model.spec(runner=runner, source={"kind": "sql", "conn_id": "shop", "table": "rows"})
    for build in (build_train_dag, build_watch_dag, build_rollback_dag):
        assert secret not in json.dumps(DagSerialization.to_dict(build(spec)))


def test_a_wrong_model_file_is_one_dag_that_says_what_is_wrong_and_the_others_are_not_affected(
    model_files: Any,
) -> None:
    wrong = small_model.document("wrong") | {"trainr": {}}
    dags = build_dags(model_files(right=small_model.document("right"), wrong=wrong))
    assert set(dags) == {*RIGHT, "wrong.invalid"}
    invalid = dags["wrong.invalid"]
    assert "trainr" in round_trip(invalid).doc_md
    outcome = Worker(run=dag_run()).do(invalid.get_task("wrong_model_file"))
    assert outcome.state == "failed"
    assert "wrong.yaml" in str(outcome.error)
    assert "trainr" in str(outcome.error)


@pytest.mark.parametrize(
    "name", ["my model", "a/../b".replace("/", "_"), "ünïcode", "x" * 240, "quote'\"", "{{ 7*7 }}", "a.b-c"]
)
def test_a_wrong_model_file_may_have_any_name(name: str, model_files: Any) -> None:
    dags = build_dags(model_files(**{name: "model: [", "right": small_model.document("right")}))
    (dag_id,) = set(dags) - RIGHT
    assert dag_id.endswith(".invalid")
    assert round_trip(dags[dag_id]).dag_id == dag_id


def test_a_model_that_asks_for_more_than_the_deployment_allows_hides_no_other(
    model_files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CT_ALLOWED", '{"images": ["ours/*"]}')
    model_files(
        right=small_model.document("right"),
        wrong=small_model.document("wrong", runner={"kind": "kubernetes", "image": "docker.io/miner"}),
    )
    dags = build_dags()
    assert set(dags) == {*RIGHT, "wrong.invalid"}
    assert "'docker.io/miner' is not allowed" in dags["wrong.invalid"].doc_md


def test_every_kind_of_broken_file_leaves_the_others_alone(model_files: Any) -> None:
    folder = model_files(
        right=small_model.document("right"),
        empty="",
        binary="\x00\x01",
        jinja="model: '{{ conn.shop.password }}'",
        anchors="a: &a [1]\nb: *a",
        elsewhere=small_model.document("another_name"),
        deep="a: " + "[" * 50 + "]" * 50,
        tag="!!python/object/apply:os.system ['true']",
        large="# " + "x" * 300_000,
        not_a_mapping="- 1",
        nowhere=small_model.document("nowhere", expectations="missing.yaml"),
    )
    dags = build_dags(folder)
    assert {dag_id for dag_id in dags if not dag_id.endswith(".invalid")} == RIGHT
    assert len(dags) == len(RIGHT) + 10


def test_an_empty_folder_has_no_dags(model_files: Any) -> None:
    assert build_dags(model_files()) == {}


def test_only_work_steps_become_pods() -> None:
    spec = small_model.spec(runner=KUBERNETES)
    pods = {
        task.task_id
        for build in (build_train_dag, build_watch_dag)
        for task in build(spec).tasks
        if isinstance(task, KubernetesPodOperator)
    }
    assert pods == {"collect", "validate", "prepare", "train", "evaluate", "score"}


def test_the_arguments_of_the_dag_can_be_changed() -> None:
    dag = build_train_dag(small_model.spec(), dag_id="mine", schedule=None, tags=["mine"])
    assert (dag.dag_id, dag.tags) == ("mine", {"mine"})


@pytest.mark.parametrize("runner", [{"kind": "subprocess"}, KUBERNETES])
def test_work_waits_in_the_models_pool_and_queue_and_control_does_not(
    runner: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CT_ALLOWED", '{"pools": ["training", "gpu"]}')
    model = small_model.spec(runner=runner, airflow={"pool": "gpu", "priority": 7, "queue": "large"})
    tasks = {
        f"{build.__name__} {task.task_id}": task
        for build in (build_train_dag, build_watch_dag)
        for task in round_trip(build(model)).tasks
    }
    in_pool = {name.split()[1] for name, task in tasks.items() if (task.pool, task.queue) == ("gpu", "large")}
    assert in_pool == {"collect", "validate", "prepare", "train", "evaluate", "score"}
    others = {(task.pool, task.queue) for name, task in tasks.items() if name.split()[1] not in in_pool}
    assert others == {("default_pool", "default")}
    assert {task.priority_weight for task in tasks.values()} == {7}
    assert {type(task.weight_rule).__name__ for task in tasks.values()} == {"_AbsolutePriorityWeightStrategy"}


def test_a_model_that_names_no_pool_gets_the_first_of_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_train_dag(small_model.spec()).get_task("train").pool == "default_pool"
    monkeypatch.setenv("CT_ALLOWED", '{"pools": ["team-*", "training", "gpu"]}')
    assert build_train_dag(small_model.spec()).get_task("train").pool == "training"


def test_a_pool_that_the_deployment_does_not_allow_is_told_and_hides_no_other_model(
    model_files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CT_ALLOWED", '{"pools": ["training", "gpu"]}')
    folder = model_files(
        right=small_model.document("right"), wrong=small_model.document("wrong", airflow={"pool": "gpus"})
    )
    dags = build_dags(folder)
    assert set(dags) == {*RIGHT, "wrong.invalid"}
    assert (
        "airflow: pools: 'gpus' is not allowed; this deployment allows training, gpu (CT_ALLOWED)"
        in dags["wrong.invalid"].doc_md
    )
