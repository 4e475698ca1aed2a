"""A whole retraining and two looks at windows, through the operators, as a worker would run them."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import small_model
from airflow_worker import Worker, dag_run
from continuous_training.ledger import Ledger
from continuous_training.provider.dags import build_train_dag, build_watch_dag
from continuous_training.spec import load_spec
from continuous_training.steps import TRAIN_STEPS

pytestmark = pytest.mark.provider

ROOT = Path(__file__).resolve().parents[2]
MODEL = "flight_delays"
CANARY = "canary-7f3a9"
AS_OF = {"as_of": "2024-02-11T00:00:00Z"}


def do_all(worker: Worker, dag: Any, *which: str) -> dict[str, Any]:
    """Run the tasks of a chain (or some of them) in order until one does not succeed; return what became of each."""
    outcomes = {}
    for task in [task for task in dag.topological_sort() if not which or task.task_id in which]:
        outcomes[task.task_id] = worker.do(task)
        if outcomes[task.task_id].state != "success":
            break
    return outcomes


def states(outcomes: dict[str, Any]) -> dict[str, str]:
    return {task_id: str(outcome.state.value) for task_id, outcome in outcomes.items()}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Train with the hand-written example, train again, train what the gate refuses, then look at two windows."""
    root = tmp_path_factory.mktemp("pipeline")
    (root / "models").mkdir()
    (root / "models" / f"{MODEL}.yaml").write_text(yaml.safe_dump(small_model.document(MODEL)))
    small_model.land(root / "home", days=63, drift_after=50)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("CT_HOME", str(root / "home"))
        patch.setenv("CT_MODELS", str(root / "models"))
        example = runpy.run_path(str(ROOT / "dags" / "example_operators.py"))["plan"].dag
        spec = load_spec(root / "models" / f"{MODEL}.yaml")
        strict = spec.model_copy(update={"promotion": spec.promotion.model_copy(update={"margin": 0.9})})
        told = SimpleNamespace(ledger=Ledger(f"sqlite:///{root}/home/ledger.db"))
        watch = build_watch_dag(spec), "plan", "score", "decide"
        for name, run, dag, *which in (
            ("first", dag_run(dag_id="example_retrain", conf=AS_OF), example),
            ("again", dag_run(conf=AS_OF), build_train_dag(spec), "plan", *TRAIN_STEPS[:5]),
            ("refused", dag_run("manual__2", conf=AS_OF), build_train_dag(strict)),
            ("quiet", dag_run("scheduled__1", "scheduled"), *watch),
            ("drifted", dag_run("scheduled__2", "scheduled"), *watch),
        ):
            worker = Worker(run=run)
            setattr(told, name, SimpleNamespace(worker=worker, outcomes=do_all(worker, dag, *which)))
        yield told


def test_the_hand_written_example_trains_promotes_and_deploys(story: Any) -> None:
    assert set(states(story.first.outcomes).values()) == {"success"}
    assert len(story.first.outcomes) == 8
    assert story.first.worker.result("promote")["facts"]["outcome"] == "promoted"
    assert story.ledger.champion(MODEL).fence == 1
