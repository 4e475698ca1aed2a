"""Measure the drift of one window from the champion's reference and, where it drifted, from the same season before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from continuous_training.core.errors import DataInvalid
from continuous_training.core.window import Window
from continuous_training.steps.champion import stored_arrays
from continuous_training.steps.evaluate import ERROR, PREDICTION, attributions, computed_columns, detector_key
from continuous_training.steps.looks import defects, look_at
from continuous_training.triage import same_season

if TYPE_CHECKING:
    from collections.abc import Sequence

    from continuous_training.core.run import ChampionRef
    from continuous_training.core.scores import DriftScore
    from continuous_training.core.task import Features, Task
    from continuous_training.detectors.base import Detector, Prepared
    from continuous_training.steps.context import Context
    from continuous_training.steps.lines import Look
    from continuous_training.trainers.bundle import Bundle

_LONGEST = 200


def drift_scores(
    context: Context, bundle: Bundle, now: Look, ripe: Look, *, broken: bool = False
) -> tuple[DriftScore, ...]:
    """Return the scores of all detectors, on the newest window or, where they need labels, on the one whose labels are ripe.

    The season before is read only when a score is beyond its threshold, and never for a `broken` window, which retrains
    nothing anyway.
    """
    spec, champion = context.spec, context.run.champion
    assert champion is not None
    measured = _measured(context, bundle, now)
    late = ripe is not now and any(_needs_labels(detector, spec.task) for detector in spec.drift)
    with_labels = _measured(context, bundle, ripe) if late else measured
    season = None if broken or spec.triage is None else spec.triage.season
    before: dict[Window, pd.DataFrame | str] = {}
    found: list[DriftScore] = []
    for detector in spec.drift:
        look, current = (ripe, with_labels) if _needs_labels(detector, spec.task) else (now, measured)
        scores = detector.score_slices(_prepared(context, detector, champion), current, spec.features)
        if season and any(score.exceeded for score in scores):
            window = Window(start=look.window.start - season, end=look.window.end - season)
            if window not in before:
                before[window] = _before(context, bundle, window, champion)
            scores = _compared(detector, scores, window, before[window], current, spec.features)
        found += scores
    return tuple(found)


def _measured(context: Context, bundle: Bundle, look: Look) -> pd.DataFrame:
    columns = computed_columns(look.y, look.prediction, context.spec.task, look.groups)
    return look.rows.assign(**columns, **attributions(context.spec, bundle, look.rows))


def _needs_labels(detector: Detector, task: Task) -> bool:
    columns = getattr(detector, "columns", ())
    named = {getattr(detector, "signal", None), *(() if columns == "all" else columns)}
    return not named.isdisjoint({ERROR, task.label})


def _prepared(context: Context, detector: Detector, champion: ChampionRef) -> Prepared:
    kept = stored_arrays(context, f"reference-{detector_key(detector)}", champion)
    if kept is not None:
        return kept
    # The detector was added or changed after this champion was trained: its rows are still kept.
    reference = pd.read_parquet(context.fetch("collect", "rows", champion.run_key))
    return detector.fit_slices(reference.assign(**{ERROR: np.nan, PREDICTION: np.nan}), context.spec.features)


def _before(context: Context, bundle: Bundle, window: Window, champion: ChampionRef) -> pd.DataFrame | str:
    """Return what detectors measure in a season's window, or why it says nothing."""
    try:
        look = look_at(context, bundle, window)
    except DataInvalid as error:  # data of long ago may have been written otherwise
        return str(error)
    if look.rows.empty:
        return "there are no rows"
    found = defects(context, look.rows, window, champion)
    return f"it is quarantined: {found[0].text}" if found else _measured(context, bundle, look)


def _compared(
    detector: Detector,
    scores: Sequence[DriftScore],
    window: Window,
    before: pd.DataFrame | str,
    current: pd.DataFrame,
    features: Features,
) -> list[DriftScore]:
    """Return the scores, those beyond their threshold with what the season before says of them."""
    season: dict[tuple[str | None, str], DriftScore] = {}
    why = before if isinstance(before, str) else "there are no such rows"
    if not isinstance(before, str):
        try:
            found = detector.score_slices(detector.fit_slices(before, features), current, features)
            season = {(score.column, score.slice): score for score in found}
        except DataInvalid as error:
            why = str(error)

    def told(score: DriftScore) -> DriftScore:
        other = season.get((score.column, score.slice))
        if other is None or other.value is None:
            reason = (other.note if other else why)[:_LONGEST]
            return score.model_copy(update={"note": f"not compared with the season before, {window}: {reason}"})
        return score.model_copy(update={"season": other.value, "seasonal": same_season(score, other)})

    return [told(score) if score.exceeded else score for score in scores]
