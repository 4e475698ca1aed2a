"""A rollout through its operator, as workers and the triggerer do it: defer while it goes on, end with the ledger's word."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG

import small_model
from airflow_worker import Worker, dag_run
from continuous_training.cli import main
from continuous_training.deployers.local import stop
from continuous_training.ledger import Ledger
from continuous_training.provider.dags import build_train_dag
from continuous_training.provider.sensors import RolloutSensor
from continuous_training.spec import load_spec

pytestmark = pytest.mark.provider
ROLLOUT = {"steps": [{"shadow": "100%", "bake": "1 hour"}]}


@pytest.fixture
def spec(deployment: Path, tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "models").mkdir()
    document = small_model.document(
        deployment={"kind": "local"},
        rollout=ROLLOUT,
        promotion={"metric": "roc_auc", "rows": 100, "resamples": 100, "margin": -1.0},
    )
    (tmp_path / "models" / "m.yaml").write_text(yaml.safe_dump(document))
    small_model.land(deployment, days=60)
    yield load_spec(tmp_path / "models" / "m.yaml")
    stop("m", deployment)


def test_the_rollout_stands_between_the_verdict_and_the_promotion(spec: Any) -> None:
    order = [task.task_id for task in build_train_dag(spec).topological_sort()]
    assert order[-4:] == ["evaluate", "rollout", "promote", "deploy"]


def test_a_task_waits_in_the_triggerer_and_ends_with_the_rollout(spec: Any, deployment: Path, capsys: Any) -> None:
    dag = build_train_dag(spec)
    first = Worker(run=dag_run(conf={"as_of": "2024-02-14T00:00:00Z"}))
    for task in dag.topological_sort():
        assert first.do(task).state == "success", task.task_id
    assert first.result("rollout")["facts"]["answer"] == "none"
    assert first.result("promote")["facts"]["outcome"] == "promoted"

    second = Worker(run=dag_run("second", conf={"as_of": "2024-02-26T00:00:00Z"}))
    tasks = {task.task_id: task for task in dag.topological_sort()}
    for name in ("plan", "collect", "validate", "prepare", "train", "evaluate"):
        assert second.do(tasks[name]).state == "success", name
    looks = [second.do(tasks["rollout"]), second.do(tasks["rollout"], resume=("execute", {"event": "now"}))]
    assert [str(look.state.value) for look in looks] == ["deferred", "deferred"]
    assert looks[0].msg.classpath.endswith("temporal.DateTimeTrigger")
    assert Ledger(f"sqlite:///{deployment / 'ledger.db'}").rollout("m").step == 0  # type: ignore[union-attr]
    with DAG("waiting", schedule=None):
        sensor = RolloutSensor(task_id="nothing_rolls", model="m")
    other = Worker()
    assert str(other.do(sensor).state.value) == "deferred"
    assert main(["rollout", "m"]) == 0
    assert "watch: version 2." in capsys.readouterr().out
    assert main(["rollout", "m", "--stop", "enough seen"]) == 0
    assert second.do(tasks["rollout"], resume=("execute", {"event": "now"})).state == "success"
    assert second.result("rollout")["facts"]["answer"] == "reject"
    assert other.do(sensor, resume=("execute", {"event": "now"})).state == "success"
    assert other.result("nothing_rolls")["text"] == "Stopped by hand: enough seen"
    assert second.do(tasks["promote"]).state == "success"
    assert second.result("promote")["facts"]["outcome"] == "kept"
    assert str(second.do(tasks["deploy"]).state.value) == "skipped"
    assert main(["rollout", "m", "--stop", "again"]) == 2
