"""The trigger that waits for a window, on a real ledger and real rows; only the waiting itself is not real."""

import asyncio
import inspect
import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.trigger import Trigger
from airflow.sdk import Connection
from airflow.sdk.execution_time.context import _preset_connections
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

import small_model
from continuous_training.core.errors import SpecError
from continuous_training.ledger import Ledger
from continuous_training.provider import triggers
from continuous_training.provider.triggers import WindowTrigger
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec

pytestmark = pytest.mark.provider

NEXT_END = small_model.START + timedelta(days=50)


def a_trigger(spec: ModelSpec | None = None, **arguments: Any) -> WindowTrigger:
    spec = spec or small_model.spec()
    return WindowTrigger(spec.model_dump_json(), "continuous_training_default", "mlflow_default", 7.0, **arguments)


def crown() -> None:
    """Make a champion from the rows of the first forty days."""
    Ledger(Settings.from_environment().ledger).promote(
        "m", run_key="a" * 64, bundle="b" * 64, data_cutoff=small_model.START + timedelta(days=40), fence_seen=0, reason="first",
        verdict=None, now=datetime.now(UTC),
    )  # fmt: skip


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, list[float]]]:
    """Give a function that runs a trigger to its first event and returns it with the waits before it.

    Each of `meanwhile` happens in one wait between two looks.
    """

    def run(trigger: WindowTrigger, *meanwhile: Callable[[], None]) -> tuple[Any, list[float]]:
        waits: list[float] = []
        happenings = [lambda: None, *meanwhile]

        async def wait(seconds: float) -> None:
            waits.append(seconds)
            happenings.pop(0)()  # nothing left to happen ends the test: the trigger looked once too often

        monkeypatch.setattr(triggers, "asyncio", SimpleNamespace(sleep=wait, to_thread=asyncio.to_thread))
        return asyncio.run(anext(trigger.run())), waits

    return run


def test_the_triggerer_builds_the_same_trigger_again() -> None:
    trigger = a_trigger(end_task=False)
    stored = Trigger.from_object(trigger)
    again = import_string(stored.classpath)(**stored.kwargs)
    assert again.serialize() == trigger.serialize()
    assert set(stored.kwargs) == set(inspect.signature(WindowTrigger).parameters)


def test_it_fires_with_the_end_of_the_complete_window(deployment: Path, look: Any) -> None:
    crown()
    small_model.land(deployment, days=52)
    event, waits = look(a_trigger(end_task=False))
    assert type(event) is TriggerEvent
    assert datetime.fromisoformat(event.payload) == NEXT_END
    assert len(waits) == 1


def test_it_ends_its_task_when_it_was_started_in_the_place_of_one(deployment: Path, look: Any) -> None:
    crown()
    small_model.land(deployment, days=52)
    event, _ = look(a_trigger())
    assert isinstance(event, TaskSuccessEvent)


def test_no_event_comes_before_the_worker_has_settled(deployment: Path, look: Any) -> None:
    crown()
    small_model.land(deployment, days=52)
    _, waits = look(a_trigger())
    assert waits[0] >= 2.0


def test_it_waits_until_the_labels_of_the_window_have_matured(deployment: Path, look: Any) -> None:
    crown()
    small_model.land(deployment, days=50)
    event, waits = look(
        a_trigger(end_task=False),
        lambda: small_model.land(deployment, days=51),  # ends just before the last label is a day old
        lambda: small_model.land(deployment, days=52),
    )
    assert datetime.fromisoformat(event.payload) == NEXT_END
    assert waits[1:] == [7.0, 7.0]


def test_it_waits_for_the_first_champion(deployment: Path, look: Any) -> None:
    small_model.land(deployment, days=52)
    event, waits = look(a_trigger(end_task=False), crown)
    assert datetime.fromisoformat(event.payload) == NEXT_END
    assert len(waits) == 2


def test_it_waits_for_a_source_without_rows(deployment: Path, look: Any) -> None:
    crown()
    (deployment / "data" / "rows").mkdir(parents=True)
    event, _ = look(a_trigger(end_task=False), lambda: small_model.land(deployment, days=52))
    assert datetime.fromisoformat(event.payload) == NEXT_END


def test_it_survives_a_source_and_a_ledger_that_are_down_for_a_while(
    deployment: Path, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    crown()
    small_model.land(deployment, days=52)
    rows = deployment / "data" / "rows" / "rows.parquet"
    good = rows.read_bytes()
    monkeypatch.setenv("CT_LEDGER", "postgresql://ct:x@127.0.0.1:1/ledger")

    def ledger_comes_and_source_goes() -> None:
        monkeypatch.delenv("CT_LEDGER")
        rows.unlink()
        rows.symlink_to("/nowhere/rows.parquet")

    def source_comes() -> None:
        rows.unlink()
        rows.write_bytes(good)

    event, waits = look(a_trigger(end_task=False), ledger_comes_and_source_goes, source_comes)
    assert datetime.fromisoformat(event.payload) == NEXT_END
    assert len(waits) == 3


def test_what_waiting_cannot_mend_fails_the_task_with_the_reason(look: Any) -> None:
    crown()
    spec = small_model.spec(source={"kind": "parquet", "path": "{lake}/rows"})
    with pytest.raises(SpecError, match="lake"):
        look(a_trigger(spec))


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    """Give a database of fifty-two days that only Airflow knows how to reach."""
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE rows (at TEXT, wind REAL, carrier TEXT, late INTEGER)")
        database.execute(
            "INSERT INTO rows VALUES (?, 1.0, 'a', 1)", [(small_model.START + timedelta(days=52)).isoformat()]
        )
    database.close()
    shown = _preset_connections.set(
        {"shop": Connection(conn_id="shop", conn_type="sqlite", host=str(tmp_path / "shop.db"))}
    )
    yield small_model.spec(source={"kind": "sql", "conn_id": "shop", "table": "rows"})
    _preset_connections.reset(shown)


def test_it_reaches_a_source_whose_connection_only_airflow_knows_and_leaves_no_trace_of_it(
    shop: ModelSpec, look: Any
) -> None:
    crown()
    event, _ = look(a_trigger(shop, end_task=False))
    assert datetime.fromisoformat(event.payload) == NEXT_END
    assert "AIRFLOW_CONN_SHOP" not in os.environ


def test_a_connection_that_was_in_the_environment_before_is_there_afterwards(
    shop: ModelSpec, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    crown()
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "sqlite://another")
    event, _ = look(a_trigger(shop, end_task=False))
    assert datetime.fromisoformat(event.payload) == NEXT_END
    assert os.environ["AIRFLOW_CONN_SHOP"] == "sqlite://another"
