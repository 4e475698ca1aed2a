"""What a Docker engine is asked for, what a model file may ask of it, and the steps of a retraining on a real one."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from pydantic import ValidationError

import images
import small_model
from airflow_worker import Worker, dag_run
from continuous_training.allowed import Allowed
from continuous_training.core.errors import SpecError, UsageError
from continuous_training.ledger import Ledger
from continuous_training.provider.containers import container_arguments, failure, result
from continuous_training.provider.dags import build_train_dag
from continuous_training.runners import Docker
from continuous_training.steps import TRAIN_STEPS

pytestmark = pytest.mark.provider

KEY = "a" * 64
CANARY = "canary-5d1c"
AS_OF = {"as_of": "2024-02-11T00:00:00Z", "reason": "the first one"}
ENVIRONMENT = {
    "CT_SPEC": "{}", "CT_RUN": json.dumps({"model": "m", "key": KEY}), "CT_ARTEFACTS": "s3://a", "CT_LOCATIONS": "{}",
    "AIRFLOW_CONN_SHOP": "x", "AWS_SECRET_ACCESS_KEY": "y", "PATH": "/bin", "DATABASE_PASSWORD": CANARY,
}  # fmt: skip


def asked(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return container_arguments("train", Docker(image="i", **changes), ENVIRONMENT)


def test_a_container_is_unprivileged_limited_and_writes_to_memory_alone() -> None:
    container, host = asked(cpus=0.5, memory="300m")
    assert (container["user"], host["read_only"], host["cap_drop"]) == ("10001:10001", True, ["ALL"])
    assert host["security_opt"] == ["no-new-privileges"]
    assert (host["nano_cpus"], host["mem_limit"], host["memswap_limit"]) == (500_000_000, "300m", "300m")
    assert host["tmpfs"].keys() == {"/work", "/tmp"}
    assert (host["network_mode"], host["mounts"]) == ("bridge", [])
    assert not {"privileged", "cap_add", "devices", "pid_mode", "ipc_mode"} & host.keys()


def test_a_container_is_told_its_step_its_source_and_the_variables_that_the_runner_names() -> None:
    told = asked(variables=["AWS_SECRET_ACCESS_KEY"])[0]["environment"]
    fixed = {"CT_SPEC", "CT_RUN", "CT_ARTEFACTS", "CT_LOCATIONS", "CT_HOME", "HOME", "AIRFLOW_CONN_SHOP"}
    assert told.keys() == fixed | {"AWS_SECRET_ACCESS_KEY"}
    assert asked()[0]["environment"].keys() == fixed


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        ("mounts", {"mounts": [{"source": "/etc", "path": "/srv/etc"}]}),
        ("mounts", {"mounts": [{"source": "/srv/lake/deeper", "path": "/srv/lake"}]}),
        ("mounts", {"mounts": [{"source": "other_postgres", "path": "/srv/other"}]}),
        ("networks", {"network": "host"}),
        ("networks", {"network": "other_default"}),
        ("variables", {"variables": ["DATABASE_PASSWORD"]}),
    ],
)
def test_what_the_deployment_does_not_allow_is_refused_when_the_dag_is_built(
    option: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = Allowed(mounts=("/srv/lake", "lake"), networks=("ct",), variables=("AWS_PROFILE",))
    monkeypatch.setenv("CT_ALLOWED", allowed.model_dump_json())
    spec = small_model.spec(runner={"kind": "docker", "image": "i", "network": "ct", **changes})
    with pytest.raises(SpecError, match=f"m: runner: {option}: .* is not allowed"):
        build_train_dag(spec)


def test_nothing_of_the_host_is_allowed_by_default() -> None:
    for changes in ({"mounts": [{"source": "ct", "path": "/x"}]}, {"network": "host"}, {"variables": ["HOME"]}):
        with pytest.raises(SpecError, match="is not allowed"):
            build_train_dag(small_model.spec(runner={"kind": "docker", "image": "i", **changes}))


def test_what_the_runner_names_is_mounted_and_joined() -> None:
    mounts = [{"source": "/srv/lake", "path": "/lake", "read_only": True}, {"source": "ct", "path": "/srv/ct"}]
    _, host = asked(mounts=mounts, network="ct")
    assert host["mounts"] == [
        {"Type": "bind", "Source": "/srv/lake", "Target": "/lake", "ReadOnly": True},
        {"Type": "volume", "Source": "ct", "Target": "/srv/ct", "ReadOnly": False},
    ]
    assert host["network_mode"] == "ct"


def test_a_variable_that_the_worker_does_not_have_is_named() -> None:
    with pytest.raises(UsageError, match="no variable AWS_PROFILE"):
        asked(variables=["AWS_PROFILE"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"mounts": [{"source": "/srv/../etc", "path": "/x"}]},
        {"mounts": [{"source": "relative/folder", "path": "/x"}]},
        {"network": "container:other"},
        {"variables": ["AWS_SECRET_ACCESS_KEY=secret"]},
        {"memory": "lots"},
        {"privileged": True},
    ],
)
def test_a_model_file_cannot_ask_for_these(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Docker(image="i", **wrong)


@pytest.mark.parametrize(
    ("state", "last", "again", "words"),
    [
        ({"ExitCode": 137, "OOMKilled": True}, "", True, "OOMKilled; give runner.memory more"),
        ({"ExitCode": 143, "OOMKilled": False}, "", True, "a retry starts it again"),
        ({"ExitCode": 7}, "the store did not answer", True, "train: the store did not answer"),
        ({"ExitCode": 4}, "rows are missing", False, "train: rows are missing"),
        ({"ExitCode": 1}, "", False, "exit code 1; its log is above"),
    ],
)
def test_only_what_a_retry_can_mend_is_tried_again(state: Any, last: str, again: bool, words: str) -> None:
    error = failure("train", state, last)
    assert isinstance(error, AirflowFailException) is not again
    assert words in str(error)


def test_the_result_is_found_among_what_libraries_write() -> None:
    assert result("train", 'a\n{"step": "train", "key": "k"}\n[1]\nbye')["key"] == "k"
    with pytest.raises(AirflowFailException, match="wrote no result"):
        result("train", '{"step": "collect"}\n')


# A real engine


@pytest.fixture
def engine(deployment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a deployment whose home is at the same place in containers and outside."""
    image = images.work()
    mask = os.umask(0)  # containers are user 10001, this test is another
    deployment.mkdir()
    small_model.land(deployment, days=45)
    monkeypatch.setenv("CT_ALLOWED", json.dumps({"mounts": [str(deployment)]}))
    runner = {"kind": "docker", "image": image, "mounts": [{"source": str(deployment), "path": str(deployment)}]}

    def do(*tasks: str, worker: Worker | None = None, limits: Any = None, **changes: Any) -> Any:
        spec = small_model.spec(**{"runner": {**runner, **(limits or {})}, **changes})
        worker = worker or Worker(run=dag_run(conf=AS_OF))
        dag = build_train_dag(spec)
        return SimpleNamespace(worker=worker, outcomes={name: worker.do(dag.get_task(name)) for name in tasks})

    yield do
    os.umask(mask)
    assert docker("ps", "-a", "-q", "--filter", "label=app=continuous-training", "--filter", "label=model=m") == ""


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


def ended(done: Any) -> dict[str, str]:
    return {name: outcome.state.value for name, outcome in done.outcomes.items()}


@pytest.mark.docker
def test_every_work_step_of_a_retraining_runs_in_a_container(engine: Any, deployment: Path) -> None:
    done = engine("plan", *TRAIN_STEPS[:6])
    assert set(ended(done).values()) == {"success"}, (ended(done), [o.error for o in done.outcomes.values()])
    assert Ledger(f"sqlite:///{deployment}/ledger.db").champion("m").fence == 1
    assert {path.stat().st_uid for path in (deployment / "artefacts" / "objects").rglob("*") if path.is_file()} >= {
        10001
    }


@pytest.mark.docker
def test_a_container_that_a_lost_worker_left_is_waited_for_and_not_started_twice(engine: Any) -> None:
    planned = engine("plan")
    key = planned.worker.result("plan")["key"]
    answer = json.dumps({"step": "collect", "key": key, "facts": {"left": "behind"}})
    left = ["--name", f"ct-m-collect-{key[:16]}", "--entrypoint", "echo", images.work(), answer]
    docker("run", "--detach", *left)
    done = engine("collect", worker=planned.worker)
    assert ended(done) == {"collect": "success"}
    assert done.worker.result("collect")["facts"] == {"left": "behind"}


@pytest.mark.docker
def test_memory_that_is_too_small_is_tried_again_and_the_image_that_is_not_there_is_named(engine: Any) -> None:
    planned = engine("plan").worker
    for limits, words in (
        ({"memory": "50m"}, "OOMKilled; give runner.memory more"),
        ({"image": "127.0.0.1:1/none:1"}, "127.0.0.1:1"),
    ):
        done = engine("collect", worker=planned, limits=limits)
        assert ended(done) == {"collect": "up_for_retry"}, done.outcomes["collect"].error
        assert words in str(done.outcomes["collect"].error)


@pytest.mark.docker
def test_data_that_cannot_be_used_is_not_tried_again(engine: Any) -> None:
    done = engine("plan", "collect", "validate", min_rows=1_000_000)
    [failed] = [name for name, state in ended(done).items() if state == "failed"]
    assert "1,000,000" in str(done.outcomes[failed].error)


@pytest.mark.docker
def test_the_engine_confines_the_container_as_it_was_asked_to() -> None:
    from docker import APIClient

    image = images.work()
    container, host = container_arguments("train", Docker(image=image), ENVIRONMENT)
    script = (
        "id -u; touch /x /opt/ct/x; touch /work/x /tmp/x && echo written; grep -E 'CapEff|NoNewPrivs' /proc/self/status"
    )
    client = APIClient(base_url=os.environ["DOCKER_HOST"], version="auto")
    name = container["name"]
    client.create_container(
        **container | {"entrypoint": ["sh", "-c", script], "command": []}, host_config=client.create_host_config(**host)
    )
    try:
        client.start(name)
        client.wait(name)
        said = client.logs(name, stderr=False).decode().split()
    finally:
        client.remove_container(name, force=True)
        client.close()
    assert said == ["10001", "written", "CapEff:", "0" * 16, "NoNewPrivs:", "1"]


def test_an_engine_that_does_not_answer_is_asked_again(deployment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_model.land(deployment, days=45)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    dag = build_train_dag(small_model.spec(runner={"kind": "docker", "image": "i"}))
    worker = Worker(run=dag_run(conf=AS_OF))
    worker.do(dag.get_task("plan"))
    outcome = worker.do(dag.get_task("collect"))
    assert outcome.state.value == "up_for_retry"
    assert "tcp://127.0.0.1:1 does not answer" in str(outcome.error)
