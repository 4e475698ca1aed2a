"""The part of a model card's page that says which features predictions come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.reports.chart import COLOURS, Chart, around, label
from continuous_training.reports.frame import MOST_TOLD, Table, name, number, paragraph, percent, text

if TYPE_CHECKING:
    from continuous_training.reports.card import Explanation, Interaction

_NAME = 32


def explanation(told: Explanation) -> str:
    """Return importance, by slice too, its shift against the champion, and the strongest interactions."""
    method = f"{text(told.method, MOST_TOLD)} Measured on {told.rows:,} hold-out rows."
    others = f" {told.others:,} less important features are not named." if told.others else ""
    parts = [f"<figure>{_bars(told)}<figcaption>{method}{others}</figcaption></figure>"]
    if told.shift is not None:
        parts.append(paragraph(f"{percent(told.shift)} of the importance lies on other features than the champion's."))
    parts.append(_slices(told))
    parts.append(_interactions(told.interactions))
    return "".join(parts)


def _bars(told: Explanation) -> str:
    rows = told.features
    compared = any(each.champion is not None for each in rows)
    step = 26 if compared else 20
    chart = Chart(
        around([max(each.share, each.champion or 0) for each in rows], include=0),
        (0, 1),
        width=880,
        height=30 + step * len(rows),
        left=260,
        right=170 if compared else 60,
    )
    start = chart.x(0)
    parts = [chart.legend([("challenger", COLOURS[0]), ("champion", COLOURS[1])][: 1 + compared])]
    for place, each in enumerate(rows):
        top, told_of = 28 + step * place, percent(each.share)
        shown = each.feature if len(each.feature) <= _NAME else f"{each.feature[: _NAME - 3]}..."
        parts.append(label(start - 8, top + 12, shown, anchor="end"))
        parts.append(chart.level(each.share, top, 9 if compared else 14, COLOURS[0]))
        if each.champion is not None:
            parts.append(chart.level(each.champion, top + 11, 9, COLOURS[1]))
            told_of += f", champion {percent(each.champion)}"
        parts.append(label(chart.x(max(each.share, each.champion or 0)) + 6, top + 13, told_of, quiet=True))
    numbers = "; ".join(f"{each.feature[:_NAME]} {percent(each.share)}" for each in rows)
    return chart.svg(parts, "importance", "Importance of features", numbers)


def _slices(told: Explanation) -> str:
    rows = [
        (
            name(f"{part.column}={part.value}"),
            f"{part.rows:,}",
            ", ".join(f"{name(each.feature)} {percent(each.share)}" for each in part.features),
        )
        for part in told.slices
    ]
    return Table("The most important features on each slice.", ("slice", "rows", "features"), rows, words=True).html()


def _interactions(found: tuple[Interaction, ...]) -> str:
    rows = [
        (
            f"{name(each.features[0])} and {name(each.features[1])}",
            number(each.strength),
            "&ndash;" if each.share is None else percent(each.share),
        )
        for each in found
    ]
    told = (
        "Strongest interactions: by how much a pair moves the raw score otherwise than its two features alone (root mean square), "
        "and that as a share of what the pair moves, Friedman's H squared."
    )
    return Table(told, ("pair", "strength", "H squared"), rows).html()
