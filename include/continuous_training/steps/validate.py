"""Check the collected rows before anything is trained on them."""

from __future__ import annotations

import pandas as pd

from continuous_training import validation
from continuous_training.core.data_check import Suite
from continuous_training.core.errors import DataInvalid
from continuous_training.steps.context import Context, Output, to_json

MOST_TOLD = 10


def do(context: Context) -> Output:
    """Store the result of the data check and its report; a failed critical check is the step's result too."""
    spec = context.spec
    rows = pd.read_parquet(context.fetch("collect", "rows"))
    # A column that only the champion still needs is no part of the model, and no suite speaks of it.
    rows = rows[[name for name in rows if name in {*spec.columns, *spec.task.columns}]]
    problems = [
        *validation.schema_problems(rows, spec.task, spec.features),
        *validation.label_problems(rows, spec.task, spec.min_rows),
    ]
    outputs: dict[str, str] = {}
    facts: dict[str, object] = {"warnings": 0, "evaluated": 0}
    if isinstance(spec.expectations, Suite) and not problems:
        checked = validation.check(rows, spec.expectations, name=f"{spec.model} {context.run.window}")
        check = checked.check
        outputs = {
            "check": context.store.put(to_json(check.model_dump(mode="json"))),
            "result": context.store.put(checked.result),
            "data_docs": context.store.put(checked.page),
        }
        facts = {
            "warnings": len(check.warnings),
            "evaluated": check.evaluated,
            "first_warnings": [item.text for item in check.warnings[:5]],
        }
        problems += [item.text for item in check.critical_failed]
    facts["problems"] = problems[:MOST_TOLD]
    return Output(outputs=outputs, facts=facts, error=_refusal(context, problems) if problems else None)


def _refusal(context: Context, problems: list[str]) -> DataInvalid:
    listed = "; ".join(problems[:MOST_TOLD]) + (
        f"; and {len(problems) - MOST_TOLD} more" if len(problems) > MOST_TOLD else ""
    )
    return DataInvalid(
        f"the data of {context.run.window} failed {len(problems)} critical check(s): {listed}. Nothing was trained and the champion "
        "keeps serving. Repair the data or the expectations; a retry reads the rows again and checks them again."
    )
