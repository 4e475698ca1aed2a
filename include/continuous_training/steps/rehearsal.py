"""Let a challenger answer requests that were logged, before any client's request reaches it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx

from continuous_training.core.arms import Arm, Comparison, predictions
from continuous_training.core.errors import DataInvalid
from continuous_training.core.rollout import RolloutCounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from continuous_training.core.rollout import RolloutPlan

REQUESTS = 1000
"""Logged requests that a challenger answers."""


def rehearse(
    plan: RolloutPlan, logged: pd.DataFrame, columns: Sequence[str], requests: int = REQUESTS
) -> RolloutCounts:
    """Send the newest logged requests to the challenger, one row each, and count as the router does in a shadow.

    The counts of the champion are what the log says of it: its scores, without failures or latency. What the challenger answers is
    compared with them. Rows that no client has seen, of a shadow, are left out.

    Parameters
    ----------
    plan
        The first step's plan: where the challenger answers, and how its scores are cut into buckets.
    logged
        What `read_predictions` returned.
    columns
        The columns that a request must have: the model's features.
    requests
        How many are sent at most.

    Raises
    ------
    DataInvalid
        The log does not keep a column, so its requests cannot be sent again.
    """
    missing = [name for name in columns if name not in logged.columns]
    if missing:
        raise DataInvalid(
            f"the prediction log does not keep {', '.join(missing)}, so its requests cannot be sent again; keep these columns under "
            "`log`, or go without a rehearsal; a retry gives the same"
        )
    rows = logged[(logged["ct_version"] == plan.champion) & (logged["ct_reason"] != "shadow")].tail(requests)
    champion, challenger, compared = Arm(plan.score_bounds), Arm(plan.score_bounds), Comparison(plan.scale)
    with httpx.Client(base_url=plan.url, timeout=plan.timeout) as client:
        for row, said in zip(_json_rows(rows[[*columns]]), rows["ct_prediction"], strict=True):
            given = [said.tolist() if hasattr(said, "tolist") else said]
            champion.answered(None, given)
            theirs = _ask(client, row, plan.challenger, challenger)
            if theirs is not None:
                compared.add(given, theirs)
    answered = challenger.counts().model_copy(update={"distances": compared.distances})
    return RolloutCounts(plan=plan.name, champion=champion.counts(), challenger=answered, **compared.counts())


def _ask(client: httpx.Client, row: dict[str, Any], version: str, arm: Arm) -> list[Any] | None:
    """Send one row, count the answer, and return its predictions."""
    began = time.monotonic()
    try:
        answer = client.post("/invocations", json={"dataframe_records": [row]}, headers={"ct-share": "shadow 1"})
    except httpx.TimeoutException:
        arm.failed("timeout")
        return None
    except httpx.HTTPError:
        arm.failed("connection")
        return None
    seconds = float(answer.headers.get("ct-seconds", time.monotonic() - began))
    found = predictions(answer.content)
    if not answer.is_success:
        arm.failed(str(answer.status_code))
    elif answer.headers.get("ct-version") != version:
        arm.failed("version")
    elif len(found) != 1:
        arm.failed("schema")
    else:
        arm.answered(seconds, found)
        return found
    return None


def _json_rows(rows: pd.DataFrame) -> list[dict[str, Any]]:
    plain = rows.astype(object).where(rows.notna(), None)
    found: list[dict[str, Any]] = plain.to_dict("records")
    return found
