"""A work step as a container of a Docker engine: what the engine is asked for, and how its answer is read.

The docker provider's operator can neither make the root read-only nor drop capabilities, and it reads results with
pickle; so its hook is used, which knows the engine and the registries.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from continuous_training.core.errors import Transient, UsageError
from continuous_training.provider.process import follow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow.sdk.types import Logger

    from continuous_training.runners import Docker
    from docker import APIClient

USER = "10001:10001"
HOME = "/work"
KILLED = 128
"""Exit codes from here on are signals: the memory limit, the engine or somebody ended the container."""

_TOLD = ("CT_SPEC", "CT_RUN", "CT_ARTEFACTS", "CT_LOCATIONS", "TRANSFORMERS_VERBOSITY")
_SOURCE = "AIRFLOW_CONN_"
_MOST_PROCESSES = 1000
_RESULT_LINES = 50


def container_arguments(
    step: str, runner: Docker, environment: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the engine is asked for: the container, and its place on the host.

    The container is unprivileged and writes only to its mounts and to memory. It is told the step and the variables that
    the runner names, and neither the ledger nor the registry.

    Parameters
    ----------
    environment:
        What a step process beside the worker would get.

    Raises
    ------
    UsageError
        The worker does not have a variable that the runner names.
    """
    told = _told(runner, environment)
    run = json.loads(told["CT_RUN"])
    container = {
        "image": runner.image,
        # The same work of the same run is one container: a worker that starts again finds it.
        "name": f"ct-{run['model']}-{step}-{run['key'][:16]}",
        "command": ["step", step],
        "entrypoint": ["ct"],
        "user": USER,
        "environment": {**told, "CT_HOME": HOME, "HOME": HOME},
        "labels": {"app": "continuous-training", "model": run["model"], "step": step},
    }
    host = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "init": True,
        "tmpfs": {HOME: "uid=10001,gid=10001", "/tmp": ""},  # noqa: S108 - the container's own
        "nano_cpus": round(runner.cpus * 1e9),
        "mem_limit": runner.memory,
        "memswap_limit": runner.memory,
        "pids_limit": _MOST_PROCESSES,
        "network_mode": runner.network,
        "log_config": {"type": "json-file", "config": {"max-size": "50m"}},  # one that can be read back
        "mounts": [
            {
                "Type": "bind" if mount.source.startswith("/") else "volume",
                "Source": mount.source,
                "Target": mount.path,
                "ReadOnly": mount.read_only,
            }
            for mount in runner.mounts
        ],
    }
    return container, host


def _told(runner: Docker, environment: Mapping[str, str]) -> dict[str, str]:
    missing = [name for name in runner.variables if name not in environment]
    if missing:
        msg = (
            f"runner: the worker has no variable {', '.join(missing)}; set it where the worker runs or remove it from "
            "runner.variables; a retry gives the same"
        )
        raise UsageError(msg)
    return {
        name: value
        for name, value in environment.items()
        if name in {*_TOLD, *runner.variables} or name.startswith(_SOURCE)
    }


class StepContainer:
    """One work step in a container.

    Parameters
    ----------
    runner:
        The image and its limits, as in the model file.
    """

    def __init__(self, runner: Docker) -> None:
        self._runner = runner
        self._running: tuple[APIClient, str] | None = None

    def run(self, step: str, environment: Mapping[str, str], log: Logger) -> dict[str, Any]:
        """Run the step to its end and return its result; a container of the same work that runs already is waited for.

        Raises
        ------
        AirflowFailException
            The step failed, or the engine refused the container, in a way that a retry repeats.
        AirflowException
            The engine was down or the container was killed: Airflow may retry.
        """
        try:
            container, host = container_arguments(step, self._runner, environment)
        except UsageError as error:
            raise AirflowFailException(str(error)) from error
        with _engine() as engine:
            name = container["name"]
            self._running = engine, name
            try:
                _start(engine, container, host, log)
                last = follow(_lines(engine.logs(name, stream=True, follow=True)), log)
                engine.wait(name, timeout=None)
                state = engine.inspect_container(name)["State"]
                said = engine.logs(name, stderr=False, tail=_RESULT_LINES).decode(errors="replace")
            finally:
                self.stop()
        if state["ExitCode"]:
            raise failure(step, state, last)
        return result(step, said)

    def stop(self) -> None:
        """End the container and remove it."""
        if self._running is None:
            return
        from docker.errors import APIError
        from requests import RequestException

        engine, name = self._running
        self._running = None
        with contextlib.suppress(APIError, RequestException):  # it, or the engine, may be gone
            engine.remove_container(name, force=True, v=True)


def failure(step: str, state: Mapping[str, Any], last: str) -> AirflowException:
    """Return the error of a step whose container ended so: one that Airflow tries again, or one that it does not."""
    code = int(state["ExitCode"])
    if state.get("OOMKilled") or code >= KILLED:
        why = "OOMKilled; give runner.memory more" if state.get("OOMKilled") else f"exit code {code}"
        return AirflowException(f"{step}: the container was killed ({why}); a retry starts it again")
    words = f"{step}: {last or f'exit code {code}; its log is above'}"
    return AirflowException(words) if code == Transient.exit_code else AirflowFailException(words)


def result(step: str, said: str) -> dict[str, Any]:
    """Return the result in the last lines of a step's standard output, which libraries may have written to as well."""
    for line in reversed(said.splitlines()):
        with contextlib.suppress(json.JSONDecodeError):
            answer = json.loads(line)
            if isinstance(answer, dict) and answer.get("step") == step:
                return answer
    raise AirflowFailException(
        f"{step}: the container ended well and wrote no result; is this package, in the version of Airflow's, in the image?"
    )


@contextlib.contextmanager
def _engine() -> Iterator[APIClient]:
    """Give the engine that `DOCKER_HOST` names; what it refuses fails the task, what it cannot do now is tried again."""
    try:
        from airflow.providers.docker.hooks.docker import DockerHook
        from docker.errors import APIError, DockerException
        from requests import RequestException
    except ImportError as error:
        msg = "the runner docker needs the extra: pip install 'airflow-provider-continuous-training[docker]'"
        raise AirflowFailException(msg) from error
    url = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    absent = f"the Docker engine at {url} does not answer; check that it runs and that the worker may use it; a retry asks again"
    try:
        engine = DockerHook(docker_conn_id=None, base_url=url, version="auto").get_conn()
    except AirflowException as error:
        raise AirflowException(absent) from error
    try:
        yield engine
    except APIError as error:
        words = f"the Docker engine did not do what was asked: {error.explanation or error}"
        if error.is_client_error():
            raise AirflowFailException(f"{words}; a retry gives the same") from error
        raise AirflowException(f"{words}; a retry asks again") from error
    except (DockerException, RequestException, OSError) as error:
        raise AirflowException(absent) from error


def _start(engine: APIClient, container: Mapping[str, Any], host: Mapping[str, Any], log: Logger) -> None:
    """Make and start the container; one of this name that is there already was left by a worker that has gone."""
    from docker.errors import ImageNotFound, NotFound

    name = container["name"]
    try:
        status = engine.inspect_container(name)["State"]["Status"]
    except NotFound:
        status = "created"
        asked = {**container, "host_config": engine.create_host_config(**host)}
        try:
            engine.create_container(**asked)
        except ImageNotFound:
            _pull(engine, container["image"], log)
            engine.create_container(**asked)
    if status == "created":
        engine.start(name)
    else:
        log.info("container %s is there already and is waited for", name)


def _pull(engine: APIClient, image: str, log: Logger) -> None:
    log.info("pulling %s", image)
    for line in engine.pull(image, stream=True, decode=True):
        if "error" in line:
            raise AirflowException(
                f"image {image} cannot be pulled: {line['error']}; check runner.image and the registry; a retry pulls again"
            )


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")
