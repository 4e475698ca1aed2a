"""One server process: load a bundle, answer its golden rows, then answer requests on an inherited socket.

Run as `python -m continuous_training.serving.server <socket> <control channel> <pointer> <home> <slot> [<socket for metrics>]`: file
descriptors, JSON and a serving folder, or two empty texts; `deployers/processes.py` starts it and says what the control channel means.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from continuous_training.core.prediction_log import log_folder
from continuous_training.deployers.golden import LOOPBACK
from continuous_training.deployers.handover import Pointer, ServingFolder
from continuous_training.deployers.processes import READY, REPORT_BYTES, RETIRE
from continuous_training.serving.admin import AdminApp, AdminServer, Metrics
from continuous_training.serving.age import Age
from continuous_training.serving.app import ModelApp
from continuous_training.serving.connections import BoundedProtocol, Limits
from continuous_training.serving.meter import Board, Meter
from continuous_training.serving.predictions import PredictionLog
from continuous_training.serving.router import Router
from continuous_training.trainers.bundle import MANIFEST, load_bundle, score_bounds

if TYPE_CHECKING:
    from continuous_training.trainers.bundle import Bundle

RETIREMENT_SECONDS = 10.0
"""An idle connection is closed after 5 s anyway; one that is still open by then is closed between two requests."""

_GRACE_SECONDS = 30

_BESIDE_LIGHTGBM = ("dask", "matplotlib", "pandas", "pyarrow", "sklearn")
_NOT_NEEDED: dict[str, tuple[str, ...]] = dict.fromkeys(("ensemble", "lightgbm", "ranking"), _BESIDE_LIGHTGBM)
"""Libraries that a trainer's library imports if it can and predictions never use.

Without them a server with a LightGBM model starts in a fifth of the time and a quarter of the memory.
"""


class ModelServer(uvicorn.Server):
    """A server that loses no request when it ends, and that no client can fill up.

    Parameters
    ----------
    app
        What answers.
    limits
        What clients may take.
    front
        What gets the requests before the app does.
    admin
        The server of the admin port, which begins and ends with this one.
    """

    def __init__(
        self,
        app: ModelApp,
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
        front: Router | None = None,
        admin: AdminServer | None = None,
    ) -> None:
        self._front = front
        super().__init__(
            uvicorn.Config(
                front or app,
                loop="uvloop",
                http=partial(BoundedProtocol, limits=limits),  # type: ignore[arg-type] # it is called like a class
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                lifespan="off",
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self._app = app
        self._admin = admin
        self._telling: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, on the admin port too."""
        await super().startup(sockets)
        if self._admin is not None:
            self._telling = asyncio.create_task(self._admin.serve([self._admin.listener]))

    async def on_tick(self, counter: int) -> bool:
        """Close what is open for too long, about once a second."""
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                assert isinstance(connection, BoundedProtocol)
                connection.expire(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more and end; when retiring, let clients leave before their connections are closed.

        Closing an idle connection can cross a request on its way, which the client then sees fail. Copies of requests that are
        on their way to a challenger may arrive.
        """
        self._accept_nothing_more()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RETIREMENT_SECONDS
        while self._app.retiring and self.server_state.connections and loop.time() < deadline:  # noqa: ASYNC110 - uvicorn tells of no event
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)
        if self._admin is not None and self._telling is not None:
            self._admin.should_exit = True
            await self._telling
        if self._front is not None:
            await self._front.close()

    def _accept_nothing_more(self) -> None:
        for server in [*self.servers, *(self._admin.servers if self._admin and self._admin.started else [])]:
            server.close()


class SupervisedServer(ModelServer):
    """A server that reports on the control channel when it is ready and obeys it afterwards."""

    def __init__(
        self,
        app: ModelApp,
        control: socket.socket,
        front: Router | None = None,
        admin: AdminServer | None = None,
    ) -> None:
        super().__init__(app, front=front, admin=admin)
        self._control = control

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, then report."""
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(self._control, self._hear)
        self._app.ready = True
        self._control.send(READY)

    def _hear(self) -> None:
        self._app.retiring = self._control.recv(REPORT_BYTES) == RETIRE
        if not self._app.retiring:
            asyncio.get_running_loop().remove_reader(self._control)
        self._accept_nothing_more()
        self.should_exit = True


def main(  # what another process was started with
    listener_number: str, control_number: str, pointer_text: str, home: str, slot: str, metrics_number: str = ""
) -> int:
    """Answer requests until told to end."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    control = socket.socket(fileno=int(control_number))
    listener = socket.socket(fileno=int(listener_number))
    pointer = Pointer.model_validate_json(pointer_text)
    try:
        bundle = load_verified(Path(pointer.folder))
    except Exception as error:
        logging.getLogger(__name__).exception("%s version %s cannot be served", pointer.model, pointer.version)
        control.send(f"{type(error).__name__}: {error}".encode()[:REPORT_BYTES])
        return 1
    host = listener.getsockname()[0]
    board, bounds = Board(), score_bounds(bundle.manifest, bundle.golden)
    age = Age(data_cutoff=pointer.data_cutoff, **dict(pointer.age))
    hosts = [host, "localhost"] if host == LOOPBACK else ["*"]
    log = None
    if home and pointer.log is not None:
        log = PredictionLog(log_folder(Path(home), pointer.model), pointer, pointer.log)
    record = log.record if log else None
    app = ModelApp(pointer, bundle, hosts, record, meter=Meter(board.block(), bounds), age=age, strict=pointer.strict)
    front = Router(app, pointer.fence, hosts, ServingFolder(Path(home), pointer.model, slot)) if home else None
    admin = None
    if metrics_number:
        metrics = Metrics(pointer, board, bounds, age, front.report if front else None)
        admin = AdminServer(AdminApp(metrics), socket.socket(fileno=int(metrics_number)))
    SupervisedServer(app, control, front, admin).run(sockets=[listener])
    if log is not None:
        log.close()
    return 0


def load_verified(folder: Path) -> Bundle:
    """Return the model in `folder` once it has answered its golden rows as in training; import only what that takes."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # load_bundle says better what is wrong
        kind = json.loads((folder / MANIFEST).read_bytes())["trainer"]["kind"]
        for name in _NOT_NEEDED.get(kind, ()):
            sys.modules[name] = None  # type: ignore[assignment] # Python's way to make an import fail
    try:
        bundle = load_bundle(folder)
        bundle.check_golden()
    finally:
        if sys.modules.get("pyarrow", ...) is None:
            del sys.modules["pyarrow"]  # a batch in Arrow's format needs it; it makes do without pandas
    return bundle


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
