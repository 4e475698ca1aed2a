"""The HTTP side of one release: `POST /invocations`, `GET /ping`, `GET /version`, `GET /v2/health/live` and `ready`.

Every answer carries the headers `ct-version` and `ct-fence`, so that a caller knows who answered. A refusal is JSON with
`error_code` and `message`, like MLflow's. Nothing else is offered: no pages, no cross-origin access, no tracebacks.
"""

from __future__ import annotations

import json
import logging
import os
from http import HTTPStatus
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from continuous_training.core.errors import DataInvalid
from continuous_training.serving.scoring import TooManyRows, read_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send

    from continuous_training.deployers.base import Release
    from continuous_training.trainers.bundle import Bundle

MAX_BODY = 16 * 2**20
"""Bytes the body of a request may have."""

_log = logging.getLogger(__name__)


class ModelApp:
    """An ASGI application that answers with one release.

    Parameters
    ----------
    release
        Which release it is.
    bundle
        Its model, loaded.
    hosts
        Names a request may call this server by. A server on loopback answers to loopback's own names only: else any
        web page could reach it under a name of its own that it makes resolve to loopback. The health of a server is
        told under any name, since Kubernetes asks by the address of the pod.

    Attributes
    ----------
    ready
        Set it once the golden rows were answered as in training.
    retiring
        Set it before the server ends: it is not ready any more, and asks its clients to leave.
    """

    def __init__(self, release: Release, bundle: Bundle, hosts: Sequence[str]) -> None:
        self.ready = False
        self.retiring = False
        self._release = release
        self._bundle = bundle
        self._threads: anyio.CapacityLimiter | None = None
        by_name = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)]
        self._routes = Starlette(
            routes=[
                Route("/invocations", self._invocations, methods=["POST"], middleware=by_name),
                Route("/ping", self._live, middleware=by_name),
                Route("/version", self._version, middleware=by_name),
                Route("/v2/health/live", self._live),
                Route("/v2/health/ready", self._ready),
            ],
            exception_handlers={HTTPException: _refuse_route},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and say who answered."""

        async def send_signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["ct-version"] = self._release.version
                headers["ct-fence"] = str(self._release.fence)
                if self.retiring:  # the client's next request then reaches the successor, on a new connection
                    headers["connection"] = "close"
            await send(message)

        await self._routes(scope, receive, send_signed)

    async def _live(self, _: Request) -> Response:
        return Response(status_code=HTTPStatus.OK)

    async def _ready(self, _: Request) -> Response:
        ready = self.ready and not self.retiring
        return Response(status_code=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _version(self, _: Request) -> Response:
        return JSONResponse(self._release.model_dump(include={"model", "version", "fence", "bundle"}))

    async def _invocations(self, request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            return _refuse(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"the content type is {media_type or 'not given'!r}; send application/json",
            )
        body = await _read_body(request)
        if body is None:
            return _refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body is larger than {MAX_BODY:,} bytes; send fewer rows at once",
            )
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(os.cpu_count() or 1)
        return await anyio.to_thread.run_sync(self._answer, body, limiter=self._threads)

    def _answer(self, body: bytes) -> Response:
        try:
            columns = read_request(body, self._bundle.manifest.preparation.features.columns)
            predictions = self._bundle.answer(columns) if any(columns.values()) else []
            answer = json.dumps({"predictions": predictions}, allow_nan=False)
        except TooManyRows as error:
            return _refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        except DataInvalid as error:
            return _refuse(HTTPStatus.BAD_REQUEST, str(error))
        except Exception:  # noqa: BLE001 - whatever a model does, the caller gets JSON and the log the traceback
            _log.exception("%s version %s failed on a request", self._release.model, self._release.version)
            return _refuse(
                HTTPStatus.INTERNAL_SERVER_ERROR, "the model failed on these rows; the server's log says why"
            )
        return Response(answer, media_type="application/json")


async def _read_body(request: Request) -> bytes | None:
    """Return the body, or `None` when it is too large, without ever holding more than allowed."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _refuse(status: HTTPStatus, message: str) -> Response:
    return JSONResponse({"error_code": status.name, "message": message}, status)


def _refuse_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    allowed = "use POST /invocations, GET /ping, /version, /v2/health/live or /v2/health/ready"
    return JSONResponse(
        {"error_code": HTTPStatus(error.status_code).name, "message": allowed}, error.status_code, error.headers
    )
