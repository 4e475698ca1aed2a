"""`ct serve`: one server process for a container, which whoever runs containers starts, watches and replaces.

The bundle is a folder, or a digest that is fetched from the artefact store (`CT_ARTEFACTS`) into `CT_HOME`, file by file
checked. The server listens once its model has answered the golden rows. `GET /v2/health/live` then answers 200;
`GET /v2/health/ready` does so once the golden rows were answered as in training over HTTP too, and no more from the moment
SIGTERM asks to end: then requests are still answered for `drain` seconds, because whoever sends them learns of the end
late, and each answer asks its client to leave; after that nothing new is accepted, what has begun is finished (30 s at
most), and the process ends with exit code 0. Whoever ends it by force should wait `drain` + 40 seconds first.

The process writes only below `CT_HOME`, and only when it fetches.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from pydantic import Field

from continuous_training.core.errors import DeploymentFailed, UsageError
from continuous_training.core.frozen import Frozen
from continuous_training.deployers.base import Release
from continuous_training.deployers.golden import LOOPBACK, golden_problem
from continuous_training.serving.app import ModelApp
from continuous_training.serving.server import ModelServer, load_verified
from continuous_training.storage import Store, folder_digest
from continuous_training.trainers.bundle import MANIFEST

if TYPE_CHECKING:
    from types import FrameType

    from continuous_training.settings import Settings

_ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - it is compared with, never a default
_BACKLOG = 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)


class Wanted(Frozen):
    """What to serve, and to whom."""

    bundle: str = Field(min_length=1, description="A bundle's folder, or its digest in the artefact store.")
    model: str | None = Field(None, description="Name the bundle must have; any when it is not given.")
    version: str | None = Field(
        None,
        pattern=r"^[\x21-\x7e]{1,100}$",
        description="Sent with every answer; by default the first digits of the digest.",
    )
    fence: int = Field(1, ge=1, description="Sent with every answer.")
    host: str = Field(LOOPBACK, description="IPv4 address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="0 takes a free one.")
    hosts: tuple[str, ...] = Field((), description="Names to be called by beside loopback's; `*` allows every one.")
    drain: float = Field(5.0, ge=0, description="Seconds to go on answering after SIGTERM.")


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
    folder = _folder(wanted.bundle, settings)
    bundle = load_verified(folder)
    model = bundle.manifest.model
    if wanted.model not in (None, model):
        raise UsageError(f"{wanted.bundle} is a bundle of {model}, not of {wanted.model}; a retry gives the same")
    digest = folder_digest(folder, (MANIFEST, *bundle.manifest.digests))
    version = wanted.version or digest[:12]
    release = Release(model=model, version=version, fence=wanted.fence, bundle=digest)
    own = () if wanted.host == _ANY_ADDRESS else (wanted.host,)
    app = ModelApp(release, bundle, hosts=[LOOPBACK, "localhost", *own, *wanted.hosts])
    try:
        listener = socket.create_server((wanted.host, wanted.port), backlog=_BACKLOG)
    except OSError as error:
        msg = f"cannot listen on {wanted.host} port {wanted.port} ({error}); free the port or name another one"
        raise UsageError(msg) from error
    with listener:
        server = StandaloneServer(app, folder, listener.getsockname(), wanted.drain)
        server.run(sockets=[listener])
    if server.problem:
        raise DeploymentFailed(f"{model} version {version} does not serve: {server.problem}; a retry gives the same")
    return 0


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
    """

    def __init__(self, app: ModelApp, folder: Path, address: tuple[str, int], drain: float) -> None:
        super().__init__(app)
        self.problem = ""
        self._folder = folder
        self._address = address
        self._drain = drain
        self._asking: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and to ask."""
        await super().startup(sockets)
        self._asking = asyncio.create_task(self._ask_golden_rows())

    async def _ask_golden_rows(self) -> None:
        host, port = self._address
        host = LOOPBACK if host == _ANY_ADDRESS else host
        self.problem = await anyio.to_thread.run_sync(golden_problem, self._folder, port, host)
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
        self.should_exit = True


def _folder(bundle: str, settings: Settings) -> Path:
    folder = Path(bundle)
    if folder.is_dir():
        return folder.absolute()
    if not _DIGEST.fullmatch(bundle):
        msg = f"{bundle!r} is no folder here; name the folder of a bundle, or its digest of 64 hexadecimal digits"
        raise UsageError(msg)
    return Store(settings.artefacts).fetch_folder(bundle, Path(settings.home) / "bundles")
