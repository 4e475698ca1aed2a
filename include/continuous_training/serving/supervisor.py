"""Keep exactly one release of one model answering on one socket.

The supervisor listens and never lets go of the socket; server processes accept on it. For a pointer with a newer fence it
starts a second server beside the first, and only when that one is ready does the first accept nothing more, finish what
it has begun, and end: no request is lost. A new server that fails changes nothing but the status. A server that ends by
itself is started again, at first at once, then after pauses that double. A pointer with a lower fence than the newest
one seen is not followed.
"""

import logging
import os
import select
import signal
import socket
import time
from types import FrameType
from typing import Literal

from continuous_training.core.errors import ArtefactCorrupt, StoreUnavailable
from continuous_training.deployers.handover import Pointer, ServingFolder, Status
from continuous_training.deployers.processes import END_SECONDS, STARTUP_SECONDS, ServerProcess

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0

STEADY_SECONDS = 60.0
"""The pauses begin anew after a server that lived this long."""

RETIRED_SECONDS = 60.0
"""A server that was told to end and still lives by then is killed."""

_LOOK_SECONDS = 0.2
_log = logging.getLogger(__name__)


class Supervisor:
    """The one process that decides which server answers for a model.

    Parameters
    ----------
    folder
        Where the pointer is read and the status is written.
    model
        Name of the model.
    listener
        The listening socket.
    url
        What callers ask, where that is not the socket's own address.
    metrics
        The listening socket of whoever reads metrics.
    """

    def __init__(
        self,
        folder: ServingFolder,
        model: str,
        listener: socket.socket,
        url: str | None = None,
        metrics: socket.socket | None = None,
    ) -> None:
        self._folder = folder
        self._model = model
        self._listener = listener
        self._url = url
        self._metrics = metrics
        self._address: tuple[str, int] = listener.getsockname()
        self._ending = False
        self._pointer: Pointer | None = None
        self._ignored = ""
        self._proven: Pointer | None = None
        self._current: ServerProcess | None = None
        self._next: ServerProcess | None = None
        self._retired: list[ServerProcess] = []
        self._failure = ""
        self._crash = ""
        self._failures = 0
        self._start_at = 0.0
        self._said: Status | None = None

    def run(self) -> None:
        """Serve until a signal asks to end or the folder disappears."""
        ours, signals = socket.socketpair()
        signals.settimeout(0)  # as set_wakeup_fd demands
        signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_end)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # its only effect is to end the wait below
        while not self._ending and self._folder.path.exists():
            self._follow_pointer()
            self._hear_next()
            self._notice_crash()
            self._start_again()
            self._bury_retired()
            self._say("failed" if self._failure else "ready" if self._current and not self._next else "starting")
            waited_for = [ours] if self._next is None else [ours, self._next.control]
            if ours in select.select(waited_for, [], [], _LOOK_SECONDS)[0]:
                ours.recv(4096)
        self._end()

    def _ask_to_end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True

    def _follow_pointer(self) -> None:
        try:
            pointer = self._folder.read_pointer()
        except (ArtefactCorrupt, StoreUnavailable) as error:
            self._ignore(str(error))
            return
        if pointer is None or (self._pointer and pointer.ticket == self._pointer.ticket):
            return
        if self._pointer and pointer.fence < self._pointer.fence:
            self._ignore(f"the pointer names fence {pointer.fence}; fence {self._pointer.fence} came before and stays")
            return
        _log.info("version %s with fence %s is to be served", pointer.version, pointer.fence)
        self._pointer, self._failure = pointer, ""
        if any(server and _same(server.pointer, pointer) for server in (self._current, self._next)):
            return
        if self._next:
            self._discard(self._next)
        self._start(pointer)

    def _ignore(self, problem: str) -> None:
        if problem != self._ignored:
            _log.error("%s", problem)
        self._ignored = problem

    def _start(self, pointer: Pointer) -> None:
        try:
            place = (str(self._folder.home), self._folder.slot)
            self._next = ServerProcess(pointer, self._listener, place=place, metrics=self._metrics)
        except OSError as error:
            self._next = None
            self._record_failure(pointer, f"no process could be started ({error})")

    def _hear_next(self) -> None:
        if self._next is None:
            return
        server, problem = self._next, self._next.report()
        if problem is None and server.age > STARTUP_SECONDS:
            problem = f"it was not ready within {STARTUP_SECONDS:g} s"
        if problem is None:
            return
        self._next = None
        if problem:
            self._discard(server)
            self._record_failure(server.pointer, problem)
        else:
            self._hand_over(server)

    def _hand_over(self, server: ServerProcess) -> None:
        if self._current:
            self._current.retire()
            self._retired.append(self._current)
        self._current, self._proven, self._crash = server, server.pointer, ""
        if self._pointer and _same(server.pointer, self._pointer):
            self._failure = ""
        _log.info("version %s with fence %s is served", server.pointer.version, server.pointer.fence)

    def _record_failure(self, pointer: Pointer, problem: str) -> None:
        _log.error("version %s with fence %s cannot be served: %s", pointer.version, pointer.fence, problem)
        if self._pointer and _same(pointer, self._pointer):
            self._failure = problem
        else:
            self._crash = problem
        if self._current is None:
            self._pause()

    def _pause(self) -> None:
        pause = FIRST_PAUSE * 2 ** (self._failures - 1) if self._failures else 0.0
        self._start_at = time.monotonic() + min(pause, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 10)

    def _notice_crash(self) -> None:
        if self._current is None or not self._current.ended:
            return
        self._crash = self._current.ended
        _log.error("version %s: %s; it is started again", self._current.pointer.version, self._crash)
        if self._current.age > STEADY_SECONDS:
            self._failures = 0
        self._current.end()
        self._current = None
        self._pause()

    def _start_again(self) -> None:
        # What has served before comes first: a newer release that failed must not keep it from coming back.
        pointer = self._proven or self._pointer
        if pointer and not self._current and not self._next and time.monotonic() >= self._start_at:
            self._start(pointer)

    def _discard(self, server: ServerProcess) -> None:
        server.terminate()
        self._retired.append(server)
        self._next = None

    def _bury_retired(self) -> None:
        for server in self._retired:
            if server.ended or server.age > RETIRED_SECONDS:
                server.end(0)
        self._retired = [server for server in self._retired if not server.ended]

    def _say(self, state: Literal["starting", "ready", "failed", "stopped"]) -> None:
        host, port = self._address
        serving = self._current.pointer.model_dump(include={"version", "fence", "bundle"}) if self._current else {}
        status = Status(
            pid=os.getpid(),
            url=self._url or f"http://{host}:{port}",
            port=port,
            metrics_port=self._metrics.getsockname()[1] if self._metrics else None,
            state=state,
            ticket=self._pointer.ticket if self._pointer else "",
            model=self._model,
            error=self._failure or self._crash,
            **serving,
        )
        if status != self._said:
            try:
                self._folder.write_status(status)
                self._said = status
            except StoreUnavailable as error:  # answering requests matters more; the next look tries again
                self._ignore(str(error))

    def _end(self) -> None:
        _log.info("ending")
        self._listener.close()
        servers = [server for server in (self._current, self._next, *self._retired) if server]
        for server in servers:
            server.terminate()
        deadline = time.monotonic() + END_SECONDS
        for server in servers:
            server.end(max(0.0, deadline - time.monotonic()))
        self._current = None
        if self._folder.path.exists():
            self._say("stopped")


def _same(one: Pointer, other: Pointer) -> bool:
    return one.model_copy(update={"ticket": other.ticket}) == other
