"""Alerts that ask for a retraining: Alertmanager's webhook becomes an event on the model's retrain asset.

It is an application of Airflow's API server, `POST /continuous-training/alerts`. Whoever sends has the token of the
deployment (`[continuous_training] alert_token`); without one in the configuration the door is closed. An alert asks for a
retraining when it fires and has the labels `retrain="true"` and `model`. The alert's fingerprint and the moment it
began name the episode, so however often it is sent again it is one event and one retraining.
"""

from __future__ import annotations

import hmac
import json
import logging
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI, Request, status
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from continuous_training.core import run
from continuous_training.core.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "/continuous-training"
MOST_BYTES = 256 * 1024
MOST_REMEMBERED = 1000
"""Newest events of a model among which a repeated alert is looked for."""
REASONS = ("drift", "performance", "feedback")

_log = logging.getLogger(__name__)
_Label = Annotated[str, Field(max_length=1000)]


class Alert(BaseModel):
    """What is used of an alert; Alertmanager sends more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: Literal["firing", "resolved"]
    labels: dict[_Label, _Label] = Field(max_length=100)
    annotations: dict[_Label, Annotated[str, Field(max_length=10_000)]] = Field(default_factory=dict, max_length=100)
    starts_at: AwareDatetime = Field(alias="startsAt")
    fingerprint: str = Field(pattern=r"^[0-9a-f]{1,64}$")

    @property
    def asks(self) -> bool:
        """Tell whether it asks for a retraining."""
        return self.status == "firing" and self.labels.get("retrain") == "true"

    def request(self) -> run.Request:
        """Return the retraining it asks for."""
        reason = self.labels.get("reason", "performance")
        text = self.annotations.get("summary") or self.labels.get("alertname", "")
        return run.Request(
            kind="train",
            reason=reason if reason in REASONS else "performance",
            text=f"alert {self.labels.get('alertname', '')}: {text}"[:500],
            episode=f"alert:{self.fingerprint}:{self.starts_at.isoformat()}"[:200],
        )


class Message(BaseModel):
    """Alertmanager's webhook message, version 4."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal["4"]
    alerts: tuple[Alert, ...] = Field(max_length=1000)


class Answer(Frozen):
    """What became of the alerts of a message."""

    asked: tuple[str, ...] = Field((), description="Models whose retraining was asked for by this message.")
    repeated: int = Field(0, description="Alerts whose retraining had been asked for before.")
    ignored: int = Field(0, description="Alerts that do not fire, or do not ask for a retraining.")
    unknown: tuple[str, ...] = Field((), description="Models that Airflow has no DAG of.")


app = FastAPI(title="Continuous training: alerts", docs_url=None, redoc_url=None, openapi_url=None)


@app.post("/alerts")
async def receive(request: Request) -> JSONResponse:
    """Take a message of Alertmanager's."""
    from anyio.to_thread import run_sync

    from continuous_training.provider.hooks import configured_alert_token

    token = configured_alert_token()
    if not token:
        return _refuse(status.HTTP_404_NOT_FOUND, "this deployment takes no alerts: set alert_token")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        return _refuse(status.HTTP_401_UNAUTHORIZED, "send the deployment's alert_token as a bearer token")
    body = await _body(request)
    if body is None:
        return _refuse(
            status.HTTP_413_CONTENT_TOO_LARGE, f"a message may have {MOST_BYTES:,} bytes; group fewer alerts"
        )
    try:
        message = Message.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        return _refuse(
            status.HTTP_422_UNPROCESSABLE_CONTENT, f"not a message of Alertmanager's: {where}: {first['msg']}"
        )
    answer = await run_sync(take, message.alerts)
    return JSONResponse(answer.model_dump(mode="json"))


def take(alerts: Iterable[Alert]) -> Answer:
    """Emit an event for each alert that asks for a retraining and has not been heard before."""
    from airflow.utils.session import create_session

    asked, unknown, repeated, ignored = [], [], 0, 0
    for alert in alerts:
        model = alert.labels.get("model", "")
        if not alert.asks or not model:
            ignored += 1
            continue
        with create_session() as session:
            told = _emit(model, alert.request(), session)
        if told is None:
            unknown.append(model)
        elif told:
            asked.append(model)
        else:
            repeated += 1
    return Answer(asked=tuple(asked), repeated=repeated, ignored=ignored, unknown=tuple(unknown))


def _emit(model: str, request: run.Request, session: Any) -> bool | None:
    """Emit the event and tell whether it is new; `None` where Airflow knows no such model."""
    from airflow._shared.timezones import timezone
    from airflow.assets.manager import asset_manager
    from airflow.models.asset import AssetEvent, AssetModel
    from sqlalchemy import select

    from continuous_training.provider.operators import retrain_asset

    known = select(AssetModel).where(AssetModel.uri == retrain_asset(model).uri)
    # whoever sends the same alert at the same time waits here, and then finds it
    asset = session.scalar(known.with_for_update())
    if asset is None:
        _log.warning("an alert asks to retrain %r, which no DAG of this Airflow does", model[:100])
        return None
    newest = select(AssetEvent.extra).where(AssetEvent.asset_id == asset.id).order_by(AssetEvent.id.desc())
    if any((extra or {}).get("episode") == request.episode for extra in session.scalars(newest.limit(MOST_REMEMBERED))):
        return False
    asset_manager.register_asset_change(
        asset=asset,
        timestamp=timezone.utcnow(),
        extra=json.loads(request.model_dump_json()),
        source_is_api=True,
        session=session,
    )
    _log.info("an alert asks to retrain %s: %s", model, request.text)
    return True


async def _body(request: Request) -> bytes | None:
    """Return the body, or `None` when it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


def _refuse(code: int, message: str) -> JSONResponse:
    return JSONResponse({"detail": message}, code)
