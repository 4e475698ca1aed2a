"""The champion a run was planned against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.core.errors import UsageError
from continuous_training.trainers.bundle import Bundle, load_bundle

if TYPE_CHECKING:
    from continuous_training.core.run import ChampionRef
    from continuous_training.steps.context import Context


def load_champion(context: Context, champion: ChampionRef) -> Bundle:
    """Return the champion's bundle.

    Raises
    ------
    UsageError
        The model file asks another question by now: the two cannot be compared, so neither may replace the other.
    """
    bundle = load_bundle(context.bundle(champion.bundle))
    task, answered = context.spec.task, bundle.manifest.task
    if (task.kind, task.label) != (answered.kind, answered.label):
        msg = (
            f"{context.spec.model} predicts {task.label} ({task.kind}) by now, but its champion, version {champion.version}, "
            f"predicts {answered.label} ({answered.kind}); the two cannot be compared. Give the new question a model file of "
            "its own; the champion keeps serving, a retry gives the same"
        )
        raise UsageError(msg)
    return bundle
