"""A request that may go to one of two versions: kept whole, and read only as far as the choice needs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from continuous_training.serving.exchange import ALLOWED_ID

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from continuous_training.serving.app import Send
    from continuous_training.serving.exchange import Receive

MOST_KEPT = 2**20
"""Bytes of a body that are kept for a second version; larger requests are the champion's."""

MOST_HELD = 64 * 2**20
"""Bytes of all bodies that one process keeps so at once; with more, requests are the champion's."""


class Room:
    """Bytes that may be kept, which clients who send slowly cannot use up for the server: only for the rollout.

    Attributes
    ----------
    free
        How many are left.
    """

    def __init__(self, free: int = MOST_HELD) -> None:
        self.free = free

    def take(self, size: int) -> bool:
        """Take some where so many are left, and tell whether they were."""
        if size > self.free:
            return False
        self.free -= size
        return True

    def give_back(self, size: int) -> None:
        """Make room for others."""
        self.free += size


class Routed:
    """One request with its whole body.

    Parameters
    ----------
    scope, receive, send
        As ASGI hands them; `receive` gives the body again, once for each reader.
    body
        The body.
    headers
        The headers by name.

    Attributes
    ----------
    cause
        Why the challenger could not answer it.
    """

    def __init__(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send, body: bytes, headers: dict[bytes, bytes]
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.body = body
        self.headers = headers
        self.cause = ""

    @property
    def path(self) -> bytes:
        """Return the path as it was sent."""
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        return raw

    @property
    def parsed(self) -> Any:
        """Return the body as JSON; `None` where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def needs_reading(self, entity: str | None) -> bool:
        """Tell whether the body must be read to know who asks or what the request is called."""
        own_id = self.scope["path"] != "/invocations" and b"ct-request-id" not in self.headers
        return own_id or (entity is not None and b"ct-entity" not in self.headers)

    def own_id(self, parsed: Any) -> bytes | None:
        """Return the id that the body gives the request, where a header can carry it."""
        found = parsed.get("id") if isinstance(parsed, dict) else None
        return found.encode() if isinstance(found, str) and ALLOWED_ID.fullmatch(found.encode()) else None

    def add_header(self, name: bytes, value: bytes) -> None:
        """Give the request a header more, for both versions."""
        self.headers[name] = value
        self.scope = {**self.scope, "headers": [*self.scope["headers"], (name, value)]}


async def read_body(receive: Receive, room: Room) -> tuple[bytes | None, Receive]:
    """Return the whole body, or `None` where there is no room for it or the client has left, and a `receive` that begins anew.

    The room of a body that was returned is to be given back; of others nothing is taken.
    """
    read: list[MutableMapping[str, Any]] = []
    size, whole = 0, False
    try:
        while not whole:
            message = await receive()
            read.append(message)
            more = len(message.get("body", b""))
            if message["type"] != "http.request" or size + more > MOST_KEPT or not room.take(more):
                break
            size += more
            whole = not message.get("more_body", False)
    finally:
        if not whole:
            room.give_back(size)
    again = iter(read)

    async def receive_again() -> MutableMapping[str, Any]:
        kept = next(again, None)
        return await receive() if kept is None else kept

    return b"".join(message.get("body", b"") for message in read) if whole else None, receive_again


def first_value(request: Any, column: str | None) -> str | None:
    """Return a column's value in the first row of a request, as text; `None` where it has none.

    The request is in one of MLflow's forms or the Open Inference Protocol's. Rows without names have no columns to look for.

    >>> first_value({"dataframe_records": [{"who": 7}]}, "who"), first_value({"inputs": [{"name": "who", "data": ["x"]}]}, "who")
    ('7', 'x')

    A whole number is the same entity however a client writes it.

    >>> first_value({"instances": [{"who": 7.0}]}, "who")
    '7'
    """
    if column is None or not isinstance(request, dict):
        return None
    try:
        value = _first_value(request, column)
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int | float) else None


def _first_value(request: dict[str, Any], column: str) -> Any:
    if "dataframe_split" in request:
        split = request["dataframe_split"]
        return split["data"][0][split["columns"].index(column)]
    if "dataframe_records" in request:
        return request["dataframe_records"][0][column]
    if "instances" in request:
        return request["instances"][0][column]
    inputs = request["inputs"]
    if isinstance(inputs, dict):
        return inputs[column][0]
    if {"name", "data"} <= inputs[0].keys():  # a row may have a column `name` too
        return {tensor["name"]: tensor["data"] for tensor in inputs}[column][0]
    return inputs[0][column]
