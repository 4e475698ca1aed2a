"""Several processes that answer on the same port: whoever started them starts one again that was killed.

They are forked before any library that predicts is loaded, so that each has threads and memory of its own; the listening
sockets and the board of what is counted are shared.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
STEADY_SECONDS = 60.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_log = logging.getLogger(__name__)


class Workers:
    """The processes that answer.

    Parameters
    ----------
    work
        What each does, given its number and a file descriptor that ends when whoever started it is gone; it returns the
        process' exit code.
    count
        How many there are.
    """

    def __init__(self, work: Callable[[int, int], int], count: int) -> None:
        self._work = work
        self._count = count
        self._running: dict[int, tuple[int, float]] = {}
        self._failures = 0
        self._ending = False
        self._theirs, self._ours = os.pipe()

    def run(self) -> int:
        """Keep them running until told to end, or until one cannot begin; return the exit code."""
        for number in _SIGNALS:
            signal.signal(number, self._end)
        for worker in range(self._count):
            self._start(worker)
        code = 0
        while self._running:
            process, status = os.wait()
            worker, began = self._running.pop(process)
            if self._ending:
                continue
            if os.WIFEXITED(status):  # it has said why, and another one would say the same
                code = os.WEXITSTATUS(status) or 1
                self._end(signal.SIGTERM, None)
            else:
                _log.error("worker %s was ended by signal %s and is started again", worker, os.WTERMSIG(status))
                self._pause(time.monotonic() - began)
                self._start(worker)
        return code

    def _start(self, worker: int) -> None:
        if self._ending:
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until both know what to do with one
        process = os.fork()
        if process:
            self._running[process] = (worker, time.monotonic())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return
        code = 1
        try:
            os.close(self._ours)
            for number in _SIGNALS:
                signal.signal(number, lambda *_: sys.exit(0))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            code = self._work(worker, self._theirs)
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:  # noqa: BLE001 - it must not go on as its parent
            _log.exception("worker %s failed", worker)
        finally:
            os._exit(code)

    def _pause(self, lived: float) -> None:
        self._failures = 0 if lived > STEADY_SECONDS else min(self._failures + 1, 10)
        if self._failures > 1:
            time.sleep(min(FIRST_PAUSE * 2 ** (self._failures - 2), LONGEST_PAUSE))

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self._ending = True
        for process in self._running:
            os.kill(process, number)
