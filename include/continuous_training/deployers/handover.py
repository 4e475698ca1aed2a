"""What deployers and servers tell each other, as files in `<home>/serving/<model>/`.

`pointer.json` says which release is to be served; only a deployer writes it, and its fence never goes down.
`status.json` says what is served and how the newest pointer fared; only the supervisor writes it.
`rollout.json` says which requests a challenger gets; whoever drives the rollout writes it, and removes it at the end.
`counts/<plan>/` has a file of each server process that counts what the two versions do.
`supervisor.lock` is held by the supervisor for as long as it lives and contains its process id.
`deploy.lock` is held by the one deployer that moves the pointer or starts and stops the supervisor.
"""

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, TypeVar

from pydantic import Field, ValidationError

from continuous_training.core.errors import ArtefactCorrupt, StoreUnavailable, UsageError
from continuous_training.core.frozen import Frozen
from continuous_training.core.prediction_log import LogPolicy
from continuous_training.core.rollout import RolloutCounts, RolloutPlan
from continuous_training.deployers.base import Freshness, Release

_Value = TypeVar("_Value", bound=Frozen)
_LOCK_TRIES = 20


class Pointer(Release):
    """The release to serve.

    `ticket` is new each time, so that the same release written again means: try again.
    """

    folder: str = Field(description="Absolute path of the bundle.")
    age: Freshness = Field(default_factory=Freshness, description="When the model is too old, and what is done then.")
    log: LogPolicy | None = Field(None, description="What is kept of its predictions; none keeps nothing.")
    strict: bool = Field(default=False, description="Whether requests that training never saw the like of are refused.")
    ticket: str = Field(default_factory=lambda: uuid.uuid4().hex)


class Status(Frozen):
    """What a supervisor says of itself."""

    pid: int
    url: str
    port: int
    metrics_port: int | None = Field(None, description="Port of `/metrics`; without it there is none.")
    state: Literal["starting", "ready", "failed", "stopped"] = Field(
        description="How the newest pointer fared. When it failed, the release named here keeps answering."
    )
    ticket: str = Field("", description="The newest pointer that was taken up.")
    model: str
    version: str = Field("", description="What answers now, like `fence` and `bundle`; empty when nothing does.")
    fence: int = 0
    bundle: str = ""
    error: str = Field("", description="Why the newest release does not serve, or how the last server ended.")


CHALLENGER = "challenger"
"""Slot of the version that meets real requests beside the champion."""


class ServingFolder:
    """The files of one model under the folder `home`.

    Parameters
    ----------
    slot
        `CHALLENGER` for what answers beside the champion, in a folder inside the model's.
    plan
        File of the rollout's plan, where somebody else keeps it.
    """

    def __init__(self, home: Path, model: str, slot: str = "", plan: Path | None = None) -> None:
        if not model.isidentifier():
            msg = f"{model!r} is not the name of a model; use lower-case letters, digits and _; a retry gives the same"
            raise UsageError(msg)
        self.home, self.slot = home.absolute(), slot
        self.path = home.absolute() / "serving" / model / slot
        self.log = self.path / "server.log"
        self.plan = plan or self.path / "rollout.json"
        self.counts = self.path / "counts"
        self._lock = self.path / "supervisor.lock"

    def read_pointer(self) -> Pointer | None:
        """Return the release to serve, or `None` before the first deployment."""
        return _read(self.path / "pointer.json", Pointer)

    def write_pointer(self, pointer: Pointer) -> None:
        """Move the pointer in one step that survives a crash of the machine."""
        _write(self.path / "pointer.json", pointer)

    def forget(self) -> None:
        """Take the pointer away; a later one may have any fence."""
        (self.path / "pointer.json").unlink(missing_ok=True)

    def read_status(self) -> Status | None:
        """Return the last words of the last supervisor, living or not; unreadable ones are no words."""
        with contextlib.suppress(ArtefactCorrupt):
            return _read(self.path / "status.json", Status)
        return None

    def write_status(self, status: Status) -> None:
        """Say how things stand."""
        _write(self.path / "status.json", status)

    def read_plan(self) -> RolloutPlan | None:
        """Return the rollout's plan, or `None` when there is no rollout."""
        return _read(self.plan, RolloutPlan)

    def write_plan(self, plan: RolloutPlan | None) -> None:
        """Begin or continue a rollout, or end it with `None`; servers follow within a second. Counts of other steps are deleted."""
        _make(self.path)
        if plan is None:
            self.plan.unlink(missing_ok=True)
            return
        _write(self.plan, plan)
        # What was counted before is in the ledger. Servers write down the last of it a moment later: the next step takes that away.
        for folder in self.counts.glob("*"):
            if folder.name != plan.name:
                shutil.rmtree(folder, ignore_errors=True)

    def renew_plan(self) -> None:
        """Say that somebody still watches the rollout: servers do not follow a plan that nobody has renewed for its lease."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.plan)

    def read_counts(self, plan: RolloutPlan) -> RolloutCounts:
        """Return what all server processes together have counted under a plan; the last second may be missing."""
        found = (_read(path, RolloutCounts) for path in sorted((self.counts / plan.name).glob("*.json")))
        return sum((each for each in found if each), RolloutCounts(plan=plan.name))

    def supervisor(self) -> int | None:
        """Return the process id of the living supervisor, or `None` when there is none."""
        try:
            with self._lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return int(self._lock.read_bytes() or 0) or None
        return None

    def supervise(self) -> IO[bytes] | None:
        """Become the only supervisor for as long as the returned file is open; `None` when another one lives."""
        _make(self.path)
        file = self._lock.open("ab")
        for _ in range(_LOCK_TRIES):  # `supervisor()` holds the lock too, for an instant
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.truncate(0)
                return file
            time.sleep(0.05)
        file.close()
        return None

    @contextlib.contextmanager
    def deploying(self) -> Iterator[None]:
        """Be the one deployer that moves the pointer or starts and stops the supervisor; wait for that."""
        _make(self.path)
        with (self.path / "deploy.lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the folder {folder} ({error}); check space and rights; a retry starts again"
        raise StoreUnavailable(msg) from error


def _read(path: Path, kind: type[_Value]) -> _Value | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        msg = (
            f"{path} does not hold a {kind.__name__.lower()} ({error.error_count()} problems); what is served stays. "
            "Delete the file and deploy again; a retry before that gives the same."
        )
        raise ArtefactCorrupt(msg) from error
    except OSError as error:
        msg = f"cannot read {path} ({error}); check rights and disk; a retry reads again"
        raise StoreUnavailable(msg) from error


def _write(path: Path, value: Frozen) -> None:
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with staged.open("wb") as file:
            file.write(value.model_dump_json(indent=1).encode())
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name must survive a crash too, not only the bytes
        finally:
            os.close(folder)
    except OSError as error:
        staged.unlink(missing_ok=True)
        msg = f"cannot write {path} ({error}); check space and rights; a retry starts again"
        raise StoreUnavailable(msg) from error
