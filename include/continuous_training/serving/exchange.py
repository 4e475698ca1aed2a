"""One request and its answer, as the ASGI application sees them."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from continuous_training.serving.asked import make_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Header = tuple[bytes, bytes]

JSON = b"application/json"
CLOSE = (b"connection", b"close")
ALLOWED_ID = re.compile(rb"[\x21-\x7e]{1,100}")
"""What a header can carry back as a request's id."""


class Request:
    """What came, and what it is called: by the caller, or by us."""

    __slots__ = ("headers", "id", "receive")

    def __init__(self, headers: dict[bytes, bytes], receive: Receive) -> None:
        self.headers = headers
        self.receive = receive
        self.id = make_id()

    def take_id(self) -> None:
        """Take over the id in the header, or refuse one that no header can carry back."""
        given = self.headers.get(b"ct-request-id")
        if given is not None:
            if not ALLOWED_ID.fullmatch(given):
                raise Refused(HTTPStatus.BAD_REQUEST, "ct-request-id must be 1 to 100 visible characters of ASCII")
            self.id = given.decode()

    def call(self, name: str) -> None:
        """Take over the id in the request's body where no header named one and a header can carry it back."""
        if b"ct-request-id" not in self.headers and ALLOWED_ID.fullmatch(name.encode()):
            self.id = name


class Answer(NamedTuple):
    """What is sent back."""

    body: bytes
    status: int = 200
    media_type: bytes = JSON
    headers: tuple[Header, ...] = ()


class Refused(Exception):
    """A request that is not answered as it was meant."""

    def __init__(self, status: HTTPStatus, message: str, *headers: Header) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers

    def answer(self, path: str) -> Answer:
        """Return what is sent: below `/v2` the protocol's `error`, else `error_code` and `message`, like MLflow's."""
        said = (
            {"error": str(self)} if path.startswith("/v2") else {"error_code": self.status.name, "message": str(self)}
        )
        return Answer(json.dumps(said).encode(), int(self.status), headers=self.headers)


class Gone(Exception):
    """The client has left before its request was read."""


class Hosts:
    """The names that a request may call a server by; `*` allows every one, `*.example` those that end so."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = {name.lower().encode() for name in names}
        self._endings = tuple(name[1:] for name in self._names if name.startswith(b"*."))

    def check(self, host: bytes) -> None:
        """Refuse a request that calls the server by another name."""
        name = host.partition(b":")[0].lower()
        if name in self._names or b"*" in self._names or name.endswith(self._endings):
            return
        shown = host[:100].decode("ascii", "replace")
        raise Refused(HTTPStatus.BAD_REQUEST, f"this server is not called {shown!r}; allow the name with --allow-host")


class Bodies:
    """Reads bodies and never holds more of them than allowed.

    Parameters
    ----------
    largest
        Bytes of one body.
    held
        Bytes of all bodies that are held at once.
    """

    def __init__(self, largest: int, held: int) -> None:
        self._largest = largest
        self._most_held = held
        self._held = 0

    async def read(self, receive: Receive) -> bytes:
        """Return the whole body; `forget` its length afterwards."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        body: bytes = message["body"]
        if message["more_body"]:
            return await self._read_on(body, receive)
        self._take(len(body), len(body))
        return body

    def forget(self, size: int) -> None:
        """Make room for others."""
        self._held -= size

    async def _read_on(self, first: bytes, receive: Receive) -> bytes:
        body = bytearray()
        message: MutableMapping[str, Any] = {"body": first, "more_body": True}
        try:
            while True:
                self._take(len(message["body"]), len(body) + len(message["body"]))
                body += message["body"]
                if not message["more_body"]:
                    return bytes(body)
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
        except BaseException:
            self.forget(len(body))
            raise

    def _take(self, more: int, size: int) -> None:
        if size > self._largest:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body is larger than {self._largest:,} bytes; send fewer rows at once",
            )
        if self._held + more > self._most_held:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too many large requests are being read; try again in a second",
                (b"retry-after", b"1"),
            )
        self._held += more
