"""Count what people told of the predictions that a champion answered in a window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from continuous_training.core.feedback import FeedbackScore, share_bounds
from continuous_training.core.prediction_log import SHADOW, log_folder
from continuous_training.core.scores import Estimate

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.policies.feedback import FeedbackRule
    from continuous_training.steps.context import Context


def feedback_scores(context: Context) -> tuple[FeedbackScore, ...]:
    """Return the scores of each rule, one for each value of its column that has enough predictions."""
    return tuple(score for rule in context.spec.feedback for score in _scores(context, rule))


def _scores(context: Context, rule: FeedbackRule) -> list[FeedbackScore]:
    placed = {"rule": rule.signal, "above": rule.above, "windows": rule.windows}

    def nothing(note: str) -> list[FeedbackScore]:
        return [FeedbackScore(estimate=Estimate(metric=rule.kind, note=note), **placed)]

    folder = log_folder(Path(context.settings.home), context.spec.model)
    if not folder.is_dir():
        return nothing(f"there is no prediction log in {folder}")
    rows = _answered(context, folder, rule.kind)
    if rule.by is not None and rule.by not in rows:
        return nothing(f"the prediction log does not keep {rule.by}" if len(rows) else "the champion answered nothing")
    told = rows["ct_outcome"].map(_given)
    groups = (
        {"": told} if rule.by is None else {f"{rule.by}={value}": part for value, part in told.groupby(rows[rule.by])}
    )
    judged = {where: part for where, part in groups.items() if len(part) >= rule.rows}
    if not judged:
        return nothing(
            f"{len(rows)} predictions, and {'no' if rule.by else 'the'} {rule.by or 'window'} has {rule.rows}"
        )
    # All groups at once hold with the confidence (Bonferroni).
    confidence = 1 - (1 - context.spec.promotion.confidence) / len(judged)
    found = []
    for where, part in judged.items():
        low, high = share_bounds(int(part.sum()), len(part), confidence)
        estimate = Estimate(metric=rule.kind, value=float(part.mean()), low=low, high=high, rows=len(part))
        found.append(FeedbackScore(estimate=estimate, slice=where, **placed))
    return found


def _answered(context: Context, folder: Path, kind: str) -> pd.DataFrame:
    """Return the predictions that clients had from the champion in the run's window, with what was told of them by then."""
    from continuous_training.sources import _predictions

    champion = context.run.champion
    assert champion is not None
    rows = _predictions.join(folder, kind, context.run.window, context.run.as_of)
    return rows[(rows["ct_version"] == champion.version) & (rows["ct_reason"] != SHADOW)]


def _given(outcome: object) -> bool:
    """Tell whether there is feedback: an outcome that is not false, zero or missing."""
    return bool(outcome) and outcome == outcome  # noqa: PLR0124 - NaN is not itself
