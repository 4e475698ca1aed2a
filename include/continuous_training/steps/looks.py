"""Look at the rows of one window: what the champion makes of them, and whether the data is broken there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.steps.collect import read_rows
from continuous_training.steps.defects import defects
from continuous_training.steps.evaluate import groups_of
from continuous_training.steps.lines import Look
from continuous_training.steps.parts import see
from continuous_training.trainers.preparation import encode_label

if TYPE_CHECKING:
    from continuous_training.core.defects import Defect
    from continuous_training.core.window import Window
    from continuous_training.steps.context import Context
    from continuous_training.trainers.bundle import Bundle


def look_at(context: Context, bundle: Bundle, window: Window) -> Look:
    """Return the rows of a window, or some of them where it is read in parts, with what the champion makes of them."""
    task = context.spec.task
    seen = see(context, window) if context.spec.window.part else None
    rows = seen.sample.rows if seen else read_rows(context.within(window))
    y, _ = encode_label(rows[task.label], task, bundle.manifest.classes)
    return Look(window, rows, y, bundle.predict(rows), groups_of(rows, task), seen=seen)


def look_back(context: Context, bundle: Bundle, window: Window) -> Look:
    """Return the look at a window before the run's, without rows where these would say nothing of the champion."""
    champion = context.run.champion
    assert champion is not None
    look = look_at(context, bundle, window)
    if window.end <= champion.data_cutoff:
        return look.emptied(
            f"the champion was made from this window, its data end {champion.data_cutoff:%Y-%m-%d %H:%MZ}"
        )
    found = defects_of(context, look)
    return look.emptied(f"the window is quarantined: {found[0].text}") if found else look


def defects_of(context: Context, look: Look) -> tuple[Defect, ...]:
    """Return the faults that the rows of a look show against the champion's."""
    champion = context.run.champion
    assert champion is not None
    return look.seen.defects if look.seen else defects(context, look.rows, look.window, champion)
