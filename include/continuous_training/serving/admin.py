"""The admin port of a server: `GET /metrics` in Prometheus' text format, apart from the port that clients use."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import uvicorn

from continuous_training.core.errors import ContinuousTrainingError
from continuous_training.serving.meter import CLASSES, REFUSALS, ROUTES, SECONDS, histogram
from continuous_training.serving.rollout_metrics import rollout_metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence

    from prometheus_client.core import Metric

    from continuous_training.deployers.base import Release
    from continuous_training.serving.age import Age
    from continuous_training.serving.meter import Board

    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)


class Metrics:
    """What a server has counted, as a collector of Prometheus' client.

    Parameters
    ----------
    release
        What the server answers with.
    board
        What its workers counted.
    bounds
        Upper bounds of the histogram of predictions.
    age
        How old the model is, and when it is too old.
    rollout
        Gives what the router reports; none where no rollout can be.
    """

    def __init__(
        self,
        release: Release,
        board: Board,
        bounds: Sequence[float],
        age: Age,
        rollout: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self.rollout = rollout
        self._release = release
        self._board = board
        self._bounds = bounds
        self._age = age
        self._names = ["model", "version"]
        self._values = [release.model, release.version]

    def collect(self) -> Iterator[Metric]:
        """Give each metric with its numbers of now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield from self._requests()
        refused = CounterMetricFamily(
            "ct_server_refusals", "Requests refused, by reason.", labels=[*self._names, "reason"]
        )
        for status, count in zip(REFUSALS, self._board.total("refusals"), strict=True):
            refused.add_metric([*self._values, HTTPStatus(status).name.lower()], count)
        yield refused
        rows = CounterMetricFamily("ct_server_rows", "Rows predicted.", labels=self._names)
        rows.add_metric(self._values, self._board.total("rows")[0])
        yield rows
        yield self._histogram()
        for name, help_, value in (
            ("ct_server_requests_in_flight", "Requests that are being answered.", self._board.total("in_flight")[0]),
            ("ct_server_model_stale", "1 when the model is past its maximum age.", float(self._age.stale())),
            ("ct_server_model_age_seconds", "Time since the newest row that the model has seen.", self._age.seconds()),
        ):
            if value is not None:
                gauge = GaugeMetricFamily(name, help_, labels=self._names)
                gauge.add_metric(self._values, value)
                yield gauge
        info = GaugeMetricFamily(
            "ct_server_model_info", "1; the labels say what answers.", labels=[*self._names, "fence", "bundle"]
        )
        info.add_metric([*self._values, str(self._release.fence), self._release.bundle], 1)
        yield info
        if self.rollout is not None:
            try:
                report = self.rollout()
            except ContinuousTrainingError as error:  # what the server counted is told all the same
                _log.error("the metrics of the rollout are left out: %s", error)
                return
            yield from rollout_metrics(self._release.model, report)

    def _requests(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily(
            "ct_server_requests", "Requests answered.", labels=[*self._names, "route", "status"]
        )
        kinds = [[route, status] for route in ROUTES for status in CLASSES]
        for kind, count in zip(kinds, self._board.total("requests"), strict=True):
            requests.add_metric([*self._values, *kind], count)
        yield requests
        seconds = HistogramMetricFamily(
            "ct_server_request_duration_seconds",
            "Time from a request's head to its answer.",
            labels=[*self._names, "route"],
        )
        counts, sums = self._board.total("durations"), self._board.total("seconds")
        size = len(SECONDS) + 1
        for place, route in enumerate(ROUTES):
            told = histogram(SECONDS, counts[place * size : (place + 1) * size], sums[place])
            buckets = list(zip(told.bounds, told.counts, strict=True))
            seconds.add_metric([*self._values, route], buckets=buckets, sum_value=told.total)
        yield seconds

    def _histogram(self) -> Metric:
        from prometheus_client.core import HistogramMetricFamily

        scores = HistogramMetricFamily(
            "ct_server_prediction_score", "Predictions, by how high they are.", labels=self._names
        )
        told = histogram(self._bounds, self._board.total("scores"), *self._board.total("score_sum"))
        buckets = list(zip(told.bounds, told.counts, strict=True))
        scores.add_metric(self._values, buckets=buckets, sum_value=told.total)
        return scores


class AdminApp:
    """Tells metrics, and where a rollout stands, to whoever has the token where there is one.

    Parameters
    ----------
    metrics
        What is told under `/metrics`.
    token
        What must be shown; empty asks for nothing.
    """

    def __init__(self, metrics: Metrics, token: str = "") -> None:
        self._metrics = metrics
        self._token = token
        self._pages: dict[str, Callable[[], tuple[bytes, str]]] = {"/metrics": self._tell_metrics}
        if (rollout := metrics.rollout) is not None:
            self._pages["/rollout"] = lambda: (json.dumps(rollout()).encode(), "application/json")

    async def __call__(self, scope: Mapping[str, Any], _receive: object, send: Send) -> None:
        """Answer one request."""
        status, body, media_type = HTTPStatus.OK, b"", "text/plain"
        page = self._pages.get(scope["path"])
        offered = f"use GET {' or '.join(self._pages)}\n".encode()
        if page is None:
            status, body = HTTPStatus.NOT_FOUND, b"there is nothing here; " + offered
        elif scope["method"] not in {"GET", "HEAD"}:
            status, body = HTTPStatus.METHOD_NOT_ALLOWED, offered
        elif not self._may_read(dict(scope["headers"]).get(b"authorization", b"")):
            status, body = HTTPStatus.UNAUTHORIZED, b"send the header Authorization: Bearer with the token\n"
        else:
            try:
                body, media_type = page()
            except ContinuousTrainingError as error:
                status, body = HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}\n".encode()
        headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": int(status), "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _tell_metrics(self) -> tuple[bytes, str]:
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

        return generate_latest(self._metrics), CONTENT_TYPE_PLAIN_0_0_4

    def _may_read(self, given: bytes) -> bool:
        return not self._token or hmac.compare_digest(given, f"Bearer {self._token}".encode())


class AdminServer(uvicorn.Server):
    """A server beside another one in the same process, which hears the signals."""

    def __init__(self, app: AdminApp, listener: socket.socket) -> None:
        self.listener = listener
        super().__init__(
            uvicorn.Config(
                app, http="httptools", log_config=None, access_log=False, server_header=False, ws="none", lifespan="off",
                proxy_headers=False, limit_concurrency=20, timeout_graceful_shutdown=1,
            )
        )  # fmt: skip

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield
