"""Server processes: how a supervisor and a smoke test start, hear and end them.

A server process inherits a socket on which somebody already listens, so handing over from one process to the next
loses no connection, and one end of a control channel. On the channel it reports once, `ready` or why it is not; a
message to it means retire, and its end means that whoever started the server is gone, so the server ends too.
"""

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import IO, Self

from continuous_training.deployers.handover import Pointer

STARTUP_SECONDS = 120.0
"""A server that has not reported by then is given up."""

END_SECONDS = 10.0
"""A server told to end that still lives by then is killed."""

READY = b"ready"
RETIRE = b"retire"
REPORT_BYTES = 4096

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "OMP_NUM_THREADS")


def environment(own: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables a server gets: a fixed list, so that no secret of the caller reaches it.

    >>> environment({"PATH": "/bin", "DATABASE_PASSWORD": "x"})
    {'PATH': '/bin', 'MLFLOW_ALLOW_PICKLE_DESERIALIZATION': 'false'}
    """
    passed = {name: own[name] for name in _PASSED_ON if name in own}
    if "PYTHONPATH" in own:  # servers run in another folder
        entries = filter(None, own["PYTHONPATH"].split(os.pathsep))
        passed["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in entries)
    return {**passed, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this package and never looks for modules in the working folder."""
    return [sys.executable, "-P", "-m", f"continuous_training.{module}", *arguments]


class ServerProcess:
    """One process that answers requests with one release on the socket `listener`.

    Parameters
    ----------
    pointer:
        The release and the folder of its bundle.
    listener:
        A listening socket; the process gets a copy of it.
    log:
        Where its output goes; by default where the caller's own goes.
    place:
        Home and slot of the model's serving folder, where rollouts are planned and predictions are logged; without it
        there are none.
    metrics:
        A listening socket for whoever reads metrics; the process gets a copy of it.
    """

    def __init__(
        self,
        pointer: Pointer,
        listener: socket.socket,
        log: IO[bytes] | None = None,
        place: tuple[str, str] = ("", ""),
        metrics: socket.socket | None = None,
    ) -> None:
        self.pointer = pointer
        self.control, theirs = socket.socketpair()
        with theirs:
            passed = [each.fileno() for each in (listener, theirs, metrics) if each]
            told = (*map(str, passed[:2]), pointer.model_dump_json(), *place, *map(str, passed[2:]))
            self.process = subprocess.Popen(
                python("serving.server", *told),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=passed,
                env=environment(),
                cwd="/",
            )
        self._changed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def age(self) -> float:
        """Return the seconds since the process was started, or was told to end."""
        return time.monotonic() - self._changed

    @property
    def ended(self) -> str:
        """Return how the process ended, in words; empty while it lives."""
        code = self.process.poll()
        if code is None:
            return ""
        return f"the server ended with signal {-code}" if code < 0 else f"the server ended with exit code {code}"

    def report(self, timeout: float = 0) -> str | None:
        """Return an empty text when the server is ready, else why it is not; `None` when it has not said so in time.

        Parameters
        ----------
        timeout:
            Seconds to wait for the report.
        """
        if not select.select([self.control], [], [], timeout)[0]:
            return None
        message = self.control.recv(REPORT_BYTES)
        if message == READY:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):  # it ends after such a report, or has ended without one
            self.process.wait(END_SECONDS)
        return message.decode(errors="replace") or f"{self.ended or 'the server hung up'} before it was ready"

    def retire(self) -> None:
        """Let the process finish what it has begun, accept nothing more, and end."""
        self._changed = time.monotonic()
        try:
            self.control.send(RETIRE)
        except OSError:
            self.process.terminate()

    def terminate(self) -> None:
        """Let the process finish the requests in flight, close its connections, and end."""
        self._changed = time.monotonic()
        self.process.terminate()

    def end(self, timeout: float = END_SECONDS) -> None:
        """Return when the process is gone; after `timeout` seconds it is killed."""
        self.process.terminate()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.control.close()
