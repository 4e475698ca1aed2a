"""A real Airflow and a real MLflow server on loopback, started for a while and stopped with everything they started."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import psutil
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
STARTUP_SECONDS = 180.0
POLL_SECONDS = 0.5
PORTS = range(20_000, 30_000)
"""Below the system's own: from 32768 on Linux, from 49152 elsewhere; from 30000 Kubernetes' nodes."""


def wait_until(condition: Callable[[], Any], what: str, seconds: float) -> Any:
    """Return the first true value of `condition`; say what was waited for when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")


@dataclass
class Services:
    """Airflow and MLflow with all their state under `home`.

    Use it as a context manager: leaving it stops every process that was started, the served models included.
    """

    home: Path
    model_files: Path = ROOT / "include" / "models"
    """Folder of the model files that are copied."""
    dags: Path = ROOT / "dags"
    changed: dict[str, Any] = field(default_factory=dict)
    """Keys of the model files that are other here than in the project."""
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    clients: list[Airflow] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Start MLflow and Airflow, with a copy of the model files, and wait until both are healthy."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.end_leftovers()
        shutil.copytree(self.model_files, self.models, dirs_exist_ok=True)
        shutil.copytree(ROOT / "include" / "expectations", self.home / "expectations", dirs_exist_ok=True)
        for file in self.models.glob("*.yaml"):
            file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | self.changed, sort_keys=False))
        self.environment = self._environment()
        os.environ.update(
            {name: value for name, value in self.environment.items() if name.startswith(("CT_", "MLFLOW_"))}
        )
        try:
            self._start("mlflow", self._mlflow_command())
            self._start("airflow", [str(Path(sys.executable).parent / "airflow"), "standalone"])
            self._wait_healthy("mlflow", f"{self.mlflow_url}/health")
            self._wait_healthy("airflow", f"{self.airflow_url}/api/v2/monitor/health")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self.stop()

    @property
    def models(self) -> Path:
        """Return the folder of the model files."""
        return self.home / "models"

    @property
    def airflow_url(self) -> str:
        """Return where Airflow answers."""
        return self.environment["AIRFLOW__API__BASE_URL"]

    @property
    def mlflow_url(self) -> str:
        """Return where MLflow answers."""
        return self.environment["MLFLOW_TRACKING_URI"]

    @property
    def password(self) -> str:
        """Return the password of Airflow's user admin."""
        generated = self.home / "airflow" / "simple_auth_manager_passwords.json.generated"
        return str(json.loads(generated.read_text())["admin"])

    def airflow(self) -> Airflow:
        """Return a client of Airflow's REST API, logged in as admin."""
        self.clients.append(Airflow(self.airflow_url, self.password))
        return self.clients[-1]

    def stop(self) -> None:
        """Stop every process that was started here, and what those started."""
        from continuous_training.deployers.local import stop

        while self.clients:
            self.clients.pop().close()
        for pointer in (self.home / "serving").glob("*/"):
            stop(pointer.name, self.home)
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self.processes.clear()

    def _environment(self) -> dict[str, str]:
        api, mlflow, worker_logs, trigger_logs = free_ports(4)
        airflow = self.home / "airflow"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CT_", "MLFLOW_"))}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "CT_HOME": str(self.home),
            "CT_MODELS": str(self.models),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "AIRFLOW_HOME": str(airflow),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{api}/execution/",
            "AIRFLOW__CONTINUOUS_TRAINING__POLL_SECONDS": "1",
            "AIRFLOW__CONTINUOUS_TRAINING__ALERT_TOKEN": secrets.token_urlsafe(24),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(api),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{api}",
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
        }

    def _mlflow_command(self) -> list[str]:
        store = self.home / "mlflow"
        store.mkdir(exist_ok=True)
        port = self.mlflow_url.rsplit(":", 1)[1]
        options = [
            "--host",
            "127.0.0.1",
            "--port",
            port,
            "--workers",
            "1",
            "--backend-store-uri",
            f"sqlite:///{store / 'mlflow.db'}",
        ]
        return [sys.executable, "-m", "mlflow", "server", *options, "--artifacts-destination", str(store / "artifacts")]

    def _start(self, name: str, command: list[str]) -> None:
        log = self.home / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.processes.append(process)
        started = [{"pid": item.pid, "created": psutil.Process(item.pid).create_time()} for item in self.processes]
        (self.home / "processes.json").write_text(json.dumps(started))

    def _wait_healthy(self, name: str, url: str) -> None:
        process = self.processes[["mlflow", "airflow"].index(name)]

        def healthy() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with code {process.returncode}; see {self.home / f'{name}.log'}")
            try:
                return httpx.get(url, timeout=5).status_code == httpx.codes.OK
            except httpx.HTTPError:
                return False

        wait_until(healthy, f"a healthy {name} (log: {self.home / f'{name}.log'})", STARTUP_SECONDS)

    def end_leftovers(self) -> None:
        """End the processes of an earlier start that was killed before it could stop them."""
        record = self.home / "processes.json"
        for item in json.loads(record.read_text()) if record.exists() else []:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if psutil.Process(item["pid"]).create_time() == item["created"]:
                    os.killpg(item["pid"], signal.SIGKILL)


class Airflow:
    """Airflow's REST API, as far as the demo and the tests use it."""

    def __init__(self, url: str, password: str) -> None:
        answer = httpx.post(f"{url}/auth/token", json={"username": "admin", "password": password}, timeout=30)
        answer.raise_for_status()
        self._client = httpx.Client(
            base_url=f"{url}/api/v2", headers={"Authorization": f"Bearer {answer.json()['access_token']}"}, timeout=30
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON at `path`."""
        answer = self._client.get(path, params=parameters)
        answer.raise_for_status()
        return answer.json()

    def dag_exists(self, dag_id: str) -> bool:
        """Tell whether Airflow has parsed the DAG."""
        return self._client.get(f"/dags/{dag_id}").status_code == httpx.codes.OK

    def has_task(self, dag_id: str, task_id: str) -> bool:
        """Tell whether Airflow knows a DAG with this task."""
        return self._client.get(f"/dags/{dag_id}/tasks/{task_id}").status_code == httpx.codes.OK

    def unpause(self, dag_id: str) -> None:
        """Let the DAG run."""
        self.change(f"/dags/{dag_id}", {"is_paused": False})

    def change(self, path: str, fields: dict[str, Any]) -> None:
        """Set fields of what is at `path`."""
        self._client.patch(path, json=fields).raise_for_status()

    def trigger(self, dag_id: str, conf: dict[str, Any], run_id: str | None = None) -> httpx.Response:
        """Ask for a run as the trigger form does."""
        body: dict[str, Any] = {"logical_date": None, "conf": conf}
        return self._client.post(f"/dags/{dag_id}/dagRuns", json=body | ({"dag_run_id": run_id} if run_id else {}))

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs of a DAG, the newest first."""
        runs: list[dict[str, Any]] = self.get(f"/dags/{dag_id}/dagRuns", order_by="-run_after", limit=100)["dag_runs"]
        return runs

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the task instances of a run by task name."""
        found = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {item["task_id"]: item for item in found}

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int) -> str:
        """Return what a task wrote."""
        answer = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}")
        return "\n".join(
            str(line.get("event", line)) if isinstance(line, dict) else str(line) for line in answer["content"]
        )


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nobody listens on.

    Some are first used minutes later. So none is of the range from which the system serves whoever asks for any port, or
    connects to somewhere: it would be gone by then.
    """
    found: list[int] = []
    for port in secrets.SystemRandom().sample(PORTS, len(PORTS)):
        if len(found) == count:
            break
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found
