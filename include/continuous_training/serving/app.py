"""The HTTP side of one release: MLflow's `POST /invocations` and `GET /ping`, `GET /version`, the Open Inference Protocol.

Every answer carries the headers `ct-version`, `ct-fence` and `ct-request-id`, so that a caller knows who answered what. A
refusal is JSON: `error_code` and `message` like MLflow's, or below `/v2` the protocol's `error`. Nothing else is offered:
no pages, no cross-origin access, no tracebacks.

A request of a few rows is answered on the spot; what takes longer is done in threads, so that others need not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from continuous_training import __version__
from continuous_training.core.errors import DataInvalid
from continuous_training.deployers.base import Release
from continuous_training.deployers.golden import GOLDEN_REQUEST
from continuous_training.serving import arrow, scoring, tensors, what_if
from continuous_training.serving.age import Age
from continuous_training.serving.asked import TooManyRows
from continuous_training.serving.exchange import CLOSE, JSON, Answer, Bodies, Gone, Hosts, Refused, Request
from continuous_training.serving.meter import ROUTES, Board, Meter
from continuous_training.serving.reasons import explained
from continuous_training.serving.strict import Strict
from continuous_training.trainers.bundle import score_bounds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence

    from continuous_training.serving.asked import Asked, Why
    from continuous_training.serving.exchange import Receive
    from continuous_training.trainers.bundle import Bundle, Prediction

    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Do = Callable[[Request], Awaitable[Answer]]
    Solve = Callable[["Form", bytes, Request], Awaitable[Answer]]

T = TypeVar("T")

MAX_BODY = 16 * 2**20
"""Bytes the body of a request may have."""

_MAX_HELD = 16 * MAX_BODY
_FEW_ROWS = 32
_log = logging.getLogger(__name__)


class Answered(NamedTuple):
    """A request that gets predictions, as `record` is told of it."""

    id: str
    columns: dict[str, list[Any]]
    predictions: list[Prediction]
    version: str


class Form(NamedTuple):
    """A form in which rows come and predictions go."""

    read: Callable[[bytes, Sequence[str]], Asked]
    write: Callable[[Release, Asked, list[Prediction], Why | None], bytes]
    media_type: bytes = JSON
    small: int = 16 * 2**10
    """Bodies of so many bytes are read on the spot."""


MLFLOW = Form(scoring.read_request, scoring.write_answer)
TENSORS = Form(tensors.read_request, tensors.write_answer)
_INVOCATIONS = {JSON: MLFLOW, arrow.MEDIA_TYPE: Form(arrow.read_request, arrow.write_answer, arrow.MEDIA_TYPE, small=0)}
_HEALTH, _METADATA, _UNKNOWN = (ROUTES.index(name) for name in ("health", "metadata", "unknown"))


class Route(NamedTuple):
    """What is done with requests for one path."""

    method: str
    do: Do
    place: int
    """Where it is counted, in `ROUTES`."""

    any_host: bool = False


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
    record
        Told of each request that gets predictions, before they are sent. When it fails, or what it gives to be awaited
        does, they are not sent.
    meter
        Counts what is done; by default for nobody.
    age
        How old the model is and may be; by default it has no age.
    strict
        Whether requests with columns that are no features, or with categories that the model does not know, are refused.

    Attributes
    ----------
    ready
        Set it once the golden rows were answered as in training.
    retiring
        Set it before the server ends: it is not ready any more, and asks its clients to leave.
    """

    def __init__(
        self,
        release: Release,
        bundle: Bundle,
        hosts: Sequence[str],
        record: Callable[[Answered], Awaitable[None] | None] | None = None,
        *,
        meter: Meter | None = None,
        age: Age | None = None,
        strict: bool = False,
    ) -> None:
        self.ready = False
        self.retiring = False
        self._release = release
        self._bundle = bundle
        self._hosts = Hosts(hosts)
        self._record = record
        self._meter = meter or Meter(Board().block(), score_bounds(bundle.manifest, bundle.golden))
        age = age or Age()
        self._stale_from = age.stale_from
        self._refused_from = age.stale_from if age.past == "refuse" else inf
        self._columns = bundle.manifest.preparation.features.columns
        self._strict = Strict(bundle.manifest.preparation) if strict else None
        self._bodies = Bodies(MAX_BODY, _MAX_HELD)
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "predict")
        self._signature = ((b"ct-version", release.version.encode()), (b"ct-fence", str(release.fence).encode()))
        self._routes = self._all_routes()
        self._offered = ", ".join(f"{route.method} {path}" for path, route in self._routes.items())

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request and say who answered."""
        began = time.perf_counter()
        path: str = scope["path"]
        route = self._routes.get(path)
        request = Request(dict(scope["headers"]), receive)
        self._meter.begin()
        try:
            request.take_id()
            answer = await self._allowed(route, scope["method"], path, request.headers)(request)
        except Refused as error:
            answer = error.answer(path)
        except Gone:
            self._meter.leave()
            return
        except Exception:  # noqa: BLE001 - whatever a model does, the caller gets JSON and the log the traceback
            _log.exception("%s version %s failed on a request", self._release.model, self._release.version)
            why = "the request could not be answered; the server's log says why"
            answer = Refused(HTTPStatus.INTERNAL_SERVER_ERROR, why).answer(path)
        await self._send(send, answer, request.id)
        self._meter.end(route.place if route else _UNKNOWN, answer.status, time.perf_counter() - began)

    async def _send(self, send: Send, answer: Answer, request_id: str) -> None:
        headers = [
            (b"content-type", answer.media_type),
            (b"content-length", b"%d" % len(answer.body)),
            (b"ct-request-id", request_id.encode()),
            *self._signature,
            *answer.headers,
        ]
        if time.time() > self._stale_from:
            headers.append((b"ct-stale", b"true"))
        if self.retiring:  # the client's next request then reaches the successor, on a new connection
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _allowed(self, route: Route | None, method: str, path: str, headers: Mapping[bytes, bytes]) -> Do:
        if route is None or not route.any_host:
            self._hosts.check(headers.get(b"host", b""))
        if route is None:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is nothing here; use {self._offered}")
        if method != route.method and (method, route.method) != ("HEAD", "GET"):
            why = f"{path} takes no {method:.20}; use {self._offered}"
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, why, (b"allow", route.method.encode()))
        return route.do

    def _all_routes(self) -> dict[str, Route]:
        routes = {
            "/invocations": Route(
                "POST", partial(self._read, _INVOCATIONS, self._predict), ROUTES.index("invocations")
            ),
            "/ping": Route("GET", self._live, _HEALTH),
            "/version": Route("GET", self._version, _METADATA),
            "/v2": Route("GET", self._server, _METADATA),
            "/v2/health/live": Route("GET", self._live, _HEALTH, any_host=True),
            "/v2/health/ready": Route("GET", self._ready, _HEALTH, any_host=True),
        }
        model = f"/v2/models/{self._release.model}"
        for path in (model, f"{model}/versions/{self._release.version}"):
            routes[path] = Route("GET", self._model, _METADATA)
            routes[f"{path}/ready"] = Route("GET", self._model_ready, _HEALTH)
            infer, ask = (partial(self._read, {JSON: TENSORS}, do) for do in (self._predict, self._what_if))
            routes[f"{path}/infer"] = Route("POST", infer, ROUTES.index("infer"))
            routes[f"{path}/what-if"] = Route("POST", ask, ROUTES.index("what_if"))
        return routes

    async def _live(self, _: Request) -> Answer:
        return Answer(b'{"live":true}')

    async def _ready(self, _: Request) -> Answer:
        ready = self._is_ready()
        return _json({"ready": ready}, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _model_ready(self, _: Request) -> Answer:
        ready = self._is_ready()
        told = {"name": self._release.model, "ready": ready}
        return _json(told, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    def _is_ready(self) -> bool:
        return self.ready and not self.retiring and time.time() <= self._refused_from

    async def _version(self, _: Request) -> Answer:
        return _json(self._release.model_dump(mode="json", include=set(Release.model_fields), exclude_none=True))

    async def _server(self, _: Request) -> Answer:
        return _json({"name": "continuous-training", "version": __version__, "extensions": []})

    async def _model(self, _: Request) -> Answer:
        return _json(tensors.metadata(self._release, self._bundle.manifest))

    async def _read(self, forms: Mapping[bytes, Form], do: Solve, request: Request) -> Answer:
        """Do with the body of a request what is done with those of its form, if the model may still answer."""
        if time.time() > self._refused_from:
            why = (
                f"{self._release.model} is past its maximum age and does not answer any more; train and deploy it again"
            )
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, why)
        form, headers = _form(forms, request.headers), request.headers
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not read; send it as it is")
        body = await self._bodies.read(request.receive)
        try:
            return await do(form, body, request)
        except TooManyRows as error:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from error
        except DataInvalid as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from error
        finally:
            self._bodies.forget(len(body))

    async def _predict(self, form: Form, body: bytes, request: Request) -> Answer:
        # Golden rows are rows of the training, rare categories among them.
        solve = self._solve if self._strict is None or request.id == GOLDEN_REQUEST else self._solve_strictly
        if len(body) <= form.small:
            asked = form.read(body, self._columns)
            few = asked.rows <= _FEW_ROWS and not (asked.contributions or asked.reasons)
            solved = solve(form, asked) if few else await self._in_thread(solve, form, asked)
        else:
            asked = await self._in_thread(form.read, body, self._columns)
            solved = await self._in_thread(solve, form, asked)
        predictions, answer = solved
        if asked.id is not None:
            request.call(asked.id)
        if request.id == GOLDEN_REQUEST:
            return Answer(answer, media_type=form.media_type)
        if self._record is not None:
            answered = Answered(request.id, asked.columns(self._columns), predictions, self._release.version)
            waiting = self._record(answered)
            if waiting is not None:
                await waiting
        self._meter.predicted(predictions)
        return Answer(answer, media_type=form.media_type)

    def _solve_strictly(self, form: Form, asked: Asked) -> tuple[list[Prediction], bytes]:
        assert self._strict is not None
        self._strict.check(asked)
        return self._solve(form, asked)

    def _solve(self, form: Form, asked: Asked) -> tuple[list[Prediction], bytes]:
        if asked.row is not None:
            predictions = [self._bundle.answer_row(asked.row)]
        else:
            predictions = self._bundle.answer(asked.given) if asked.rows else []
        why = explained(self._bundle, asked, predictions) if asked.contributions or asked.reasons else None
        return predictions, form.write(self._release, asked, predictions, why)

    async def _what_if(self, _: Form, body: bytes, __: Request) -> Answer:
        return Answer(await self._in_thread(what_if.answer, self._release, self._bundle, self._strict, body))

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))


def _form(forms: Mapping[bytes, Form], headers: Mapping[bytes, bytes]) -> Form:
    given = headers.get(b"content-type", b"")
    form = forms.get(given) or forms.get(given.partition(b";")[0].strip().lower())
    if form is None:
        shown = given[:100].decode("ascii", "replace") or "not given"
        allowed = " or ".join(media_type.decode() for media_type in forms)
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the content type is {shown!r}; send {allowed}")
    return form


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(msgspec.json.encode(value), int(status))
