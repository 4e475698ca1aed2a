"""The compose file: what it promises of every service, and one retraining through the whole of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import images
import small_model
from services import Airflow, free_ports, wait_until

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yaml"
PROFILES = "celery,s3,monitoring"
CORE = {"postgres", "init", "api-server", "scheduler", "dag-processor", "triggerer", "mlflow", "serving"}
STARTUP_SECONDS = RUN_SECONDS = 300


def composes() -> dict[str, str]:
    """Return the programs there are: Compose of today from the pins, and 1.29 where the machine has it."""
    found = {"today's": str(Path(sys.executable).parent / "docker-compose")}
    old = shutil.which("docker-compose")
    if old and " 1.29" in subprocess.run([old, "version"], capture_output=True, text=True, check=False).stdout:
        found["1.29"] = old
    return found


@pytest.fixture(params=["today's", "1.29"])
def compose(request: pytest.FixtureRequest) -> str:
    if request.param not in composes():
        pytest.skip("no docker-compose 1.29 on this machine")
    return composes()[request.param]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give what `make env` writes."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "docker").mkdir()
    shutil.copy(ROOT / "docker" / "env.py", folder / "docker")
    subprocess.run([sys.executable, folder / "docker" / "env.py"], check=True)
    return folder / ".env"


def run(program: str, secrets: Path | str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [program, "--project-directory", str(ROOT), "-f", str(FILE), "--env-file", str(secrets), *words]
    # Variables of the shell come before those of the file.
    own = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "DOCKER_HOST"}}
    return subprocess.run(command, env=own | variables, capture_output=True, text=True, check=False)


def values(secrets: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in secrets.read_text().splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in pairs if value}


def services(program: str, secrets: Path, profiles: str) -> dict[str, Any]:
    done = run(program, secrets, "config", COMPOSE_PROFILES=profiles)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


def test_the_secrets_are_for_their_owner_alone_are_all_different_and_are_never_replaced(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    first = secrets.read_text()
    assert len(set(values(secrets).values())) == len(values(secrets)) >= 12
    assert min(map(len, values(secrets).values())) >= 32
    subprocess.run([sys.executable, secrets.parent / "docker" / "env.py"], check=True)
    assert secrets.read_text() == first
    ignored = subprocess.run(["git", "check-ignore", ".env"], cwd=ROOT, check=False, capture_output=True)
    assert ignored.returncode == 0
    assert (ROOT / ".dockerignore").read_text().startswith("**\n")


@pytest.mark.parametrize("profiles", ["", "celery", "s3", "monitoring", PROFILES])
def test_every_profile_is_valid_for_both_generations_of_compose(compose: str, secrets: Path, profiles: str) -> None:
    found = services(compose, secrets, profiles)
    # 1.29 lists the services of all profiles.
    assert found.keys() >= CORE
    if (
        not profiles
        and "1.29" not in subprocess.run([compose, "version"], capture_output=True, text=True, check=False).stdout
    ):
        assert found.keys() == CORE


def test_without_secrets_nothing_starts_and_the_remedy_is_named(compose: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    done = run(compose, tmp_path / "empty", "config")
    assert done.returncode != 0
    assert "run make env" in done.stderr


def test_every_service_is_confined_limited_watched_and_on_loopback(secrets: Path) -> None:
    found = services(composes()["today's"], secrets, PROFILES)
    assert len(found) > len(CORE)
    for name, service in found.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not {"privileged", "cap_add", "network_mode", "pid", "devices", "userns_mode"} & service.keys(), name
        assert {"mem_limit", "cpus", "pids_limit"} <= service.keys(), name
        assert service["restart"] == ("no" if name == "init" else "unless-stopped"), name
        assert name == "init" or service["healthcheck"]["test"], name
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}, name
        assert not [mount for mount in service.get("volumes", []) if "docker.sock" in mount["source"]], name
        binds = [mount for mount in service.get("volumes", []) if mount["type"] == "bind"]
        assert all(mount.get("read_only") for mount in binds), name


def test_every_image_can_be_replaced_by_one_pinned_by_its_digest(secrets: Path) -> None:
    for service in yaml.safe_load(FILE.read_text())["services"].values():
        assert re.fullmatch(r"\$\{[A-Z0-9]+_IMAGE:-[^}]+:[^}]+\}", service["image"]), service["image"]


def test_no_secret_stands_in_the_compose_file_or_in_a_command(secrets: Path) -> None:
    document = yaml.safe_load(FILE.read_text())
    for name, service in document["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|_KEY|SQL_ALCHEMY|_URL$|LEDGER|BACKEND", variable) and "://" not in str(
                value
            ):
                assert "${" in str(value) or variable.endswith("PASSWORDS_FILE"), f"{name}: {variable}"
        assert not re.search(r"://[^:@/\s]+:(?!\$\{)[^@\s]+@", json.dumps(service)), name
    rendered = services(composes()["today's"], secrets, PROFILES)
    hidden = values(secrets).values()
    for name, service in rendered.items():
        shown = json.dumps(
            [service.get("command"), service.get("entrypoint"), service.get("healthcheck"), service.get("labels")]
        )
        assert not [value for value in hidden if value in shown], name


@dataclass
class Stack:
    """The stack of one test, on ports of its own."""

    program: str
    secrets: Path
    variables: dict[str, str]

    def compose(self, *words: str) -> str:
        done = run(self.program, self.secrets, *words, **self.variables)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def states(self) -> dict[str, str]:
        """Return each service that runs with its health."""
        label = "com.docker.compose"
        shown = subprocess.run(
            ["docker", "ps", "--filter", f"label={label}.project={self.variables['COMPOSE_PROJECT_NAME']}", "--format",
             f'{{{{.Label "{label}.service"}}}} {{{{.Status}}}}'],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return dict(line.split(" ", 1) for line in shown.stdout.splitlines())

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.variables[name]}"


@pytest.fixture(scope="module")
def stack(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("compose")
    small_model.land(home, days=45)
    (home / "models").mkdir()
    (home / "models" / "m.yaml").write_text(yaml.safe_dump(small_model.document("m", deployment={"kind": "local"})))
    airflow, mlflow, serving = map(str, free_ports(3))
    variables = {
        "COMPOSE_PROJECT_NAME": f"ct-test-{uuid.uuid4().hex[:8]}", "CT_IMAGE": images.control_with_work(),
        "POSTGRES_IMAGE": images.postgres(), "DATA_FOLDER": str(home / "data"), "MODELS_FOLDER": str(home / "models"),
        "AIRFLOW_PORT": airflow, "MLFLOW_PORT": mlflow, "SERVING_PORT": serving, "SERVED_MODEL": "m",
    }  # fmt: skip
    started = Stack(composes().get("1.29", composes()["today's"]), secrets, variables)
    try:
        started.compose("up", "--detach", "--no-build")
        yield started
    finally:
        started.compose("down", "--volumes", "--timeout", "3")


@pytest.mark.docker
@pytest.mark.e2e
def test_one_retraining_goes_through_the_whole_stack_and_its_champion_answers(stack: Stack) -> None:
    def all_healthy() -> bool:
        states = stack.states()
        return states.keys() == CORE - {"init"} and all("(healthy)" in state for state in states.values())

    wait_until(all_healthy, f"a healthy stack (last: {stack.states()})", STARTUP_SECONDS)
    airflow = Airflow(stack.url("AIRFLOW_PORT"), values(stack.secrets)["ADMIN_PASSWORD"])
    wait_until(lambda: airflow.dag_exists("m.train"), "the DAG m.train", STARTUP_SECONDS)
    airflow.unpause("m.train")
    airflow.trigger("m.train", {}, "first").raise_for_status()
    first = "/dags/m.train/dagRuns/first"
    wait_until(lambda: airflow.get(first)["state"] in {"success", "failed"}, "the end of the run", RUN_SECONDS)
    tasks = airflow.tasks("m.train", "first")
    airflow.close()
    assert {task["state"] for task in tasks.values()} == {"success"}, {n: t["state"] for n, t in tasks.items()}

    history = json.loads(stack.compose("exec", "-T", "scheduler", "ct", "history", "m", "--json"))
    [champion] = history["champions"]
    assert (champion["fence"], champion["serving"]) == (1, stack.url("SERVING_PORT"))
    asked = {"name": "m", "alias": "champion"}
    shown = httpx.get(f"{stack.url('MLFLOW_PORT')}/api/2.0/mlflow/registered-models/alias", params=asked, timeout=30)
    assert shown.json()["model_version"]["version"] == "1"
    rows = {"dataframe_records": [{"wind": 3.0, "carrier": "a"}, {"wind": -3.0, "carrier": "a"}]}
    answer = httpx.post(f"{stack.url('SERVING_PORT')}/invocations", json=rows, timeout=30)
    late, in_time = answer.json()["predictions"]
    assert late > 0.5 > in_time
    assert answer.headers["ct-version"] == "1"
    assert "(healthy)" in stack.states()["serving"]
