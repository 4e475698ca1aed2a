"""`python -m continuous_training.serving <home> <model>`: supervise the server of one model."""

import argparse
import contextlib
import errno
import logging
import os
import socket
import sys
import time
from pathlib import Path
from typing import IO

from continuous_training.core.errors import Conflict, ContinuousTrainingError
from continuous_training.deployers.handover import CHALLENGER, ServingFolder
from continuous_training.serving.supervisor import Supervisor

_BACKLOG = 1024
_PORT_TRIES = 50


def main(arguments: list[str] | None = None) -> int:
    """Supervise until told to end, or with `--detach` leave a process behind that does."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        folder = ServingFolder(options.home, options.model, CHALLENGER if options.challenger else "")
        lock = folder.supervise()
    except ContinuousTrainingError as error:
        return _refuse(str(error), error.exit_code)
    if lock is None:
        return _refuse(
            f"{options.model} has a supervisor already (process {folder.supervisor()}); end that one first",
            Conflict.exit_code,
        )
    with lock, contextlib.ExitStack() as stack:
        port = options.port
        try:
            listener = stack.enter_context(_listen(options.host, port, folder))
            metrics = None
            if options.metrics_port is not None:
                port = options.metrics_port
                metrics = stack.enter_context(socket.create_server((options.host, port), backlog=_BACKLOG))
        except OSError as error:
            return _refuse(
                f"cannot listen on {options.host} port {port} ({error}); free the port or name another one", 1
            )
        if options.detach:  # from here on a caller may connect: requests wait for the first server
            left_behind = os.fork()
            if left_behind:
                return _sign(lock, left_behind)
            os.setsid()
        else:
            _sign(lock, os.getpid())
        Supervisor(folder, options.model, listener, options.url, metrics).run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m continuous_training.serving", description=main.__doc__)
    parser.add_argument("home", type=Path, help="folder for everything local, as in CT_HOME")
    parser.add_argument("model", help="name of the model")
    parser.add_argument("--host", default="127.0.0.1", help="IPv4 address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=0, help="0 takes the last port again, or a free one (default: %(default)s)"
    )
    parser.add_argument("--metrics-port", type=int, help="port where Prometheus reads /metrics (default: none)")
    parser.add_argument("--challenger", action="store_true", help="serve what answers beside the champion")
    parser.add_argument("--url", help="what callers ask, where that is not the host and the port")
    parser.add_argument("--detach", action="store_true", help="return when a process left behind listens")
    return parser


def _listen(host: str, port: int, folder: ServingFolder) -> socket.socket:
    last = folder.read_status()
    if last and port in (0, last.port):
        for _ in range(_PORT_TRIES):  # servers of a supervisor that was killed let go of the port within moments
            try:
                return socket.create_server((host, last.port), backlog=_BACKLOG)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                time.sleep(0.1)
    return socket.create_server((host, port), backlog=_BACKLOG)


def _sign(lock: IO[bytes], process: int) -> int:
    lock.write(str(process).encode())
    lock.flush()
    return 0


def _refuse(problem: str, exit_code: int) -> int:
    sys.stderr.write(f"{problem}\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
