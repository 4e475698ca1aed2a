"""Ask another model server over connections that are kept: HTTP/1.1, as much of it as our own servers speak.

A general client costs a request more processor time than a model of one row. Here a request is one write and its
answer is found in what arrives; an answer must name its length.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_AT_ONCE = 64
"""Requests that wait for one server at most; with more it has too much to do."""

MOST_BYTES = 64 * 2**20
_MOST_HEAD = 64 * 2**10
_LATE, _BUSY, _GONE, _STRANGE = "timeout", "overloaded", "connection", "protocol"


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class Unusable(Exception):
    """The server gave no answer that can be used; the text is one word that says why."""


class Upstream:
    """One server.

    Parameters
    ----------
    url
        Where it answers, `http://host:port`.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or 80
        self._netloc = parts.netloc.encode()
        self._idle: list[_Connection] = []
        self._asked = 0
        self._closed = False

    async def ask(self, path: bytes, headers: Mapping[bytes, bytes], body: bytes, seconds: float) -> Reply:
        """Send `POST path` and return the answer, which must come within `seconds`.

        Raises
        ------
        Unusable
            `overloaded`: too many requests wait already; `timeout`: none came in time; `connection`: none came; `protocol`: what
            came is no answer we understand.
        """
        if self._asked >= MOST_AT_ONCE:
            raise Unusable(_BUSY)
        self._asked += 1
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(self._request(path, headers, body))
        except TimeoutError:
            raise Unusable(_LATE) from None
        except OSError as error:
            raise Unusable(_GONE) from error
        finally:
            self._asked -= 1

    def close(self) -> None:
        """Close the connections that are kept, and keep none of those in use: their answers still come."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _request(self, path: bytes, headers: Mapping[bytes, bytes], body: bytes) -> bytes:
        told = {b"host": self._netloc, b"content-length": b"%d" % len(body), **headers}
        lines = b"".join(b"%b: %b\r\n" % each for each in told.items())
        return b"POST %b HTTP/1.1\r\n%b\r\n%b" % (path, lines, body)

    async def _exchange(self, request: bytes) -> Reply:
        while self._idle:
            kept = self._idle.pop()
            try:
                return await self._on(kept, request)
            except ConnectionError:  # closed by the server while nobody looked: it has not read the request
                if kept.heard:
                    raise
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self._host, self._port)
        return await self._on(connection, request)

    async def _on(self, connection: _Connection, request: bytes) -> Reply:
        try:
            reply = await connection.exchange(request)
        except BaseException:
            connection.close()
            raise
        if self._closed or reply.headers.get(b"connection", b"").lower() == b"close":
            connection.close()
        else:
            self._idle.append(connection)
        return reply


class _Connection(asyncio.Protocol):
    """One connection, on which one request at a time is answered."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._buffer = bytearray()
        self._head: tuple[int, dict[bytes, bytes], int] | None = None
        self._lost = False

    @property
    def heard(self) -> bool:
        """Tell whether a part of the answer has arrived."""
        return bool(self._buffer)

    async def exchange(self, request: bytes) -> Reply:
        """Send a request and return its answer."""
        if self._lost or self._transport is None or self._transport.is_closing():
            raise ConnectionResetError
        self._head = None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """Close it now; an answer that is still to come is thrown away."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's classes

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._fail(exc if isinstance(exc, OSError) else ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        if self._waiting is None or self._waiting.done():
            self.close()  # nobody asked: what comes now must not be taken for the next answer
            return
        self._buffer += data
        try:
            self._take()
        except (ValueError, LookupError):
            self._fail(Unusable(_STRANGE))
            self.close()

    def _take(self) -> None:
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _MOST_HEAD:
                    raise ValueError
                return
            self._head = _head(bytes(self._buffer[:end]), end + 4)
        status, headers, until = self._head
        if len(self._buffer) >= until and self._waiting is not None and not self._waiting.done():
            start = until - int(headers[b"content-length"])
            self._waiting.set_result(Reply(status, headers, bytes(self._buffer[start:until])))
            if len(self._buffer) > until:
                self.close()
            self._buffer.clear()

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


def _head(head: bytes, begins: int) -> tuple[int, dict[bytes, bytes], int]:
    """Return the status, the headers and where the body ends."""
    first, *lines = head.split(b"\r\n")
    version, status, *_ = first.split(b" ", 2)
    if version != b"HTTP/1.1":
        raise ValueError
    headers = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    length = int(headers[b"content-length"])
    if not 0 <= length <= MOST_BYTES or b"transfer-encoding" in headers:
        raise ValueError
    return int(status), headers, begins + length
