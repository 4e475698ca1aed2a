"""Real Prometheus, Alertmanager and Pushgateway for tests: Debian's programs, on loopback, with this project's rules.

Tests that take them are marked `services` and skipped where a program is not installed.
"""

import contextlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from services import free_ports

MONITORING = Path(__file__).resolve().parents[1] / "docker" / "monitoring"
SECONDS = 60.0


def program(name: str) -> str:
    """Return where a program is, or skip the test."""
    found = shutil.which(name) or shutil.which(name.removeprefix("prometheus-"))
    if found is None:
        package = {"promtool": "prometheus", "amtool": "prometheus-alertmanager"}.get(name, name)
        pytest.skip(f"no {name} is installed (Debian: apt-get install {package})")
    return found


def until(condition: Any, what: str, seconds: float = SECONDS) -> Any:
    """Return the first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if value := condition():
                return value
        time.sleep(0.2)
    raise TimeoutError(f"{what} did not happen within {seconds:g} s")


@contextlib.contextmanager
def running(folder: Path, name: str, port: int, *options: str, ready: str = "/-/ready") -> Iterator[str]:
    """Run a program until the block ends and give its URL once it is ready."""
    log = folder / f"{Path(name).name}.log"
    with (
        log.open("wb") as file,
        subprocess.Popen([program(name), *options], stdout=file, stderr=file, cwd=folder) as it,
    ):
        url = f"http://127.0.0.1:{port}"
        try:

            def answers() -> bool:
                if it.poll() is not None:
                    raise RuntimeError(f"{name} ended: {log.read_text()[-2000:]}")
                return httpx.get(url + ready, timeout=5).is_success

            until(answers, f"a ready {name}")
            yield url
        finally:
            it.terminate()


@contextlib.contextmanager
def exporter(environment: dict[str, str]) -> Iterator[str]:
    """Give where `ct metrics --listen` answers, as `host:port`, in these surroundings; it must end well."""
    command = [sys.executable, "-m", "continuous_training.cli", "metrics", "--listen", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as it:
        try:
            assert it.stderr is not None
            told = it.stderr.readline()
            place = re.search(r"http://(127\.0\.0\.1:\d+)/metrics", told)
            assert place, told
            yield place[1]
        finally:
            it.terminate()
        assert it.wait(SECONDS) == 0


@contextlib.contextmanager
def pushgateway(folder: Path) -> Iterator[str]:
    """Give the URL of an empty Pushgateway."""
    (port,) = free_ports(1)
    with running(folder, "prometheus-pushgateway", port, f"--web.listen-address=127.0.0.1:{port}") as url:
        yield url


@contextlib.contextmanager
def alertmanager(folder: Path, *, webhook: str, token: str) -> Iterator[str]:
    """Give the URL of an Alertmanager with this project's routes, which sends to `webhook`."""
    told = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())
    (hook,) = (each for receiver in told["receivers"] for each in receiver.get("webhook_configs", []))
    (folder / "alert_token").write_text(token)
    hook["url"] = webhook
    hook["http_config"]["authorization"]["credentials_file"] = str(folder / "alert_token")
    for route in told["route"]["routes"]:
        route["group_wait"] = "0s"
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(told))
    (port,) = free_ports(1)
    options = (
        f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/alertmanager",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    )  # fmt: skip
    with running(folder, "prometheus-alertmanager", port, *options) as url:
        yield url


@contextlib.contextmanager
def prometheus(
    folder: Path, targets: dict[str, str], *, alerts: str = "", rules: list[dict[str, Any]] | None = None
) -> Iterator[str]:
    """Give the URL of a Prometheus with this project's rules.

    Parameters
    ----------
    targets:
        Job to `host:port`, instead of those of compose.
    alerts:
        URL of an Alertmanager.
    rules:
        Further alerts.
    """
    told = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    told["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    told.pop("otlp")  # newer than Debian's
    told["rule_files"] = [str(MONITORING / "rules.yml"), str(folder / "more.yml")]
    told["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alerts.removeprefix("http://")]}]}]}
    told["scrape_configs"] = [
        {"job_name": job, "static_configs": [{"targets": [place]}]} for job, place in targets.items()
    ]
    (folder / "more.yml").write_text(yaml.safe_dump({"groups": [{"name": "more", "rules": rules or []}]}))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(told))
    (port,) = free_ports(1)
    options = (
        f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address=127.0.0.1:{port}",
    )  # fmt: skip
    with running(folder, "prometheus", port, *options) as url:
        yield url


def query(url: str, expression: str) -> list[dict[str, Any]]:
    """Return what Prometheus answers."""
    answer = httpx.get(f"{url}/api/v1/query", params={"query": expression}, timeout=10)
    assert answer.is_success, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found
