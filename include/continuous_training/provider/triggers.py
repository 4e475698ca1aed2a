"""Wait for data without holding a worker slot."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from continuous_training.core.errors import Transient
from continuous_training.provider.hooks import ContinuousTrainingHook, source_environment
from continuous_training.spec import ModelSpec
from continuous_training.steps.plan import is_complete, next_window_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# A task that is resumed within the worker's heartbeat of its deferral can be marked failed.
SETTLE_SECONDS = 2.0


class WindowTrigger(BaseTrigger):
    """Fire when the next window of a model is complete.

    Parameters
    ----------
    spec:
        The model as JSON.
    poll_seconds:
        Time between two looks at the source's watermark.
    end_task:
        End the task as successful without going back to a worker; else resume it with the window's end.
    """

    def __init__(
        self,
        spec: str,
        continuous_training_conn_id: str,
        mlflow_conn_id: str,
        poll_seconds: float = 60.0,
        *,
        end_task: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.spec = spec
        self.continuous_training_conn_id = continuous_training_conn_id
        self.mlflow_conn_id = mlflow_conn_id
        self.poll_seconds = poll_seconds
        self.end_task = end_task

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs to build this trigger again."""
        return (
            "continuous_training.provider.triggers.WindowTrigger",
            {
                "spec": self.spec,
                "continuous_training_conn_id": self.continuous_training_conn_id,
                "mlflow_conn_id": self.mlflow_conn_id,
                "poll_seconds": self.poll_seconds,
                "end_task": self.end_task,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the watermark until the next window is complete."""
        await asyncio.sleep(SETTLE_SECONDS)
        while (end := await asyncio.to_thread(self._complete_end)) is None:  # noqa: ASYNC110 - the source sends no word
            await asyncio.sleep(self.poll_seconds)
        yield TaskSuccessEvent() if self.end_task else TriggerEvent(end)  # type: ignore[no-untyped-call]

    def _complete_end(self) -> str | None:
        spec = ModelSpec.model_validate_json(self.spec)
        settings = ContinuousTrainingHook(self.continuous_training_conn_id, self.mlflow_conn_id).get_conn()
        try:
            end = next_window_end(spec, settings)
            if end is None:
                return None
            with _source_connection(spec):
                complete = is_complete(spec, settings, end)
        except Transient as error:
            self.log.warning("%s: %s; looking again in %s s", spec.model, error, self.poll_seconds)
            return None
        return end.isoformat() if complete else None


_ENVIRONMENT = threading.Lock()


@contextlib.contextmanager
def _source_connection(spec: ModelSpec) -> Iterator[None]:
    """Show the source its connection where sources look for it, and to nothing that runs in the triggerer afterwards."""
    shown = source_environment(spec)
    with _ENVIRONMENT:
        before = {name: os.environ.get(name) for name in shown}
        os.environ.update(shown)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
