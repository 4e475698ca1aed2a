"""Refit a model on the rows just before a window, and measure by how much it beats the champion on the window."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from continuous_training.core.digest import digest
from continuous_training.core.errors import DataInvalid
from continuous_training.core.run import ChampionRef, Run
from continuous_training.core.scores import ShadowScore
from continuous_training.steps import TRAIN_STEPS, run_step
from continuous_training.trainers.bundle import load_bundle
from continuous_training.trainers.preparation import encode_label

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd
    from numpy.typing import NDArray

    from continuous_training.core.window import Window
    from continuous_training.spec import ModelSpec
    from continuous_training.steps.context import Context
    from continuous_training.trainers.bundle import Bundle

REFIT_STEPS = TRAIN_STEPS[: TRAIN_STEPS.index("train") + 1]


def shadow_run(
    spec: ModelSpec, end: datetime, *, quarantined: tuple[Window, ...] = (), champion: ChampionRef | None = None
) -> Run:
    """Return the run that refits the model on the reference window that ends at `end`, without a search.

    It has no place in the ledger, and no champion: what it makes depends on the model file and the rows only, so that
    every look, and every replayed policy, shares it. Where windows are quarantined, their rows are left out as in a
    training, unless they look as usual to the champion by then; the champion is part of such a run.
    """
    window = spec.window.reference_window(end)
    identity: dict[str, object] = {"model": spec.model, "spec": spec.digest, "window": str(window), "shadow": True}
    champion = champion if quarantined else None
    if champion:
        identity |= {"quarantined": [str(one) for one in quarantined], "champion": champion.bundle}
    key = digest(identity)
    return Run(
        model=spec.model,
        kind="train",
        key=key,
        as_of=end + spec.task.label_delay,
        window=window,
        spec_digest=spec.digest,
        trials=0,
        champion=champion,
        quarantined=quarantined,
    )


def refit(context: Context, end: datetime) -> Bundle:
    """Return the model refitted on the reference window that ends at `end`; done before, it is read back."""
    spec, within = context.spec, context.spec.window.reference_window(end)
    broken = tuple(one for one in context.run.quarantined if one.start < within.end and one.end > within.start)
    run = shadow_run(spec, end, quarantined=broken, champion=context.run.champion)
    for name in REFIT_STEPS:
        run_step(name, context.spec, run, context.settings)
    refitted = replace(context, run=run)
    return load_bundle(refitted.bundle(refitted.manifest("train")["outputs"]["bundle"]))


def shadow_score(
    context: Context, rows: pd.DataFrame, champion: Bundle, prediction: NDArray[np.float64]
) -> ShadowScore:
    """Return the gain of the refitted model on the rows of the run's window whose labels are known.

    The gain is in log loss for classification, in squared error over the label's variance for regression, and in
    1 - NDCG@10 by group for ranking.
    """
    spec, start = context.spec, context.run.window.start
    try:
        shadow = refit(context, start)
    except DataInvalid as error:
        return ShadowScore(trained_until=start, note=f"no model could be refitted: {error}"[:500])
    if shadow.manifest.classes != champion.manifest.classes:
        return ShadowScore(trained_until=start, note="the refitted model has other classes than the champion")
    from continuous_training import performance
    from continuous_training.steps.evaluate import groups_of

    y, _ = encode_label(rows[spec.task.label], spec.task, champion.manifest.classes)
    groups = groups_of(rows, spec.task)
    lost, kept = (
        performance.row_losses(y, predicted, spec.task.kind, groups=groups)
        for predicted in (prediction, shadow.predict(rows))
    )
    gains = (lost - kept)[np.isfinite(lost - kept)]
    if gains.size < FEWEST:
        return ShadowScore(trained_until=start, rows=gains.size, note=f"{gains.size} rows with a label are too few")
    noise = float(gains.std(ddof=1) / np.sqrt(gains.size))
    return ShadowScore(gain=float(gains.mean()), error=noise, rows=gains.size, trained_until=start)


FEWEST = 20
