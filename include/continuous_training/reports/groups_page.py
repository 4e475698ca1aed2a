"""The part of a model card's page that says how groups of people are served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.reports.frame import MOST_TOLD, Table, interval, name, number, text

if TYPE_CHECKING:
    from continuous_training.core.comparison import Comparison
    from continuous_training.core.fairness import Disparity, Group

_MEASURES = {
    "metric": "challenger",
    "champion": "champion",
    "selection_rate": "selection rate",
    "true_positive_rate": "true positive rate",
    "false_positive_rate": "false positive rate",
}


def groups(comparison: Comparison) -> str:
    """Return the numbers of each group of a sensitive column, and the limits of fairness."""
    rows = [_group(group) for group in comparison.groups]
    used = [key for key in _MEASURES if any(row[key] for row in rows)]
    cells = [(row["group"], row["rows"], *(row[key] or number(None) for key in used)) for row in rows]
    told = f"{comparison.metric} of both models and rates of the challenger, with intervals, on the hold-out rows of each group."
    head = ("group", "rows", *(_MEASURES[key] for key in used))
    return Table(told, head, cells).html() + _disparities(comparison)


def _group(group: Group) -> dict[str, str]:
    challenger, champion = group.challenger, group.champion
    rates = {
        key: interval(estimate)
        for key in ("selection_rate", "true_positive_rate", "false_positive_rate")
        if challenger is not None and (estimate := getattr(challenger, key)) is not None
    }
    return {
        "group": name(f"{group.column}={group.value}"),
        "rows": f"{group.rows:,}{'' if group.judged else ' (too few to judge)'}",
        "metric": interval(challenger.metric) if challenger else "",
        "champion": interval(champion.metric) if champion else "",
    } | {key: rates.get(key, "") for key in ("selection_rate", "true_positive_rate", "false_positive_rate")}


def _disparities(comparison: Comparison) -> str:
    before = {(each.measure, each.column): each for each in comparison.champion_disparities}
    rows = [
        (
            text(each.measure.replace("_", " ")),
            name(each.column),
            interval(each.estimate),
            interval(champion.estimate) if (champion := before.get((each.measure, each.column))) else number(None),
            _limit(each),
            text(each.text, MOST_TOLD),
        )
        for each in comparison.disparities
    ]
    head = ("limit of fairness", "column", "challenger", "champion", "allowed", "groups behind it")
    return Table("The intervals hold for all groups of a column at once.", head, rows, words=True).html()


def _limit(disparity: Disparity) -> str:
    if disparity.below is not None:
        return f"at least {number(disparity.below)}"
    return "" if disparity.above is None else f"at most {number(disparity.above)}"
