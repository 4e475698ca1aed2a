"""The champion a run was planned against."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from continuous_training.core.digest import digest
from continuous_training.core.errors import UsageError
from continuous_training.trainers.bundle import Bundle, load_bundle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from continuous_training.core.run import ChampionRef
    from continuous_training.core.task import Features
    from continuous_training.steps.context import Context
    from continuous_training.triage import Triage


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


def stored_arrays(context: Context, name: str, champion: ChampionRef) -> dict[str, NDArray[Any]] | None:
    """Return the arrays that the champion's evaluation kept under `name`, or `None` when it kept none."""
    import numpy as np

    kept = context.manifest("evaluate", champion.run_key)["outputs"].get(name)
    if kept is None:
        return None
    with np.load(io.BytesIO(context.store.get(kept)), allow_pickle=False) as arrays:
        return dict(arrays)


def usual(context: Context, triage: Triage, champion: ChampionRef) -> dict[str, NDArray[Any]]:
    """Return the triage's profile of the champion's rows.

    When the triage or the features were changed after that champion was trained, it is made of the rows that were kept.
    """
    import pandas as pd

    spec = context.spec
    kept = stored_arrays(context, triage_key(triage, spec.features), champion)
    if kept is not None:
        return kept
    reference = pd.read_parquet(context.fetch("collect", "rows", champion.run_key))
    return triage.fit(reference, spec.task, spec.features)


def triage_key(triage: Triage, features: Features) -> str:
    """Return the name under which the triage's profile of the reference, for these features, is kept."""
    return f"usual-{digest([part.model_dump(mode='json') for part in (triage, features)])[:12]}"
