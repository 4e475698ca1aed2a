"""Read the run's window once and keep the rows: every later step sees the same ones."""

from __future__ import annotations

import contextlib
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from continuous_training.core.errors import DataInvalid
from continuous_training.steps.champion import usual
from continuous_training.steps.context import Context, Output
from continuous_training.trainers.bundle import load_bundle

if TYPE_CHECKING:
    import pandas as pd


def do(context: Context) -> Output:
    """Store the rows of the window as one Parquet object."""
    spec, run = context.spec, context.run
    rows, left_out = _without_broken(context, read_rows(context))
    if rows.empty and left_out:
        msg = (
            f"all {left_out} rows of {spec.model} in {run.window} are quarantined: each of their windows shows a defect; repair the "
            f"data (ct history {spec.model} names what was found); nothing was trained, the champion keeps serving, a retry reads again"
        )
        raise DataInvalid(msg)
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
    facts["quarantined"] = left_out
    return Output(outputs={"rows": digest}, facts=facts)


def _without_broken(context: Context, rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Leave out the rows of quarantined windows that still show a defect; a repaired one is trained on."""
    spec, run = context.spec, context.run
    if spec.triage is None or run.champion is None or not run.quarantined:
        return rows, 0
    profile = usual(context, spec.triage, run.champion)
    total = len(rows)
    at = spec.task.event_time
    for window in run.quarantined:
        inside = (rows[at] >= window.start) & (rows[at] < window.end)
        if spec.triage.examine(profile, rows[inside], window, spec.task, spec.features):
            rows = rows[~inside]
    return rows, total - len(rows)


def read_rows(context: Context) -> pd.DataFrame:
    """Return the rows of the run's window with the columns of the model file and those that only its champion needs.

    A champion is judged, and watched, with the features it was trained on, also when the model file has dropped some.
    Where the source has lost them too, they are empty: that is what the champion gets when it is asked.
    """
    spec, run = context.spec, context.run
    known = {*spec.columns, *spec.task.columns}
    dropped = [name for name in _champion_columns(context) if name not in known]

    def read(*columns: str) -> pd.DataFrame:
        return spec.source.read(
            run.window, task=spec.task, columns=columns, as_of=run.as_of, locations=context.settings.locations
        )

    if dropped:
        with contextlib.suppress(DataInvalid):
            return read(*spec.columns, *dropped)
    return read(*spec.columns).assign(**dict.fromkeys(dropped, math.nan))


def _champion_columns(context: Context) -> tuple[str, ...]:
    champion = context.run.champion
    return load_bundle(context.bundle(champion.bundle)).manifest.preparation.features.columns if champion else ()
