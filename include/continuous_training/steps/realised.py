"""Measure by how much the champion beats the one that it replaced: what the retraining between them has brought."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training import performance
from continuous_training.core.errors import Permanent
from continuous_training.core.scores import Estimate, RealisedGain
from continuous_training.steps.champion import load_champion
from continuous_training.steps.evaluate import aligned, groups_of
from continuous_training.trainers.preparation import encode_label

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.spec import ModelSpec
    from continuous_training.steps.context import Context
    from continuous_training.trainers.bundle import Bundle


def realised_gain(context: Context, rows: pd.DataFrame, champion: Bundle) -> RealisedGain | None:
    """Return the champion's gain on the rows of the run's window, or why there is none; a look never fails for it."""
    spec, run = context.spec, context.run
    if run.champion is None or run.replaced is None:
        return None
    try:
        difference = gain(spec, rows, champion, load_champion(context, run.replaced))
    except Permanent as error:  # its bundle was removed, or it answers another question
        difference = Estimate(metric=spec.promotion.metric, note=f"the champion before cannot be asked: {error}"[:500])
    return RealisedGain(fence=run.champion.fence, against=run.replaced.fence, difference=difference)


def gain(spec: ModelSpec, rows: pd.DataFrame, new: Bundle, old: Bundle) -> Estimate:
    """Return by how much one bundle is better than another on the same rows, with the comparison of the promotion gate."""
    metric = spec.promotion.metric
    if lacking := sorted({*old.manifest.preparation.features.columns} - {*rows.columns}):
        return Estimate(metric=metric, note=f"the champion before needs {lacking[0]}, which is not read any more")
    y, _ = encode_label(rows[spec.task.label], spec.task, new.manifest.classes)
    compared = performance.compare(
        spec.metric(metric),
        y,
        new.predict(rows),
        aligned(old, old.predict(rows), new),
        groups=groups_of(rows, spec.task),
        slices={},
        confidence=spec.promotion.confidence,
        resamples=spec.promotion.resamples,
        seed=spec.seed,
        all_metrics=(),
    )
    assert compared.difference is not None
    return compared.difference
