"""Say what moved the predictions of a request, as numbers or in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from continuous_training.core.reasons import reasons, shown
from continuous_training.serving.asked import MAX_EXPLAINED, Contributions, Why, check_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from continuous_training.serving.asked import Asked
    from continuous_training.trainers.bundle import Bundle, Prediction


def explained(bundle: Bundle, asked: Asked, predictions: Sequence[Prediction]) -> Why | None:
    """Return what is asked of why the rows have these predictions; `None` when there are no rows.

    Raises
    ------
    DataInvalid
        The model cannot tell.
    TooManyRows
        More than 1,000 rows.
    """
    if not asked.rows:
        return None
    check_rows(asked.rows, MAX_EXPLAINED)
    names = bundle.manifest.preparation.features.columns
    given = asked.columns(names)
    told = bundle.contributions(given)
    data: list[Any] = told[..., :-1].tolist()
    contributions = Contributions(names, data, told[..., -1].tolist()) if asked.contributions else None
    if not asked.reasons:
        return Why(contributions, None)
    sentences = []
    for row, (prediction, parts) in enumerate(zip(predictions, data, strict=True)):
        values = [given[name][row] for name in names]
        if isinstance(prediction, list):
            likeliest = max(range(len(prediction)), key=prediction.__getitem__)
            of = shown(bundle.manifest.classes[likeliest])
            sentences.append(f"class {of}: {reasons(names, values, parts[likeliest])}")
        else:
            sentences.append(reasons(names, values, parts))
    return Why(contributions, sentences)
