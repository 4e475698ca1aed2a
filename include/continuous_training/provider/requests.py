"""What started a DAG run, as a request for a retraining."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from continuous_training.core.run import Request

if TYPE_CHECKING:
    from airflow.sdk import Context

MAX_TRIALS = 1000


def train_params() -> dict[str, Param]:
    """Return the fields of the trigger form of a train DAG."""
    return {
        "reason": Param("", type="string", maxLength=500, title="Reason", description="Why; kept in the ledger and on the model version."),
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="As of",
            description="Train on the newest window that was complete at this moment. Empty: the newest of all.",
        ),
        "trials": Param(
            None, type=["null", "integer"], minimum=0, maximum=MAX_TRIALS, title="Trials", description="Tuning trials instead of the model file's."
        ),
        "force": Param(
            False, type="boolean", title="Force", description="Promote even when the gate is inconclusive. A failed gate still keeps the champion."
        ),
        "dry_run": Param(False, type="boolean", title="Dry run", description="Do everything but promote and deploy."),
    }


def request_of(context: Context) -> Request:
    """Return the request behind a DAG run: its asset event, its cron tick, or its form."""
    events = _events(context)
    if events:
        return _from_event(events[-1])
    dag_run = context["dag_run"]
    if str(dag_run.run_type).endswith("scheduled"):
        return Request(kind="train", reason="schedule")
    params: dict[str, Any] = dict(context["params"])
    return Request(
        kind="train",
        reason="manual",
        text=params.get("reason") or "",
        episode=f"manual:{dag_run.run_id}"[:200],
        as_of=params.get("as_of"),
        trials=params.get("trials"),
        force=bool(params.get("force")),
        dry_run=bool(params.get("dry_run")),
    )


def _events(context: Context) -> list[Any]:
    triggering = context.get("triggering_asset_events") or {}
    return sorted((event for events in triggering.values() for event in events), key=lambda event: event.timestamp)


def _from_event(event: Any) -> Request:
    extra = {name: value for name, value in (event.extra or {}).items() if name in Request.model_fields}
    # An event that somebody made by hand carries no request: it is a wish like any other.
    return Request.model_validate({"reason": "manual", "text": "an event on the asset", **extra, "kind": "train"})
