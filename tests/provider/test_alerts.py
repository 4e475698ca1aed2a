"""Alertmanager's messages become events on a model's asset, once each, and only from those who have the token."""

import json
from typing import Any

import anyio
import httpx
import pytest
from airflow.utils.session import create_session

from continuous_training.core.run import Request
from continuous_training.provider import alerts

pytestmark = pytest.mark.provider
TOKEN = "a token of forty characters or so"
FIRING = {
    "status": "firing",
    "labels": {"alertname": "PredictionsMoved", "model": "flights", "retrain": "true", "reason": "drift"},
    "annotations": {"summary": "predictions rose by 0.2"},
    "startsAt": "2024-03-01T06:00:00.123Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus:9090/graph",
    "fingerprint": "0f1e2d3c4b5a6978",
}


class Sender:
    """Whoever posts to the application."""

    def __init__(self) -> None:
        self.headers: dict[str, str | bytes] = {"Authorization": f"Bearer {TOKEN}"}

    def send(self, method: str, path: str, **body: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(alerts.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
                return await client.request(method, path, headers=self.headers, **body)

        return anyio.run(once)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.send("POST", path, **body)


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    from airflow.models.asset import AssetActive, AssetModel
    from airflow.utils.db import initdb

    from continuous_training.provider.operators import retrain_asset

    initdb()
    asset = retrain_asset("flights")
    with create_session() as session:
        session.add(AssetModel(name=asset.name, uri=asset.uri))
        session.flush()
        session.add(AssetActive.for_asset(asset))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Sender:
    from airflow.models.asset import AssetEvent
    from sqlalchemy import delete

    monkeypatch.setenv("AIRFLOW__CONTINUOUS_TRAINING__ALERT_TOKEN", TOKEN)
    with create_session() as session:
        session.execute(delete(AssetEvent))
    return Sender()


def message(*told: dict[str, Any]) -> dict[str, Any]:
    return {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "airflow", "alerts": list(told)}


def sent(client: Sender, *told: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/alerts", json=message(*told))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def events() -> list[dict[str, Any]]:
    from airflow.models.asset import AssetEvent
    from sqlalchemy import select

    with create_session() as session:
        return [dict(extra) for extra in session.scalars(select(AssetEvent.extra).order_by(AssetEvent.id))]


def test_a_firing_alert_is_one_event_that_asks_for_a_retraining_however_often_it_is_sent(client: Sender) -> None:
    assert sent(client, FIRING) == {"asked": ["flights"], "repeated": 0, "ignored": 0, "unknown": []}
    assert sent(client, FIRING, FIRING) == {"asked": [], "repeated": 2, "ignored": 0, "unknown": []}
    (extra,) = events()
    request = Request.model_validate({name: extra[name] for name in Request.model_fields})
    assert (request.reason, request.text) == ("drift", "alert PredictionsMoved: predictions rose by 0.2")
    assert request.episode == "alert:0f1e2d3c4b5a6978:2024-03-01T06:00:00.123000+00:00"


def test_the_same_alert_that_begins_again_is_a_new_event(client: Sender) -> None:
    sent(client, FIRING, FIRING | {"startsAt": "2024-03-08T06:00:00Z"})
    assert len(events()) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"status": "resolved"},
        {"labels": {"alertname": "x", "model": "flights"}},
        {"labels": {"alertname": "x", "retrain": "true"}},
        {"labels": {"alertname": "x", "retrain": "yes", "model": "flights"}},
    ],
)
def test_an_alert_that_does_not_ask_is_ignored(client: Sender, change: dict[str, Any]) -> None:
    assert sent(client, FIRING | change)["ignored"] == 1
    assert events() == []


def test_a_model_that_airflow_does_not_know_is_named(client: Sender) -> None:
    other = FIRING | {"labels": FIRING["labels"] | {"model": "other"}}
    assert sent(client, other, FIRING) == {"asked": ["flights"], "repeated": 0, "ignored": 0, "unknown": ["other"]}


def test_a_reason_that_is_none_is_performance(client: Sender) -> None:
    sent(client, FIRING | {"labels": FIRING["labels"] | {"reason": "manual"}})
    assert events()[0]["reason"] == "performance"


@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer ", TOKEN, "Bearer \u00e9"])
def test_nobody_without_the_token_is_heard(client: Sender, header: str | None) -> None:
    client.headers = {} if header is None else {"Authorization": header.encode()}
    assert client.post("/alerts", json=message(FIRING)).status_code == 401
    assert events() == []


def test_without_a_token_in_the_configuration_the_door_is_closed(
    client: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW__CONTINUOUS_TRAINING__ALERT_TOKEN")
    client.headers = {"Authorization": "Bearer "}
    answer = client.post("/alerts", json=message(FIRING))
    assert answer.status_code == 404
    assert events() == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "JSON"),
        (b"[]", "not a message"),
        (b'{"version": "3", "alerts": []}', "version"),
        (json.dumps(message(FIRING | {"fingerprint": "../etc"})).encode(), "fingerprint"),
        (json.dumps(message(FIRING | {"startsAt": "yesterday"})).encode(), "startsAt"),
        (json.dumps(message(FIRING | {"labels": "none"})).encode(), "labels"),
        (b"\xff\xfe", "JSON"),
        (b"[" * 10_000, "JSON"),
    ],
)
def test_what_is_no_message_is_refused_with_the_place(client: Sender, body: bytes, told: str) -> None:
    answer = client.post("/alerts", content=body)
    assert answer.status_code == 422
    assert told in answer.json()["detail"]
    assert events() == []


def test_a_message_that_is_too_large_is_not_read_to_its_end(client: Sender) -> None:
    answer = client.post("/alerts", content=b" " * (alerts.MOST_BYTES + 1))
    assert answer.status_code == 413


def test_nothing_else_is_offered(client: Sender) -> None:
    assert [client.send("GET", path).status_code for path in ("/alerts", "/", "/docs", "/openapi.json")] == [
        405,
        404,
        404,
        404,
    ]


def test_airflow_is_told_of_it_by_the_entry_point() -> None:
    from importlib.metadata import entry_points

    (found,) = [each for each in entry_points(group="airflow.plugins") if each.name == "continuous_training"]
    offered = {each["url_prefix"]: each["app"] for each in found.load().fastapi_apps}
    assert offered["/continuous-training"] is alerts.app
    # Airflow asks in this order, and the shorter prefix is one of the longer's too
    assert list(offered) == sorted(offered, key=len, reverse=True)
