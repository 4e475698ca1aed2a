"""Read the run's window once and keep the rows: every later step sees the same ones."""

from __future__ import annotations

import tempfile
from pathlib import Path

from continuous_training.core.errors import DataInvalid
from continuous_training.steps.context import Context, Output


def do(context: Context) -> Output:
    """Store the rows of the window as one Parquet object."""
    spec, run = context.spec, context.run
    rows = spec.source.read(
        run.window, task=spec.task, columns=spec.features.columns, as_of=run.as_of, locations=context.settings.locations
    )
    if rows.empty:
        msg = (
            f"the source of {spec.model} has no rows in {run.window}; check the source's path and its event time; "
            "nothing was trained, the champion keeps serving, a retry reads again"
        )
        raise DataInvalid(msg)
    context.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=context.cache) as folder:
        file = Path(folder) / "rows.parquet"
        rows.to_parquet(file, index=False)
        digest = context.store.put_file(file)
    labelled = int(rows[spec.task.label].notna().sum())
    facts = {"rows": len(rows), "labelled": labelled, "window": str(run.window), "as_of": run.as_of.isoformat()}
    return Output(outputs={"rows": digest}, facts=facts)
