"""Serve from a small supervised process on this machine's loopback address.

`deploy` asks a fresh server its golden rows first. Then it moves the pointer, never to a lower fence, makes sure that a
supervisor (`python -m continuous_training.serving`) runs, and waits for it to say that the release is served. The
supervisor swaps servers on one listening socket, so no request is lost, and keeps the old one when the new one fails.
"""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from continuous_training.core.errors import Conflict, DeploymentFailed
from continuous_training.core.prediction_log import LogPolicy
from continuous_training.core.rollout import RolloutCounts, RolloutPlan
from continuous_training.deployers.base import Deployer, Freshness, Release
from continuous_training.deployers.golden import LOOPBACK, golden_problem
from continuous_training.deployers.handover import CHALLENGER, Pointer, ServingFolder, Status
from continuous_training.deployers.processes import STARTUP_SECONDS, ServerProcess, environment, python
from continuous_training.settings import Settings

_POLL_SECONDS = 0.1
_STOP_SECONDS = 30.0
_TAIL_BYTES = 2000


class Local(Deployer):
    """Answer requests on this machine, `POST <url>/invocations`, in MLflow's scoring format."""

    kind: Literal["local"] = "local"
    port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on the loopback address; 0 takes a free one at first and keeps it afterwards.",
    )
    log: LogPolicy | None = Field(
        None, description="What is kept of each prediction, in `predictions/<model>` below CT_HOME; none keeps nothing."
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port on the loopback address where Prometheus reads `/metrics`; none by default.",
    )
    age: Freshness = Field(default_factory=Freshness, description="When a model is too old, and what is done then.")
    strict: bool = Field(
        default=False,
        description="Whether requests with columns that are no features, or with categories that training has not seen, are refused.",
    )

    def deploy(self, release: Release, bundle: Path, *, settings: Settings) -> str:
        """Serve `release` and return the URL it answers on; the same release again changes nothing.

        Raises
        ------
        DeploymentFailed
            The new server did not start or its golden rows came out differently; the old one keeps serving.
        Conflict
            A newer fence has been deployed.
        StoreUnavailable
            The serving state cannot be written.
        """
        return self._serve(ServingFolder(Path(settings.home), release.model), release, bundle, Path(settings.home))

    @property
    def rolls_out(self) -> bool:
        """Tell that a challenger can answer beside the champion."""
        return True

    def introduce(self, challenger: Release, bundle: Path, *, settings: Settings) -> str:
        """Serve the challenger from a supervised process of its own, on a port of its own."""
        home = Path(settings.home)
        folder = ServingFolder(home, challenger.model, CHALLENGER)
        before = folder.read_pointer()
        if before is not None and not _same_release(before, challenger):
            _stop(folder)  # of a rollout that was not ended; fences of challengers do not follow one another
            folder.forget()
        return self.model_copy(update={"port": 0, "metrics_port": None})._serve(folder, challenger, bundle, home)

    def route(self, model: str, plan: RolloutPlan, *, settings: Settings) -> None:
        """Write the plan where the champion's servers look."""
        folder = ServingFolder(Path(settings.home), model)
        if folder.read_plan() == plan:
            folder.renew_plan()
        else:
            folder.write_plan(plan)

    def counts(self, model: str, plan: RolloutPlan, *, settings: Settings) -> RolloutCounts:
        """Return what all servers have counted."""
        return ServingFolder(Path(settings.home), model).read_counts(plan)

    def dismiss(self, model: str, *, settings: Settings) -> None:
        """Take the plan away, then end the challenger's server."""
        home = Path(settings.home)
        ServingFolder(home, model).write_plan(None)
        challenger = ServingFolder(home, model, CHALLENGER)
        _stop(challenger)
        challenger.forget()

    def _serve(self, folder: ServingFolder, release: Release, bundle: Path, home: Path) -> str:
        pointer = Pointer(
            **release.model_dump(), folder=str(bundle.absolute()), log=self.log, age=self.age, strict=self.strict
        )
        _refuse_stale(pointer, folder.read_pointer())
        status = folder.read_status() if folder.supervisor() is not None else None
        if status and status.state == "ready" and _same_release(status, release) and self._has_ports(status):
            return status.url
        _smoke_test(pointer)
        with folder.deploying():
            _refuse_stale(pointer, folder.read_pointer())
            self._leave_other_port(folder)
            folder.write_pointer(pointer)
            if folder.supervisor() is None:
                self._start_supervisor(folder, home, release)
        return _await(pointer, folder)

    def _has_ports(self, status: Status) -> bool:
        return self.port in (0, status.port) and self.metrics_port == status.metrics_port

    def _leave_other_port(self, folder: ServingFolder) -> None:
        status = folder.read_status()
        if folder.supervisor() is None or status is None or self._has_ports(status):
            return
        for port in {self.port, self.metrics_port or 0} - {status.port, status.metrics_port, 0}:
            try:
                socket.create_server((LOOPBACK, port)).close()
            except OSError as error:
                msg = (
                    f"port {port} cannot be used ({error}), {status.url} keeps serving; free it, or name another port or "
                    "0 under deployment, then deploy again; a retry before that gives the same"
                )
                raise DeploymentFailed(msg) from error
        _end_supervisor(folder)

    def _start_supervisor(self, folder: ServingFolder, home: Path, release: Release) -> None:
        # The command returns when a process it left behind listens and holds the lock, or tells why it cannot.
        slot = ("--challenger",) if folder.slot == CHALLENGER else ()
        command = python("serving", str(home.absolute()), release.model, "--port", str(self.port), "--detach", *slot)
        if self.metrics_port is not None:
            command += ["--metrics-port", str(self.metrics_port)]
        with folder.log.open("ab") as log:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                cwd="/",
                start_new_session=True,
                timeout=STARTUP_SECONDS,
                check=False,
            )
        if ended.returncode not in (0, Conflict.exit_code):  # a conflict means that another supervisor was faster
            raise _failed(release, "no supervisor could be started", folder.log)


def served(model: str, home: Path) -> dict[str, Any] | None:
    """Return what is served for `model` (url, version, fence, bundle, state, error, ...), or `None` when nothing runs."""
    folder = ServingFolder(home, model)
    status = folder.read_status()
    return status.model_dump() if status and folder.supervisor() is not None else None


def stop(model: str, home: Path) -> bool:
    """End the supervisors of `model` and their servers, and tell whether one ran; requests in flight are finished."""
    ran = [_stop(ServingFolder(home, model, slot)) for slot in (CHALLENGER, "")]
    return any(ran)


def _stop(folder: ServingFolder) -> bool:
    if folder.supervisor() is None:
        return False
    with folder.deploying():
        _end_supervisor(folder)
    return True


def _refuse_stale(wanted: Pointer, present: Pointer | None) -> None:
    if present is None or present.fence < wanted.fence:
        return
    if not _same_release(present, wanted):
        msg = (
            f"{wanted.model} version {wanted.version} has fence {wanted.fence}, but version {present.version} with fence "
            f"{present.fence} has been deployed; only a higher fence replaces it. Nothing was changed; a retry gives the same."
        )
        raise Conflict(msg)


def _same_release(one: Release | Status, other: Release) -> bool:
    return (one.fence, one.bundle) == (other.fence, other.bundle)


def _await(pointer: Pointer, folder: ServingFolder) -> str:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        present, status = folder.read_pointer(), folder.read_status()
        _refuse_stale(pointer, present)
        if present and status and status.ticket == present.ticket:
            if status.state == "ready":
                return status.url
            if status.state == "failed":
                raise _failed(pointer, status.error, folder.log)
        if folder.supervisor() is None:
            raise _failed(pointer, "its supervisor ended", folder.log)
        time.sleep(_POLL_SECONDS)
    raise _failed(pointer, f"it was not ready within {STARTUP_SECONDS:g} s", folder.log)


def _failed(release: Release, problem: str, log: Path) -> DeploymentFailed:
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return _failure(release, problem, file.read(_TAIL_BYTES))
    return _failure(release, problem, b"")


def _failure(release: Release, problem: str, tail: bytes) -> DeploymentFailed:
    said = f"\nThe end of its log:\n{tail.decode(errors='replace').strip()}" if tail.strip() else ""
    return DeploymentFailed(
        f"{release.model} version {release.version} (fence {release.fence}) does not serve: {problem}. What served before "
        f"keeps serving. Repair the cause and deploy again; a retry before that gives the same.{said}"
    )


def _smoke_test(pointer: Pointer) -> None:
    with tempfile.TemporaryFile() as log, socket.create_server((LOOPBACK, 0)) as listener:
        with ServerProcess(pointer, listener, log) as server:
            problem = server.report(STARTUP_SECONDS)
            if problem is None:
                problem = f"it was not ready within {STARTUP_SECONDS:g} s"
            problem = problem or golden_problem(Path(pointer.folder), listener.getsockname()[1])
        if problem:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            raise _failure(pointer, f"smoke test: {problem}", log.read())


def _end_supervisor(folder: ServingFolder) -> None:
    pid = folder.supervisor()
    for number in (signal.SIGTERM, signal.SIGKILL):
        if pid is None or not _is_supervisor(pid):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + _STOP_SECONDS
        while folder.supervisor() == pid and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        pid = folder.supervisor()


def _is_supervisor(pid: int) -> bool:
    # The lock says that one lives; where another container holds it, its number may mean another process here.
    try:
        return b"continuous_training.serving" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self").exists()
