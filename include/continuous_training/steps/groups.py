"""Measure models on the groups of the sensitive columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from continuous_training import fairness

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from continuous_training.core.comparison import Comparison
    from continuous_training.core.fairness import Disparity, Group
    from continuous_training.core.run import Run
    from continuous_training.spec import ModelSpec
    from continuous_training.steps.lines import Look


def compared_on_groups(
    spec: ModelSpec,
    comparison: Comparison,
    rows: pd.DataFrame,
    y: NDArray[np.float64],
    challenger: NDArray[np.float64],
    champion: NDArray[np.float64] | None,
) -> Comparison:
    """Return the comparison with both models measured on each group; as it is where the model file names no sensitive column."""
    ranked = None if spec.task.group is None else rows[spec.task.group].to_numpy()
    groups, disparities = _measured(spec, rows, y, challenger, ranked, "challenger")
    before: tuple[Disparity, ...] = ()
    if champion is not None:
        others, before = _measured(spec, rows, y, champion, ranked, "champion")
        groups = fairness.paired(groups, others)
    found = {"groups": groups, "disparities": disparities, "champion_disparities": before}
    return comparison.model_copy(update=found)


def scored_on_groups(spec: ModelSpec, run: Run, look: Look) -> dict[str, tuple[Any, ...]]:
    """Return the champion's part of the evidence on the groups of a window whose labels are known."""
    groups, disparities = _measured(spec, look.rows, look.y, look.prediction, look.groups, "champion")
    update: dict[str, object] = {} if look.window == run.window else {"window": look.window}

    def placed(disparity: Disparity) -> Disparity:
        estimate = disparity.estimate.model_copy(update={"note": look.note} if look.note else {})
        return disparity.model_copy(update=update | {"estimate": estimate})

    return {"groups": groups, "disparities": tuple(map(placed, disparities))}


def _measured(
    spec: ModelSpec,
    rows: pd.DataFrame,
    y: NDArray[np.float64],
    prediction: NDArray[np.float64],
    ranked: NDArray[Any] | None,
    model: Literal["champion", "challenger"],
) -> tuple[tuple[Group, ...], tuple[Disparity, ...]]:
    if spec.fairness is None:
        return (), ()
    return fairness.measure(
        spec.fairness,
        spec.group_metric,
        y,
        prediction,
        {name: rows[name].to_numpy() for name in spec.fairness.sensitive},
        model=model,
        ranked=ranked,
        confidence=spec.promotion.confidence,
        resamples=spec.promotion.resamples,
        seed=spec.seed,
    )
