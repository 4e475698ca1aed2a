"""How a step process is started, what it is told, how it ends and what Airflow then does.

Steps that must be caught alive connect to a server that accepts and then says nothing: once it has accepted, the step runs
and waits.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

import small_model
from airflow_worker import Worker, dag_run
from continuous_training.core.decisions import RetrainingReason
from continuous_training.core.run import Run
from continuous_training.core.window import Window
from continuous_training.ledger import Ledger
from continuous_training.provider.operators import (
    CollectDataOperator,
    DeployChampionOperator,
    EvaluateChallengerOperator,
    PlanRunOperator,
    TrainChallengerOperator,
    planned_run,
)
from continuous_training.provider.process import step_environment
from continuous_training.settings import Settings
from continuous_training.steps import STEPS

pytestmark = pytest.mark.provider

CANARY = "canary-9e4b"
SQL = {"kind": "sql", "conn_id": "shop", "table": "rows"}
WORK = [name for name, step in STEPS.items() if step.plane == "work"]
CONTROL = ["plan", *(name for name, step in STEPS.items() if step.plane == "control")]


class SilentServer:
    """Accepts one connection, calls `when_reached`, and hangs up after it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(120)
        self.port = self._listener.getsockname()[1]
        self.when_reached: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError), self._listener.accept()[0]:
            self.when_reached()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread when nobody came
        self._listener.close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[SilentServer]:
    started = SilentServer()
    yield started
    started.close()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def a_run(start: datetime = small_model.START) -> dict[str, Any]:
    """Return what the plan step answers for a run on the forty days after `start`."""
    spec = small_model.spec()
    window = Window(start=start, end=start + timedelta(days=40))
    run = Run(
        model="m", kind="train", key="a" * 64, as_of=window.end, window=window, spec_digest=spec.digest,
        reason=RetrainingReason(kind="manual", text="somebody asked for it", episode="manual:1"),
    )  # fmt: skip
    return {"facts": {"run": run.model_dump(mode="json")}}


def task(operator: type[Any], **arguments: Any) -> Any:
    with DAG("m.train", schedule=None):
        return operator(task_id=operator.step, **{"spec": small_model.spec(), **arguments})


def environment_of(process: Any) -> dict[str, str]:
    raw = Path(f"/proc/{process._process.pid}/environ").read_bytes().decode()
    return dict(entry.split("=", 1) for entry in raw.split("\0") if "=" in entry)


# What a step is told


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CORE__FERNET_KEY", "AIRFLOW_CONN_OTHER", "AIRFLOW_VAR_OTHER",
        "_AIRFLOW__STARTUP_MSG", "__AIRFLOW_SUPERVISOR_FD", "CT_LEDGER", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
    ):  # fmt: skip
        monkeypatch.setenv(name, CANARY)


@pytest.mark.parametrize("step", WORK)
@pytest.mark.usefixtures("secrets")
def test_a_work_step_is_told_neither_the_ledger_nor_the_registry_nor_anything_of_airflow(step: str) -> None:
    settings = Settings.from_environment({"CT_LEDGER": CANARY, "MLFLOW_TRACKING_URI": f"https://{CANARY}"})
    told = step_environment(
        step,
        small_model.spec(),
        settings,
        registry={"MLFLOW_TRACKING_PASSWORD": CANARY},
        source={"AIRFLOW_CONN_SHOP": "x"},
    )
    assert [name for name, value in told.items() if CANARY in value] == []
    assert [name for name in told if "AIRFLOW_" in name and name not in {"AIRFLOW_HOME", "AIRFLOW_CONN_SHOP"}] == []
    assert "MLFLOW_TRACKING_URI" not in told
    assert told["AIRFLOW_CONN_SHOP"] == "x"
    assert "PATH" in told


@pytest.mark.parametrize("step", CONTROL)
@pytest.mark.usefixtures("secrets")
def test_a_control_step_is_told_the_ledger_and_the_registry_and_nothing_else_of_airflow(step: str) -> None:
    settings = Settings.from_environment(
        {"CT_LEDGER": "sqlite:///ledger.db", "MLFLOW_TRACKING_URI": "https://mlflow.example.com"}
    )
    told = step_environment(
        step, small_model.spec(), settings, registry={"MLFLOW_TRACKING_PASSWORD": "theirs"}, source={}
    )
    assert told["CT_LEDGER"] == "sqlite:///ledger.db"
    assert told["MLFLOW_TRACKING_URI"] == "https://mlflow.example.com"
    assert told["MLFLOW_TRACKING_PASSWORD"] == "theirs"
    # Credentials from the worker's own environment serve where there is no connection.
    assert [name for name, value in told.items() if value == CANARY] == ["MLFLOW_TRACKING_TOKEN"]


def test_a_running_work_step_has_the_connection_of_its_source_and_no_other_secret(
    server: SilentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CT_LEDGER", f"postgresql://ct:{CANARY}@db/ledger")
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", f"mlflow://ct:{CANARY}@https%3A%2F%2Fmlflow.example.com")
    collect = task(CollectDataOperator, spec=small_model.spec(source=SQL), run=a_run())
    seen: dict[str, str] = {}
    server.when_reached = lambda: seen.update(environment_of(collect._process))
    shop = {"conn_type": "postgres", "host": "127.0.0.1", "port": server.port, "login": "me", "password": "p@ss/w:rd"}
    outcome = Worker(connections={"shop": shop}).do(collect)
    assert outcome.state == "up_for_retry"
    assert seen["AIRFLOW_CONN_SHOP"] == f"postgres://me:p%40ss%2Fw%3Ard@127.0.0.1:{server.port}"
    assert CANARY not in str(seen)
    assert "CT_LEDGER" not in seen


def test_the_plan_may_ask_the_source_and_the_promotion_may_not(
    server: SilentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CT_LEDGER", f"postgresql://ct:x@127.0.0.1:{server.port}/ledger")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"postgres://me:{CANARY}@127.0.0.1/shop")
    deploy = task(
        DeployChampionOperator,
        spec=small_model.spec(source=SQL),
        run=a_run(),
        promotion={"facts": {"outcome": "promoted"}},
    )
    seen: dict[str, str] = {}
    server.when_reached = lambda: seen.update(environment_of(deploy._process))
    Worker().do(deploy)
    assert seen["CT_LEDGER"].startswith("postgresql://ct:x@")
    assert CANARY not in str(seen)


def test_a_model_whose_connection_is_missing_says_so_and_other_steps_do_not_need_it() -> None:
    outcome = Worker().do(task(CollectDataOperator, spec=small_model.spec(source=SQL), run=a_run()))
    assert "shop" in str(outcome.error)
    evaluate = Worker().do(task(EvaluateChallengerOperator, spec=small_model.spec(source=SQL), run=a_run()))
    assert "step collect of run aaaaaaaaaaaa has not finished" in str(evaluate.error)


# How it ends


def test_a_killed_step_is_tried_again(server: SilentServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_LEDGER", f"postgresql://ct:x@127.0.0.1:{server.port}/ledger")
    plan = task(PlanRunOperator)
    server.when_reached = lambda: os.kill(plan._process._process.pid, signal.SIGKILL)
    outcome = Worker(run=dag_run()).do(plan)
    assert outcome.state == "up_for_retry"
    assert "killed by SIGKILL" in str(outcome.error)


def test_killing_the_task_ends_the_whole_process_group_of_the_step(
    server: SilentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CT_LEDGER", f"postgresql://ct:x@127.0.0.1:{server.port}/ledger")
    plan = task(PlanRunOperator)
    groups: list[int] = []

    def kill() -> None:
        groups.append(os.getpgid(plan._process._process.pid))
        plan.on_kill()

    server.when_reached = kill
    outcome = Worker(run=dag_run()).do(plan)
    assert outcome.state == "up_for_retry"
    assert groups[0] != os.getpgid(0)
    with pytest.raises(ProcessLookupError):
        os.killpg(groups[0], 0)


def test_killing_a_task_whose_step_has_ended_does_nothing() -> None:
    collect = task(CollectDataOperator, run=a_run())
    collect.on_kill()
    assert Worker().do(collect).state == "up_for_retry"
    collect.on_kill()


def test_a_dependency_that_is_down_is_tried_again_and_named(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_LEDGER", f"postgresql://ct:{CANARY}@127.0.0.1:{closed_port}/ledger")
    outcome = Worker(run=dag_run()).do(task(PlanRunOperator))
    assert outcome.state == "up_for_retry"
    assert f"127.0.0.1:{closed_port}" in str(outcome.error)
    assert "a retry is safe" in str(outcome.error)
    assert CANARY not in str(outcome.error)


def test_a_step_that_can_never_succeed_fails_at_once_with_its_own_words_and_the_ledger_knows(deployment: Path) -> None:
    small_model.land(deployment, days=45)
    run = a_run(datetime(2023, 1, 1, tzinfo=UTC))
    ledger = Ledger(Settings.from_environment().ledger)
    ledger.begin_run(planned_run(run), now=datetime.now(UTC))
    outcome = Worker().do(task(CollectDataOperator, run=run))
    assert outcome.state == "failed"
    assert str(outcome.error).startswith("the source of m has no rows in 2023-01-01T00:00Z/2023-02-10T00:00Z")
    record = ledger.run("a" * 64)
    assert record.outcome == "failed"
    assert record.text.startswith("collect: the source of m has no rows")


def test_what_the_step_said_is_not_hidden_by_a_ledger_that_is_down_as_well(
    deployment: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_model.land(deployment, days=45)
    monkeypatch.setenv("CT_LEDGER", f"postgresql://ct:x@127.0.0.1:{closed_port}/ledger")
    outcome = Worker().do(task(CollectDataOperator, run=a_run(datetime(2023, 1, 1, tzinfo=UTC))))
    assert outcome.state == "failed"
    assert str(outcome.error).startswith("the source of m has no rows")


def test_a_step_that_crashes_without_a_word_points_to_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # no interpreter starts with it
    outcome = Worker().do(task(TrainChallengerOperator, run=a_run()))
    assert outcome.state == "failed"
    assert "step train ended with exit code 1; its log is above" in str(outcome.error)


def test_a_wrong_setting_of_the_deployment_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_LOCATIONS", "{data: /srv}")
    outcome = Worker(run=dag_run()).do(task(PlanRunOperator))
    assert outcome.state == "failed"
    assert "CT_LOCATIONS is not a JSON object" in str(outcome.error)


def test_the_words_of_a_step_are_in_the_log_of_the_task_and_no_secret_is(
    closed_port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CT_LEDGER", f"postgresql://ct:{CANARY}@127.0.0.1:{closed_port}/ledger")
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", f"mlflow://ct:{CANARY}@https%3A%2F%2Fmlflow.example.com")
    worker = Worker(run=dag_run())
    worker.do(task(PlanRunOperator))
    log = "".join(capfd.readouterr())
    assert "ct: ledger postgresql" in log
    assert CANARY not in log
    assert CANARY not in str(worker.sent)
