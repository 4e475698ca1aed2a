"""Run an operator as an Airflow worker does: Airflow's own supervisor and task runner, with an API server in memory.

Import this only after `airflow_home`.
"""

import asyncio
import json
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.execution_time.supervisor import TaskRunResult, run_task_in_process
from airflow.sdk.module_loading import import_string
from airflow.sdk.serde import deserialize

_CONNECTION = ("host", "login", "password", "schema", "port", "extra")
RUN_AFTER = datetime(2024, 3, 1, tzinfo=UTC).isoformat()


def dag_run(run_id: str = "manual__1", run_type: str = "manual", **fields: Any) -> dict[str, Any]:
    """Return a DAG run as the API server describes it to a task; `fields` replace its own."""
    return {
        "dag_id": "m.train",
        "run_id": run_id,
        "run_type": run_type,
        "run_after": RUN_AFTER,
        "logical_date": RUN_AFTER,
        "data_interval_start": RUN_AFTER,
        "data_interval_end": RUN_AFTER,
        "start_date": RUN_AFTER,
        "end_date": None,
        "state": "running",
        "consumed_asset_events": [],
        "partition_key": None,
        **fields,
    }


def asset_event(extra: dict[str, Any], *, minute: int = 0, model: str = "m") -> dict[str, Any]:
    """Return an event on a model's retrain asset as the API server describes it to a task."""
    uri = f"continuous-training://{model}/retrain"
    return {
        "asset": {"name": f"{model}/retrain", "uri": uri, "extra": {}},
        "extra": extra,
        "source_task_id": None,
        "source_dag_id": None,
        "source_run_id": None,
        "source_map_index": None,
        "source_aliases": [],
        "timestamp": datetime(2024, 3, 1, 0, minute, tzinfo=UTC).isoformat(),
        "partition_key": None,
    }


@dataclass
class Worker:
    """One DAG run after another, each task as a worker would run it.

    `connections` are those of Airflow's database, `xcoms` what tasks pushed, `sent` every body a task sent to the server.
    """

    run: dict[str, Any] = field(default_factory=dag_run)
    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)
    sent: list[tuple[str, Any]] = field(default_factory=list)
    _next: dict[str, Any] = field(default_factory=dict)

    def do(self, task: Any, *, resume: tuple[str, dict[str, Any]] | None = None) -> TaskRunResult:
        """Run a task to its end and return what became of it; `resume` is the method and arguments after a deferral."""
        self._next = {"next_method": resume[0], "next_kwargs": resume[1]} if resume else {}
        what = TaskInstance(
            id=uuid.uuid4(), task_id=task.task_id, dag_id=task.dag_id, run_id=self.run["run_id"], try_number=1,
            dag_version_id=uuid.uuid4(),
        )  # fmt: skip
        client = Client(base_url=None, token="", dry_run=True, transport=httpx.MockTransport(self._answer))
        with _signals_kept():
            return run_task_in_process(what, task, client=client)

    def do_all(self, task: Any, *, meanwhile: Callable[[], Any] = lambda: None) -> TaskRunResult:
        """Run a task as `do`, and when it defers, its trigger as a triggerer and then the rest; `meanwhile` comes in between."""
        outcome = self.do(task)
        if outcome.state != "deferred":
            return outcome
        meanwhile()
        body = next(body for path, body in self.sent if path.endswith("/state") and body["state"] == "deferred")
        trigger = import_string(body["classpath"])(**deserialize(body["trigger_kwargs"]))

        async def event() -> Any:
            async for told in trigger.run():
                return json.loads(json.dumps(told.payload, default=str))
            return None

        return self.do(task, resume=(body["next_method"], {"event": asyncio.run(event())}))

    def result(self, task_id: str) -> Any:
        """Return what a task returned."""
        return self.xcoms[task_id, "return_value"]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        _, kind, *rest = request.url.path.split("/")
        if request.method in {"POST", "PUT", "PATCH"}:
            self.sent.append((request.url.path, body))
        if kind == "xcoms":
            return self._answer_xcom(request.method, *rest[2:], value=body)
        if kind == "connections":
            known = self.connections.get(rest[0])
            return _found(known and {**dict.fromkeys(_CONNECTION), "conn_id": rest[0], **known})
        if kind == "store":
            return _found(None) if request.method == "GET" else httpx.Response(204)
        if kind == "hitlDetails":
            return httpx.Response(201, json=body)
        if rest[-1] == "run":
            retry = {"max_tries": 2, "should_retry": True}
            return httpx.Response(200, json={"dag_run": self.run, **retry, **self._next})
        return httpx.Response(200, json={"inactive_assets": []})

    def _answer_xcom(self, method: str, task_id: str, key: str, *part: str, value: Any) -> httpx.Response:
        if method == "POST":
            self.xcoms[task_id, key] = value
            return httpx.Response(201, json={})
        known = (task_id, key) in self.xcoms
        if part:  # a slice: how `xcom_pull` asks
            return httpx.Response(200, json=[self.xcoms[task_id, key]] if known else [])
        return _found({"key": key, "value": self.xcoms[task_id, key]} if known else None)


def _found(value: dict[str, Any] | None) -> httpx.Response:
    return (
        httpx.Response(404, json={"detail": {"reason": "not_found"}})
        if value is None
        else httpx.Response(200, json=value)
    )


@contextmanager
def _signals_kept() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
