"""How the rows of a champion are distributed, and the drift report that puts a window beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from continuous_training.detectors import COMPUTED_COLUMNS
from continuous_training.reports import _distributions
from continuous_training.reports.distribution import ColumnKind, DriftReport, Profile

if TYPE_CHECKING:
    from continuous_training.core.run import ChampionRef
    from continuous_training.core.scores import DriftScore
    from continuous_training.reports._distributions import Tally
    from continuous_training.steps.context import Context

PROFILE = "profile"
PREDICTION = COMPUTED_COLUMNS[0]


def profile(context: Context, rows: pd.DataFrame) -> Profile:
    """Return how the rows of the run's window are distributed, with what was predicted of them where that is known."""
    spec, run = context.spec, context.run
    kinds: dict[str, ColumnKind] = dict.fromkeys(spec.features.numeric, "numeric")
    kinds |= dict.fromkeys(spec.features.categorical, "categorical")
    kinds[spec.task.label] = "categorical" if spec.task.kind == "classification" else "numeric"
    columns = _distributions.profile(rows, kinds)
    if PREDICTION in rows.columns:
        predicted = rows[rows[PREDICTION].notna()]
        # the probability of one of two classes, the value, or the likeliest of several classes
        kind: ColumnKind = "numeric" if predicted[PREDICTION].dtype.kind == "f" else "categorical"
        columns += _distributions.profile(predicted, {PREDICTION: kind})
    return Profile(model=spec.model, window=run.window, rows=len(rows), columns=columns)


def profile_of(context: Context, champion: ChampionRef) -> Profile:
    """Return the profile of the champion's rows, as its evaluation kept it or made now of the rows that were kept."""
    kept = context.manifest("evaluate", champion.run_key)["outputs"].get(PROFILE)
    if kept is not None:
        return Profile.model_validate_json(context.store.get(kept))
    # It was evaluated by a version that kept none.
    rows = pd.read_parquet(context.fetch("collect", "rows", champion.run_key))
    reference = context.spec.window.reference_window(champion.data_cutoff)
    return profile(context.within(reference), rows)


def count(profile: Profile, rows: pd.DataFrame) -> Tally:
    """Return what a report needs to know of some rows of a window; what it returns of parts adds up with `+`."""
    return _distributions.tally(profile.columns, rows)


def drift_report(context: Context, profile: Profile, counted: Tally, scores: tuple[DriftScore, ...]) -> DriftReport:
    """Return the report of the run's window; the label is part of it once there is one."""
    spec, run, label = context.spec, context.run, context.spec.task.label
    champion = run.champion
    assert champion is not None
    columns = _distributions.compared(profile.columns, counted)
    return DriftReport(
        model=spec.model,
        window=run.window,
        reference=profile.window,
        as_of=run.as_of,
        champion=champion.version,
        rows=counted.rows,
        columns=tuple(each for each in columns if each.name != label or each.current.missing < 1),
        scores=scores,
    )
