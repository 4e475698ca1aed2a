"""Give requests to two versions of a model as the rollout's plan says, in the champion's own process.

The champion's share of the requests costs no hop. What the plan gives to the challenger is sent on to its server; when that fails, is
late, or refuses what the champion does not refuse, the champion answers, so a client never sees a challenger's
failure. In a shadow the champion answers everything, and copies go to the challenger once the answer is out: the challenger
can neither slow nor fail it, and when it is behind, copies are dropped and counted.

The plan is read again when its file changes. A plan that cannot be read, is for an earlier champion or goes back to an earlier step
is not followed; the one before stays. A plan whose lease nobody renews is left. Without a plan every request goes straight to the
champion.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from continuous_training.core.arms import predictions
from continuous_training.core.errors import ContinuousTrainingError
from continuous_training.core.prediction_log import SHADOW
from continuous_training.serving.asked import make_id
from continuous_training.serving.exchange import ALLOWED_ID, Hosts, Refused
from continuous_training.serving.predictions import REASON, Reason
from continuous_training.serving.routed import Room, Routed, first_value, read_body
from continuous_training.serving.tally import Tally
from continuous_training.serving.upstream import Unusable, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence

    from continuous_training.core.rollout import RolloutPlan
    from continuous_training.deployers.handover import ServingFolder
    from continuous_training.serving.app import ModelApp, Send
    from continuous_training.serving.exchange import Receive
    from continuous_training.serving.upstream import Reply

LOOK_SECONDS = 0.1
"""How often it is looked whether the plan has changed."""

MOST_MIRRORED = 32
"""Copies on their way at once; more are dropped."""

_SHARE, _ENTITY, _SECONDS, _ID = b"ct-share", b"ct-entity", b"ct-seconds", b"ct-request-id"
_HANDED_ON = (b"content-type", b"ct-version", b"ct-fence", _ID)
_GIVEN = re.compile(rb"(shadow|canary|ab) (0\.\d{1,20}|1)")
_SECONDS_TOLD = re.compile(rb"\d{1,6}\.\d{1,9}")
_SERVER_ERROR, _CLIENT_ERROR = 500, 400
_REFUSED, _OTHER_VERSION = "refused", "version"
_INFER = re.compile(r"/v2/models/[^/]+/infer")  # a path that names a version is the champion's
_log = logging.getLogger(__name__)


class Following(NamedTuple):
    """A plan in force and what belongs to it."""

    plan: RolloutPlan
    tally: Tally
    upstream: Upstream


class Router:
    """An ASGI application in front of the champion's.

    Parameters
    ----------
    app
        What answers with the champion.
    fence
        The champion's fence.
    hosts
        Names a request may call the server by, as in `ModelApp`: others must not reach the challenger either.
    folder
        Where the plan is read and the counts are written.
    clock
        Seconds that pass.
    """

    def __init__(
        self,
        app: ModelApp,
        fence: int,
        hosts: Sequence[str],
        folder: ServingFolder,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._hosts = Hosts(hosts)
        self._fence = fence
        self._folder = folder
        self._clock = clock
        self._following: Following | None = None
        self._newest: Any = (fence,)
        self._stamp: tuple[int, int, int] | None = None
        self._look_at = 0.0
        self._copies: set[asyncio.Task[None]] = set()
        self._room = Room()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, by the version that the plan says."""
        if self._clock() >= self._look_at:
            self._look()
        following = self._following  # it may end while the body comes
        if following is None or not self._concerns(scope):
            await self._pass_on(scope, receive, send)
            return
        body, receive = await read_body(receive, self._room)
        if body is None:  # too large to be kept for a second version
            await self._app(scope, receive, send)
            return
        try:
            await self._route(following, Routed(scope, receive, send, body, dict(scope["headers"])))
        finally:
            self._room.give_back(len(body))

    def report(self) -> dict[str, Any]:
        """Return the plan in force and what all server processes have counted under it, as `GET /rollout` shows them."""
        self._look()
        if self._following is None:
            return {"plan": None, "counts": None}
        plan, tally, _ = self._following
        tally.flush()
        return {
            "plan": plan.model_dump(mode="json"),
            "counts": self._folder.read_counts(plan).model_dump(mode="json"),
        }

    async def close(self) -> None:
        """Wait for copies that are on their way, write down the counts and close connections."""
        await asyncio.gather(*self._copies, return_exceptions=True)
        self._leave()

    # -- the plan

    def _look(self) -> None:
        self._look_at = self._clock() + LOOK_SECONDS
        try:
            state = self._folder.plan.stat()
            stamp = (state.st_mtime_ns, state.st_ino, state.st_size)
        except OSError:
            stamp = (0, 0, 0)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._follow(self._folder.read_plan())
            except ContinuousTrainingError as error:
                _log.error("the rollout's plan is not followed: %s", error)
        self._leave_without_lease(stamp[0] / 1e9)

    def _follow(self, plan: RolloutPlan | None) -> None:
        if plan is None:
            self._leave()
            return
        if plan.fence != self._fence or plan.order < self._newest:
            _log.error(
                "plan %s is not followed: the champion here has fence %s, and the newest plan was %s; write one for this champion",
                plan.name,
                self._fence,
                "-".join(map(str, self._newest)),
            )
            return
        if self._following and self._following.plan == plan:
            return
        self._leave()
        self._newest = plan.order
        self._following = Following(plan, Tally(plan, self._folder.counts), Upstream(plan.url))
        _log.info("%s: %s %g of version %s beside %s", plan.name, plan.mode, plan.share, plan.challenger, plan.champion)

    def _leave_without_lease(self, renewed: float) -> None:
        if self._following is None or self._following.plan.lease is None:
            return
        if time.time() - renewed > self._following.plan.lease:
            _log.error(
                "plan %s is not followed any more: nobody has renewed it for %g s, so the champion answers everything until somebody does",
                self._following.plan.name,
                self._following.plan.lease,
            )
            self._leave()

    def _leave(self) -> None:
        if self._following:
            self._following.tally.flush()
            self._following.upstream.close()
        self._following = None

    # -- one request

    def _concerns(self, scope: MutableMapping[str, Any]) -> bool:
        """Tell whether a request asks for predictions and may; what it may not the champion refuses."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return False
        if scope["path"] != "/invocations" and not _INFER.fullmatch(scope["path"]):
            return False
        try:
            self._hosts.check(next((value for name, value in scope["headers"] if name == b"host"), b""))
        except Refused:
            return False
        return True

    async def _pass_on(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Let the champion answer; a request from another router says why it comes, and is told how long it took."""
        given = next((value for name, value in scope.get("headers", ()) if name == _SHARE), b"")
        if not _GIVEN.fullmatch(given):
            await self._app(scope, receive, send)
            return
        entity = next((value for name, value in scope["headers"] if name == _ENTITY), b"")
        mode, _, share = given.decode().partition(" ")
        began = self._clock()

        async def send_timed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_SECONDS, b"%.6f" % (self._clock() - began))]
            await send(message)

        token = REASON.set(Reason(mode, float(share), entity.decode("latin-1")))
        try:
            await self._app(scope, receive, send_timed)
        finally:
            REASON.reset(token)

    async def _route(self, following: Following, routed: Routed) -> None:
        plan = following.plan
        parsed = routed.parsed if plan.only or routed.needs_reading(plan.entity) else None
        entity = routed.headers.get(_ENTITY, b"").decode("latin-1") or first_value(parsed, plan.entity) or ""
        given = routed.headers.get(_ID, b"")
        if any(first_value(parsed, column) not in values for column, values in plan.only.items()) or (
            given and not ALLOWED_ID.fullmatch(given)
        ):
            await self._app(routed.scope, routed.receive, routed.send)
            return
        if not given:
            given = routed.own_id(parsed) or make_id().encode()
            routed.add_header(_ID, given)
        taken = plan.takes(entity or given.decode())
        if plan.mode == SHADOW:
            await self._shadow(following, routed, entity, mirrored=taken)
        elif not taken or not await self._challenge(following, routed, entity):
            await self._champion(following, routed, entity, counted=not taken)
        following.tally.changed()

    async def _champion(self, following: Following, routed: Routed, entity: str, *, counted: bool) -> None:
        reason = Reason("champion", 1 - following.plan.share, entity) if counted else Reason("fallback", 0.0, entity)
        status, seconds, body = await self._answer(routed, reason)
        if not counted:
            if status < _CLIENT_ERROR or routed.cause != _REFUSED:
                following.tally.challenger.failed(routed.cause)
            return
        _count(following.tally.champion, status, seconds, body)

    async def _answer(self, routed: Routed, reason: Reason) -> tuple[int, float, bytes]:
        """Let the champion answer, and return its status, how long it took and what it said."""
        told: dict[str, Any] = {"status": _SERVER_ERROR}
        parts: list[bytes] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
                said = b"%b %g" % (reason.text.encode(), reason.share)
                message["headers"] = [*message["headers"], (_SHARE, said)]
                told["seconds"] = self._clock() - began
            else:
                parts.append(message.get("body", b""))
            await routed.send(message)

        token = REASON.set(reason)
        began = self._clock()
        try:
            await self._app(routed.scope, routed.receive, send)
        finally:
            REASON.reset(token)
        return told["status"], told.get("seconds", 0.0), b"".join(parts)

    async def _challenge(self, following: Following, routed: Routed, entity: str) -> bool:
        """Answer with the challenger, and tell whether it could."""
        plan = following.plan
        try:
            reply, seconds = await self._ask(following, routed, entity)
        except Unusable as error:
            routed.cause = str(error)
            return False
        following.tally.challenger.answered(seconds, predictions(reply.body))
        headers = [(name, reply.headers[name]) for name in _HANDED_ON if name in reply.headers]
        headers += [(b"content-length", b"%d" % len(reply.body)), (_SHARE, _share(plan))]
        if self._app.retiring:
            headers.append((b"connection", b"close"))
        await routed.send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await routed.send({"type": "http.response.body", "body": reply.body})
        return True

    async def _ask(self, following: Following, routed: Routed, entity: str) -> tuple[Reply, float]:
        """Return the challenger's answer and the seconds it took by its own clock, as the champion's are by ours."""
        plan = following.plan
        headers = {name: routed.headers[name] for name in (b"content-type", _ID) if name in routed.headers}
        headers[_SHARE] = _share(plan)
        if entity:
            headers[_ENTITY] = entity.encode("latin-1", "replace").translate(None, b"\r\n\0")
        began = self._clock()
        reply = await following.upstream.ask(routed.path, headers, routed.body, plan.timeout)
        if reply.status >= _SERVER_ERROR:
            raise Unusable(str(reply.status))
        if reply.status >= _CLIENT_ERROR:
            raise Unusable(_REFUSED)
        if reply.headers.get(b"ct-version") != plan.challenger.encode():
            raise Unusable(_OTHER_VERSION)
        told = reply.headers.get(_SECONDS, b"")
        return reply, float(told) if _SECONDS_TOLD.fullmatch(told) else self._clock() - began

    async def _shadow(self, following: Following, routed: Routed, entity: str, *, mirrored: bool) -> None:
        answer = await self._answer(routed, Reason("champion", 1.0, entity))
        if not mirrored:
            return
        if len(self._copies) >= MOST_MIRRORED:
            following.tally.dropped += 1
            return
        copy = asyncio.create_task(self._mirror(following, routed, entity, answer))
        self._copies.add(copy)
        copy.add_done_callback(self._copies.discard)

    async def _mirror(
        self, following: Following, routed: Routed, entity: str, answer: tuple[int, float, bytes]
    ) -> None:
        """Ask the challenger what the champion has answered, and compare."""
        status, seconds, body = answer
        tally = following.tally
        try:
            reply, took = await self._ask(following, routed, entity)
        except Unusable as error:
            if str(error) == _REFUSED and status >= _CLIENT_ERROR:
                return  # both refuse: the client's mistake
            tally.challenger.failed(str(error))
        else:
            theirs = predictions(reply.body)
            tally.challenger.answered(took, theirs)
            if status < _CLIENT_ERROR:
                tally.compared.add(predictions(body), theirs)
        _count(tally.champion, status, seconds, body)
        tally.changed()


def _count(arm: Any, status: int, seconds: float, body: bytes) -> None:
    """Count a champion's answer; what it refuses is the client's mistake and counts for nobody."""
    if status >= _SERVER_ERROR:
        arm.failed(str(status))
    elif status < _CLIENT_ERROR:
        arm.answered(seconds, predictions(body))


def _share(plan: RolloutPlan) -> bytes:
    return b"%b %b" % (plan.mode.encode(), f"{plan.share:.12f}".rstrip("0").rstrip(".").encode())
