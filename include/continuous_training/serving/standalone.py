"""`ct serve`: one server process for a container, which whoever runs containers starts, watches and replaces.

The bundle is a folder, a package of `ct package`, which is unpacked into `CT_HOME`, or a digest that is fetched from the
artefact store (`CT_ARTEFACTS`) into `CT_HOME`; every file is checked, with a public key its signature too. The server listens once its model has answered the golden rows. `GET /v2/health/live` then answers 200;
`GET /v2/health/ready` does so once the golden rows were answered as in training over HTTP too, and no more from the moment
SIGTERM asks to end: then requests are still answered for `drain` seconds, because whoever sends them learns of the end
late, and each answer asks its client to leave; after that nothing new is accepted, what has begun is finished (30 s at
most), and the process ends with exit code 0. Whoever ends it by force should wait `drain` + 40 seconds first.

The process writes only below `CT_HOME`, and only when it fetches or unpacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from continuous_training.core.errors import ArtefactCorrupt, ContinuousTrainingError, DeploymentFailed, UsageError
from continuous_training.deployers.base import Release
from continuous_training.deployers.golden import LOOPBACK, golden_problem
from continuous_training.deployers.handover import ServingFolder
from continuous_training.packages import RELEASE, open_package, read_release, verify
from continuous_training.serving.admin import AdminApp, AdminServer, Metrics
from continuous_training.serving.age import Age
from continuous_training.serving.app import ModelApp
from continuous_training.serving.connections import Limits
from continuous_training.serving.meter import Board, Meter
from continuous_training.serving.router import Router
from continuous_training.serving.server import ModelServer, load_verified
from continuous_training.serving.workers import Workers
from continuous_training.storage import Store, folder_digest
from continuous_training.trainers.bundle import MANIFEST, score_bounds

if TYPE_CHECKING:
    from types import FrameType

    from continuous_training.serving.wanted import Wanted
    from continuous_training.settings import Settings
    from continuous_training.trainers.bundle import Manifest

_ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - it is compared with, never a default
_BACKLOG = 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)


def serve(wanted: Wanted, settings: Settings) -> int:
    """Answer requests until told to end, and return the exit code.

    Raises
    ------
    UsageError
        There is no such bundle, it is another model's, or the address cannot be used.
    ArtefactCorrupt
        A file is missing or is not what its digest says.
    DeploymentFailed
        The golden rows came out differently from training.
    StoreUnavailable
        The artefact store does not answer.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # else the first process of a container does not hear it
    token = os.environ.pop("CT_SERVE_TOKEN", "")
    if wanted.private_metrics and not token:
        msg = "private metrics need a token that may read them; set CT_SERVE_TOKEN; a retry gives the same"
        raise UsageError(msg)
    folder = _folder(wanted.bundle, settings)
    if wanted.public_key:
        verify(folder, wanted.public_key)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(wanted.host, wanted.port))
        admin = (
            None if wanted.admin_port is None else stack.enter_context(_listen(wanted.admin_host, wanted.admin_port))
        )
        board = Board(wanted.workers)

        def work(worker: int, parent: int | None = None) -> int:
            try:
                _answer(wanted, folder, listener, AdminDoor(admin, token, board, worker, Path(settings.home)), parent)
            except ContinuousTrainingError as error:
                if parent is None:
                    raise
                sys.stderr.write(f"ct: {error}\n")
                return error.exit_code
            return 0

        return work(0) if wanted.workers == 1 else Workers(work, wanted.workers).run()


class AdminDoor(NamedTuple):
    """What a worker needs to count, and to tell of it."""

    listener: socket.socket | None
    token: str
    board: Board
    worker: int
    home: Path


def _answer(wanted: Wanted, folder: Path, listener: socket.socket, door: AdminDoor, parent: int | None) -> None:
    bundle = load_verified(folder)
    if wanted.arrow:
        import_module("pyarrow")  # so that the first batch need not wait for it
    release = _release(wanted, folder, bundle.manifest)
    age = Age(data_cutoff=release.data_cutoff, maximum=wanted.max_age, past=wanted.past_max_age)
    bounds = score_bounds(bundle.manifest, bundle.golden)
    own = () if wanted.host == _ANY_ADDRESS else (wanted.host,)
    hosts = [LOOPBACK, "localhost", *own, *wanted.hosts]
    app = ModelApp(
        release, bundle, hosts, meter=Meter(door.board.block(door.worker), bounds), age=age, strict=wanted.strict
    )
    front = None
    if wanted.plan is not None:
        front = Router(app, release.fence, hosts, ServingFolder(door.home, release.model, plan=wanted.plan))
    limits = Limits(connections=wanted.connections, seconds=wanted.patience)
    admin = None
    if door.listener is not None:
        token = door.token if wanted.private_metrics else ""
        metrics = Metrics(release, door.board, bounds, age, front.report if front else None)
        admin = AdminServer(AdminApp(metrics, token), door.listener)
    server = StandaloneServer(app, folder, listener.getsockname(), wanted.drain, limits, admin, front)
    server.parent = parent
    server.run(sockets=[listener])
    if server.problem:
        named = f"{release.model} version {release.version}"
        raise DeploymentFailed(f"{named} does not serve: {server.problem}; a retry gives the same")


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=_BACKLOG)
    except OSError as error:
        msg = f"cannot listen on {host} port {port} ({error}); free the port or name another one"
        raise UsageError(msg) from error


class StandaloneServer(ModelServer):
    """A server that becomes ready by asking itself, and that signals end.

    Parameters
    ----------
    app
        What answers.
    folder
        The bundle, for its golden rows.
    address
        Where the server listens.
    drain
        Seconds to go on answering after SIGTERM.
    limits, admin, front
        As for every server.

    Attributes
    ----------
    parent
        A file descriptor that ends when whoever started this process is gone.
    """

    def __init__(
        self,
        app: ModelApp,
        folder: Path,
        address: tuple[str, int],
        drain: float,
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
        admin: AdminServer | None = None,
        front: Router | None = None,
    ) -> None:
        super().__init__(app, limits, front, admin)
        self.problem = ""
        self.parent: int | None = None
        self._folder = folder
        self._address = address
        self._drain = drain
        self._asking: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and to ask."""
        await super().startup(sockets)
        if self.parent is not None:
            asyncio.get_running_loop().add_reader(self.parent, self._end)
        if self._admin is not None:
            _log.info("metrics on %s port %s", *self._admin.listener.getsockname())
        self._asking = asyncio.create_task(self._ask_golden_rows())

    async def _ask_golden_rows(self) -> None:
        host, port = self._address
        host = LOOPBACK if host == _ANY_ADDRESS else host
        self.problem = await asyncio.to_thread(golden_problem, self._folder, port, host)
        self._app.ready = not self.problem
        self.should_exit = self.should_exit or bool(self.problem)
        if self._app.ready:
            _log.info("ready on %s port %s", *self._address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Go on for a while after the first SIGTERM; end at once after any other signal."""
        if sig != signal.SIGTERM or self._app.retiring:
            super().handle_exit(sig, frame)
            return
        self._app.retiring = True
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, self._drain, self._end)

    def _end(self) -> None:
        if self.parent is not None:
            asyncio.get_running_loop().remove_reader(self.parent)
        self.should_exit = True


def _folder(bundle: str, settings: Settings) -> Path:
    folder = Path(bundle)
    if folder.is_dir():
        is_package = (folder / "oci-layout").exists()
        return open_package(folder, Path(settings.home)) if is_package else folder.absolute()
    if not _DIGEST.fullmatch(bundle):
        msg = f"{bundle!r} is no folder here; name the folder of a bundle, or its digest of 64 hexadecimal digits"
        raise UsageError(msg)
    return Store(settings.artefacts).fetch_folder(bundle, Path(settings.home) / "bundles")


def _release(wanted: Wanted, folder: Path, manifest: Manifest) -> Release:
    digest = folder_digest(folder, (MANIFEST, *manifest.digests))
    packaged = read_release(folder) or Release(model=manifest.model, version=digest[:12], fence=1, bundle=digest)
    if (packaged.model, packaged.bundle) != (manifest.model, digest):
        msg = f"{RELEASE} in {folder} names another bundle than the one beside it; package it again"
        raise ArtefactCorrupt(msg)
    if wanted.model not in (None, packaged.model):
        raise UsageError(f"{wanted.bundle} is a bundle of {packaged.model}, not of {wanted.model}; name the right one")
    told = wanted.model_dump(include={"version", "fence", "data_cutoff"}, exclude_none=True)
    return Release.model_validate({**packaged.model_dump(), **told})
