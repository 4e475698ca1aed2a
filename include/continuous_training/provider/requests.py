"""What started a DAG run, as a request for a retraining."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException
from pydantic import ValidationError

from continuous_training.core.run import Request, Rollback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

MAX_TRIALS = 1000
# Airflow checks the format `date-time` only where rfc3339-validator is installed.
_MOMENT = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"


def train_params() -> dict[str, Param]:
    """Return the fields of the trigger form of a train DAG."""
    return {
        "reason": Param(
            "",
            type="string",
            maxLength=500,
            title="Reason",
            description="Why; kept in the ledger and on the model version.",
        ),
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            pattern=_MOMENT,
            title="As of",
            description="Train on the newest window that was complete at this moment. Empty: the newest of all.",
        ),
        "trials": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            maximum=MAX_TRIALS,
            title="Trials",
            description="Tuning trials instead of the model file's.",
        ),
        "force": Param(
            default=False,
            type="boolean",
            title="Force",
            description="Promote even when the gate is inconclusive. A failed gate still keeps the champion.",
        ),
        "dry_run": Param(
            default=False, type="boolean", title="Dry run", description="Do everything but promote and deploy."
        ),
    }


def rollback_params() -> dict[str, Param]:
    """Return the fields of the trigger form of a rollback DAG; both must be filled in."""
    return {
        "version": Param(
            type="integer",
            minimum=1,
            title="Version",
            description="The version that was champion before and shall be again: see the tab Champions.",
        ),
        "reason": Param(
            type="string",
            minLength=1,
            maxLength=500,
            title="Reason",
            description="Why; kept in the ledger with your name.",
        ),
    }


def rollback_of(context: Context) -> Rollback:
    """Return what the trigger form of a rollback DAG asks for.

    Raises
    ------
    AirflowFailException
        The form has values that a rollback cannot have.
    """
    params: dict[str, Any] = dict(context["params"])
    who = getattr(context["dag_run"], "triggering_user_name", None)
    try:
        asked = Rollback(to=params.get("version"), reason=params.get("reason"))
    except ValidationError as error:
        raise AirflowFailException(_refusal("form", error)) from error
    return asked.model_copy(update={"reason": f"{asked.reason} ({who})"}) if who else asked


def request_of(context: Context) -> Request:
    """Return the request behind a DAG run: its asset events, its cron tick, or its form.

    Raises
    ------
    AirflowFailException
        The run was asked for with values that a request cannot have.
    """
    events = _events(context)
    if events:
        return _most_pressing([event.extra for event in events])
    dag_run = context["dag_run"]
    if dag_run.run_type == "scheduled":
        return Request(kind="train", reason="schedule")
    params: dict[str, Any] = dict(context["params"])
    # A backfill is asked for the past: each of its runs looks from its own date.
    as_of = params.get("as_of") or (dag_run.logical_date if dag_run.run_type == "backfill" else None)
    try:
        return Request(
            kind="train",
            reason="manual",
            text=params.get("reason") or "",
            episode=f"manual:{dag_run.run_id}"[:200],
            as_of=as_of,
            trials=params.get("trials"),
            force=bool(params.get("force")),
            dry_run=bool(params.get("dry_run")),
        )
    except ValidationError as error:
        raise AirflowFailException(_refusal("form", error)) from error


def _events(context: Context) -> list[Any]:
    triggering = context.get("triggering_asset_events") or {}
    return sorted((event for events in triggering.values() for event in events), key=lambda event: event.timestamp)


def _most_pressing(extras: Sequence[dict[str, Any]]) -> Request:
    """Return the request that one retraining should answer when several events waited for it, oldest first.

    One that was decided on evidence names its episode and goes before a wish, a wish before a dry run, and of equals
    the newest is taken: it sees the newest data.
    """
    requests, problems = [], []
    for extra in extras:
        try:
            requests.append(_from_event(extra))
        except ValidationError as error:
            problems.append(_refusal("event", error))
    if not requests:
        raise AirflowFailException("; ".join(problems))
    for problem in problems:
        logging.getLogger(__name__).warning("set aside: %s", problem)
    return max(reversed(requests), key=lambda request: (not request.dry_run, request.episode is not None))


def _from_event(extra: dict[str, Any]) -> Request:
    known = {name: value for name, value in extra.items() if name in Request.model_fields}
    # An event that somebody made by hand carries no request: it is a wish like any other.
    return Request.model_validate({"reason": "manual", "text": "an event on the asset", **known, "kind": "train"})


def _refusal(where: str, error: ValidationError) -> str:
    wrong = "; ".join(
        f"{problem['loc'][0]} is {str(problem['input'])[:100]!r}: {problem['msg']}" for problem in error.errors()
    )
    return f"the {where} asks for what a retraining does not take: {wrong}. Ask again with other values; a retry gives the same"
