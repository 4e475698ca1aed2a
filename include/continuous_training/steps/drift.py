"""Measure the drift of one window from the champion's reference and, where it drifted, from the same season before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.core.errors import DataInvalid
from continuous_training.core.window import Window
from continuous_training.steps.evaluate import ERROR, attributions, computed_columns, detector_key
from continuous_training.steps.looks import defects_of, look_at
from continuous_training.steps.references import reference_of
from continuous_training.triage import same_season

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from continuous_training.core.scores import DriftScore
    from continuous_training.core.task import Features, Task
    from continuous_training.detectors.base import Detector
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
    spec = context.spec
    measured = _measured(context, bundle, now)
    late = ripe is not now and any(_needs_labels(detector, spec.task) for detector in spec.drift)
    with_labels = _measured(context, bundle, ripe) if late else measured
    season = None if broken or spec.triage is None else spec.triage.season
    before: dict[Window, pd.DataFrame | str] = {}
    found: list[DriftScore] = []
    for detector in spec.drift:
        look, current = (ripe, with_labels) if _needs_labels(detector, spec.task) else (now, measured)
        scores = _scores(context, detector, look, current)
        if season and any(score.exceeded for score in scores):
            window = Window(start=look.window.start - season, end=look.window.end - season)
            if window not in before:
                before[window] = _before(context, bundle, window)
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


def _scores(context: Context, detector: Detector, look: Look, measured: pd.DataFrame) -> list[DriftScore]:
    """Return the scores of one detector: of all rows of the window where it counted in its parts, else of those kept."""
    features, champion = context.spec.features, context.run.champion
    assert champion is not None
    prepared = reference_of(context, detector, champion)
    tally = look.seen.tallies[detector_key(detector)] if look.seen else None
    if tally is None:
        return detector.score_slices(prepared, measured, features)
    return detector.measure_slices(prepared, tally, features)


def _before(context: Context, bundle: Bundle, window: Window) -> pd.DataFrame | str:
    """Return what detectors measure in a season's window, or why it says nothing."""
    try:
        look = look_at(context, bundle, window)
    except DataInvalid as error:  # data of long ago may have been written otherwise
        return str(error)
    if look.rows.empty:
        return "there are no rows"
    found = defects_of(context, look)
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
