"""A training whose DAG run failed has ended in the ledger too, whoever ended it, and may go on from there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from airflow.utils.session import create_session
from fastapi import FastAPI

import small_model
from continuous_training.core.run import StepResult
from continuous_training.ledger import Ledger
from continuous_training.provider import listener
from continuous_training.provider.dags import build_train_dag, build_watch_dag
from continuous_training.ui.plugin import ContinuousTraining
from ledger_parts import NOW, a_run, key

pytestmark = pytest.mark.provider
DIED = {
    "plan": "success",
    "collect": "success",
    "validate": "failed",
    **dict.fromkeys(("prepare", "train", "evaluate", "promote", "deploy"), "upstream_failed"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[FastAPI]:
    """Give Airflow's own API server, with the DAGs of one model in its database."""
    from airflow.api_fastapi.app import create_app
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.db import initdb
    from sqlalchemy import select

    initdb()
    dags = [build(small_model.spec("ending")) for build in (build_train_dag, build_watch_dag)]
    with create_session() as session:
        session.merge(DagBundleModel(name="listener"))
        session.flush()
        for dag in dags:
            session.merge(DagModel(dag_id=dag.dag_id, bundle_name="listener", is_stale=False))
            session.flush()
            SerializedDagModel.write_dag(LazyDeserializedDAG.from_dag(dag), bundle_name="listener", session=session)
    yield create_app(apps="core")
    with create_session() as session:
        for dag in dags:
            for run in session.scalars(select(DagRun).where(DagRun.dag_id == dag.dag_id)).all():
                session.delete(run)
            session.flush()
            session.delete(session.get(DagModel, dag.dag_id))


@pytest.fixture
def ledger(deployment: Path) -> Ledger:
    deployment.mkdir()
    return Ledger(f"sqlite:///{deployment / 'ledger.db'}")


@pytest.fixture
def began(server: FastAPI) -> Any:
    """Give a function that begins a DAG run, in which tasks have got as far as is said."""
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.xcom import XComModel
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    def begin(run_id: str, states: dict[str, str], number: int, kind: Any = "train") -> None:
        planned = a_run(number, "ending", kind=kind)
        answer = StepResult(step="plan", key=planned.key, facts={"run": planned.model_dump(mode="json")})
        with create_session() as session:
            dag = SerializedDagModel.get_dag(f"ending.{kind}", session=session)
            assert dag is not None
            run = dag.create_dagrun(
                run_id=run_id, run_type=DagRunType.MANUAL, run_after=NOW, triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING, session=session,
            )  # fmt: skip
            for task in run.get_task_instances(session=session):
                task.state = states.get(task.task_id)
            if states.get("plan") == "success":
                told = answer.model_dump(mode="json")
                XComModel.set(
                    key="return_value", value=told, dag_id=run.dag_id, task_id="plan", run_id=run_id, session=session
                )

    return begin


def judged_by_the_scheduler(run_id: str, kind: str = "train") -> str:
    """Let Airflow find out what became of a DAG run, as its scheduler does."""
    from airflow.models.dagrun import DagRun
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import select

    with create_session() as session:
        dag_id = f"ending.{kind}"
        [run] = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).all()
        run.dag = SerializedDagModel.get_dag(dag_id, session=session)
        run.update_state(session=session)
        return str(run.state)


def set_to_failed(server: FastAPI, run_id: str) -> None:
    """Set a DAG run to failed as a person does."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="somebody", role="ADMIN"))

    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(server)
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
            path = f"/api/v2/dags/ending.train/dagRuns/{run_id}"
            return await client.patch(path, json={"state": "failed"}, headers={"Authorization": f"Bearer {token}"})

    assert anyio.run(once).status_code == 200


def settle() -> None:
    """Wait for what was handed to the writer before."""
    listener._writer.submit(int).result(timeout=60)


def test_airflow_finds_the_listener_with_the_plugin() -> None:
    from airflow.listeners.listener import get_listener_manager

    assert ContinuousTraining.listeners == [listener]
    assert listener in get_listener_manager().pm.get_plugins()


def test_a_run_whose_task_died_has_failed_in_the_ledger_and_a_retry_goes_on(began: Any, ledger: Ledger) -> None:
    ledger.begin_run(a_run(1, "ending"), now=NOW)
    began("died", DIED, 1)
    assert judged_by_the_scheduler("died") == "failed"
    settle()
    record = ledger.run(key(1))
    assert record.outcome == "failed"
    assert record.text == (
        "the DAG run died of ending.train failed: its task validate failed; clear what failed in it to go on from there"
    )
    assert record.finished_at is not None
    assert ledger.finish_run(key(1), "kept", "not better", now=NOW).outcome == "kept"


def test_a_run_that_somebody_set_to_failed_has_failed_in_the_ledger(
    server: FastAPI, began: Any, ledger: Ledger
) -> None:
    ledger.begin_run(a_run(2, "ending"), now=NOW)
    began("by-hand", {"plan": "success", "collect": "running"}, 2)
    set_to_failed(server, "by-hand")
    settle()
    record = ledger.run(key(2))
    assert (record.outcome, "somebody set it to failed" in record.text) == ("failed", True)


def test_what_the_run_has_said_itself_stands(server: FastAPI, began: Any, ledger: Ledger) -> None:
    for number, outcome in ((3, "failed"), (4, "kept"), (5, "promoted")):
        ledger.begin_run(a_run(number, "ending"), now=NOW)
        ledger.finish_run(key(number), outcome, "said by a step", now=NOW)
        began(outcome, {"plan": "success", "deploy": "running"}, number)
        set_to_failed(server, outcome)
    settle()
    assert [(ledger.run(key(number)).outcome, ledger.run(key(number)).text) for number in (3, 4, 5)] == [
        ("failed", "said by a step"), ("kept", "said by a step"), ("promoted", "said by a step"),
    ]  # fmt: skip


def test_a_run_without_a_plan_and_a_look_end_nothing(server: FastAPI, began: Any, ledger: Ledger) -> None:
    ledger.begin_run(a_run(6, "ending"), now=NOW)
    began("unplanned", {"plan": "running"}, 6)
    set_to_failed(server, "unplanned")
    began("look", {"wait": "success", "plan": "success", "score": "failed", "decide": "upstream_failed"}, 6, "watch")
    assert judged_by_the_scheduler("look", "watch") == "failed"
    settle()
    assert ledger.run(key(6)).outcome is None


def test_a_ledger_that_is_down_holds_up_nothing_and_is_told_of_in_the_log(
    began: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("CT_LEDGER", f"sqlite:///{tmp_path / 'a-file' / 'ledger.db'}")
    began("down", DIED, 7)
    assert judged_by_the_scheduler("down") == "failed"
    settle()
    assert "the ledger does not say that ending.train down failed" in caplog.text
