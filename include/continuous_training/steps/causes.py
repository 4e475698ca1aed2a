"""Tell why the quality of the champion changed: from its hold-out to the window in which a rule's limit is crossed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from continuous_training.causes import Asked, Rows
from continuous_training.core.causes import CauseCard
from continuous_training.trainers.bundle import load_bundle
from continuous_training.trainers.preparation import encode_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from continuous_training.core.run import ChampionRef
    from continuous_training.core.scores import Line, PerformanceScore
    from continuous_training.steps.context import Context
    from continuous_training.steps.lines import Look
    from continuous_training.trainers.bundle import Bundle

HOLD_OUT = "hold_out"
"""Name under which the evaluation keeps some rows that the model was judged on."""
MOST_KEPT = 5_000


def cause_cards(
    context: Context, bundle: Bundle, looks: Mapping[Line, Look], performance: Sequence[PerformanceScore]
) -> tuple[CauseCard, ...]:
    """Return a card for each metric and line of all rows whose limit was crossed, or that the model file wants told."""
    spec, champion = context.spec, context.run.champion
    wanted = {
        (score.line, score.estimate.metric): None
        for score in performance
        if score.limited
        and not score.slice
        and score.line != "estimated"
        and (score.exceeded or (spec.causes.when == "always" and score.exceeded is not None))
    }
    if not wanted or champion is None or spec.causes.when == "never" or spec.task.kind == "ranking":
        return ()
    judged, kept = _hold_out(context, champion)
    preparation = judged.manifest.preparation
    y, _ = encode_label(kept[spec.task.label], spec.task, judged.manifest.classes)
    reference = Rows(preparation.transform(kept), y, judged.predict(kept))
    refitted = judged.manifest.digests != bundle.manifest.digests
    found = []
    for line, metric in wanted:
        look = looks[line]
        rows = Rows(
            preparation.transform(look.rows),
            look.y,
            judged.predict(look.rows) if refitted else look.prediction,
            look.prediction if refitted else None,
        )
        asked = Asked(spec.metric(metric), look.window, spec.promotion.confidence, spec.seed)
        card = spec.causes.explain(reference, rows, preparation.features, judged.estimator.predict, asked)
        found.append(card.model_copy(update={"line": line}))
    return tuple(found)


def kept_rows(judged: pd.DataFrame) -> bytes:
    """Return at most 5,000 of the rows that a model is judged on, evenly spaced, as Parquet."""
    chosen = np.unique(np.linspace(0, max(0, len(judged) - 1), MOST_KEPT).astype(np.intp))[: len(judged)]
    found: bytes = judged.iloc[chosen].to_parquet(index=False)
    return found


def _hold_out(context: Context, champion: ChampionRef) -> tuple[Bundle, pd.DataFrame]:
    """Return the champion as it was judged, and rows that it was judged on."""
    trained = context.manifest("train", champion.run_key)["outputs"]
    judged = load_bundle(context.bundle(trained.get("judged", trained["bundle"])))
    kept = context.manifest("evaluate", champion.run_key)["outputs"].get(HOLD_OUT)
    if kept is not None:
        return judged, pd.read_parquet(io.BytesIO(context.store.get(kept)))
    # This champion was judged before such rows were kept; all that it was made from are.
    rows = pd.read_parquet(context.fetch("collect", "rows", champion.run_key))
    since = pd.Timestamp(context.manifest("prepare", champion.run_key)["facts"]["hold_out_from"])
    task = context.spec.task
    return judged, rows[rows[task.label].notna() & (rows[task.event_time] >= since)]
