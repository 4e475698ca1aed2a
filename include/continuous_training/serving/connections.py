"""Connections that end: no client holds one by sending slowly, by not reading, or by opening many."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import Field
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from continuous_training.core.frozen import Frozen

if TYPE_CHECKING:
    import asyncio

MOST_AHEAD = 64
"""Requests that one connection may send before the first of them is answered."""

MOST_HEAD = 64 * 2**10
"""Bytes of the lines before a request's body, and of those after it, beyond what one read brings."""


class Limits(Frozen):
    """What clients may take of a server."""

    connections: int = Field(1000, ge=1, le=100_000, description="Connections at once; others are told to come again.")
    seconds: float = Field(
        10.0, gt=0, le=3600, description="Time a request may take to arrive, and an answer to leave."
    )


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol within limits."""

    def __init__(self, limits: Limits, **told: Any) -> None:
        super().__init__(**told)
        self._limits = limits
        self._since: float | None = None
        """When a request began to arrive that has not arrived yet."""
        self._stuck: float | None = None
        """When it was first seen that an answer does not leave."""
        self._heading = False
        self._lines = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let one more in, or tell it to come again."""
        super().connection_made(transport)
        self._since = self.loop.time()
        if len(self.connections) > self._limits.connections:
            self._close(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are open", b"retry-after: 1\r\n")

    def data_received(self, data: bytes) -> None:
        """Read on, unless the lines before a body never end: the parser keeps them however many they are."""
        if self._heading:
            self._lines += len(data)
        super().data_received(data)
        if self._heading and self._lines > MOST_HEAD:
            self._heading = False
            why = f"the lines before the body are longer than {MOST_HEAD:,} bytes; send shorter headers"
            self._close(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, why)

    def on_message_begin(self) -> None:
        """Note when a request begins to arrive."""
        super().on_message_begin()
        self._since = self.loop.time()
        self._heading, self._lines = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a line after a body in chunks, which nobody reads and which must end too."""
        super().on_header(name, value)
        if not self._heading:
            self._lines += len(name) + len(value)
            if self._lines > MOST_HEAD:
                self.transport.abort()

    def on_headers_complete(self) -> None:
        """Let a client send ahead, but not without end: requests that wait for their turn are held."""
        self._heading, self._lines = False, 0
        super().on_headers_complete()
        if len(self.pipeline) > MOST_AHEAD:
            self.transport.abort()

    def on_message_complete(self) -> None:
        """Note that it has arrived."""
        super().on_message_complete()
        self._since = None

    def expire(self, now: float) -> None:
        """End the connection when a request does not arrive, or an answer does not leave."""
        stuck = self.transport.is_closing() or self.flow.write_paused
        self._stuck = self._stuck or now if stuck else None
        if self._stuck is not None:
            if now - self._stuck > self._limits.seconds:
                self.transport.abort()
        elif self._since is not None and not self.flow.read_paused and now - self._since > self._limits.seconds:
            self._close(HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive within {self._limits.seconds:g} s")

    def _close(self, status: HTTPStatus, message: str, header: bytes = b"") -> None:
        """Say why where an answer can still be read, and close."""
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            body = json.dumps({"error_code": status.name, "error": message, "message": message}).encode()
            head = (
                b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\n%sconnection: close\r\ncontent-length: %d\r\n\r\n"
            )
            self.transport.write(head % (status, status.phrase.encode(), header, len(body)) + body)
        self.transport.close()
