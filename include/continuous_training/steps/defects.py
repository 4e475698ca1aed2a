"""Find what is broken in the data of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.steps.champion import usual

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.defects import Defect
    from continuous_training.core.run import ChampionRef
    from continuous_training.core.window import Window
    from continuous_training.steps.context import Context


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
