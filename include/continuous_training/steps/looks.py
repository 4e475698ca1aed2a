"""Look at the rows of one window: what the champion makes of them, and whether the data is broken there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from continuous_training.steps.champion import usual
from continuous_training.steps.collect import read_rows
from continuous_training.steps.evaluate import groups_of
from continuous_training.steps.lines import Look
from continuous_training.trainers.preparation import encode_label

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.defects import Defect
    from continuous_training.core.run import ChampionRef
    from continuous_training.core.window import Window
    from continuous_training.steps.context import Context
    from continuous_training.trainers.bundle import Bundle


def at(context: Context, window: Window) -> Context:
    """Return the context of the same run in another window."""
    return replace(context, run=context.run.model_copy(update={"window": window}))


def look_at(context: Context, bundle: Bundle, window: Window) -> Look:
    """Return the rows of a window with what the champion makes of them."""
    task = context.spec.task
    rows = read_rows(at(context, window))
    y, _ = encode_label(rows[task.label], task, bundle.manifest.classes)
    return Look(window, rows, y, bundle.predict(rows), groups_of(rows, task))


def look_back(context: Context, bundle: Bundle, window: Window) -> Look:
    """Return the look at a window before the run's, without rows where these would say nothing of the champion."""
    champion = context.run.champion
    assert champion is not None
    look = look_at(context, bundle, window)
    if window.end <= champion.data_cutoff:
        return look.emptied(
            f"the champion was made from this window, its data end {champion.data_cutoff:%Y-%m-%d %H:%MZ}"
        )
    found = defects(context, look.rows, window, champion)
    return look.emptied(f"the window is quarantined: {found[0].text}") if found else look


def defects(context: Context, rows: pd.DataFrame, window: Window, champion: ChampionRef) -> tuple[Defect, ...]:
    """Return the faults that the rows of a window show against the champion's; none where triage is off."""
    spec = context.spec
    if spec.triage is None:
        return ()
    profile = usual(context, spec.triage, champion)
    found = spec.triage.examine(profile, rows, window, spec.task, spec.features)
    # Rows that the champion was made from are its own and no copies of them.
    own = window.start < champion.data_cutoff
    return tuple(one for one in found if not (own and one.kind == "duplicate_replay"))
