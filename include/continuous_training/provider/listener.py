"""Write down that a training ended when its DAG run failed: a task died, took too long, or somebody set the run to failed.

A step that fails by itself says so in the ledger. What happens to it from outside only Airflow sees: the scheduler calls this
when a DAG run fails, and the API server when a person sets one to failed.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

from continuous_training.ledger import Ledger
from continuous_training.provider.hooks import ContinuousTrainingHook
from continuous_training.provider.operators import PlanRunOperator, planned_run

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

    from continuous_training.core.run import Run

_BY_HAND = "manually"
_WHYS = {"timed_out": "it took longer than it may", "all_tasks_deadlocked": "none of its tasks can begin"}
"""What Airflow's words for the end of a DAG run mean."""

_log = logging.getLogger(__name__)
# One after the other and beside the scheduler, which must not wait for a ledger that is down.
_writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="continuous-training")


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """Finish the training of a failed DAG run in the ledger, unless it has an outcome."""
    whose = f"{dag_run.dag_id} {dag_run.run_id}"

    def told(done: Future[None]) -> None:
        if error := done.exception():
            _log.error("the ledger does not say that %s failed: %s", whose, error, exc_info=error)

    _writer.submit(_finish, dag_run.dag_id, dag_run.run_id, msg).add_done_callback(told)


def _finish(dag_id: str, run_id: str, msg: str) -> None:
    planned, failed = _look_up(dag_id, run_id)
    if planned is None or planned.kind != "train":
        return
    tasks = f"its task {', '.join(failed)} failed" if failed else "a task of it failed"
    why = "somebody set it to failed" if _BY_HAND in msg else _WHYS.get(msg, tasks)
    text = f"the DAG run {run_id} of {dag_id} failed: {why}; clear what failed in it to go on from there"
    ledger = Ledger(ContinuousTrainingHook().get_conn().ledger)
    ledger.finish_run(planned.key, "failed", text, now=datetime.now(UTC), unless_ended=True)


def _look_up(dag_id: str, run_id: str) -> tuple[Run | None, list[str]]:
    """Return what a DAG run planned, if it did, and which of its tasks failed."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    mine = (TaskInstance.dag_id == dag_id) & (TaskInstance.run_id == run_id)
    plans = select(TaskInstance.task_id).where(mine, TaskInstance.operator == PlanRunOperator.__name__)
    failures = select(TaskInstance.task_id).where(mine, TaskInstance.state == "failed")
    with create_session() as session:
        tasks = session.scalars(plans).all()
        if not tasks:
            return None, []
        answers = XComModel.get_many(run_id=run_id, dag_ids=dag_id, task_ids=tasks, key="return_value", limit=1)
        answer = session.scalars(answers).first()
        planned = None if answer is None else planned_run(XComModel.deserialize_value(answer))
        return planned, list(session.scalars(failures.order_by(TaskInstance.task_id)).all())
