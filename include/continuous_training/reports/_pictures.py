"""Figures of a model card as PNG files, drawn by matplotlib."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.figure import Figure as Canvas

from continuous_training.reports.frame import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from continuous_training.reports.card import Explanation, Figure, ModelCard

_COLOURS = ("#0969a8", "#bc4c00", "#4d7c0f")
_QUIET = "#8c959f"
_NAME = 28
MOST_DRAWN = 2
"""Figures beside the importance: a picture takes a tenth of a second, and the page has them all."""


def pictures(card: ModelCard) -> dict[str, bytes]:
    """Return the first figures of a card, and the importance of features, as a PNG by file name."""
    drawn = {}
    with rc_context({"text.parse_math": False}):  # a name with dollar signs is no formula
        for figure in card.figures[:MOST_DRAWN]:
            canvas, axes = _canvas(figure.title, left=0.12)
            _draw(axes, figure)
            drawn[f"{figure.name}.png"] = _png(canvas)
        if card.explanation is not None:
            canvas, axes = _canvas("Importance of features", left=0.34)
            _importance(axes, card.explanation)
            drawn["importance.png"] = _png(canvas)
    return drawn


def _canvas(title: str, *, left: float) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(6, 4.2), dpi=110)
    axes: Axes = canvas.add_subplot()
    canvas.subplots_adjust(left=left, right=0.97, bottom=0.13, top=0.91)
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#d1d9e0", linewidth=0.8)
    axes.set_axisbelow(True)
    return canvas, axes


def _draw(axes: Axes, figure: Figure) -> None:
    for place, series in enumerate(figure.series):
        colour, width = _COLOURS[place], 0.8 / len(figure.series)
        if figure.style == "bars":
            axes.bar(
                [x - 0.4 + (place + 0.5) * width for x in series.x], series.y, width, color=colour, label=series.name
            )
            continue
        axes.plot(
            series.x, series.y, "o-" if figure.style == "points" else "-", color=colour, label=series.name, markersize=4
        )
        if series.low is not None and series.high is not None:
            axes.vlines(series.x, series.low, series.high, color=colour, linewidth=1)
    if figure.diagonal:
        axes.axline((0, 0), slope=1, color=_QUIET, linestyle="--", linewidth=1)
    for mark in figure.marks:
        axes.axvline(mark.x, color=_QUIET, linestyle=":", linewidth=1)
    if figure.ticks is not None:
        axes.set_xticks(range(len(figure.ticks)), [_text(tick) for tick in figure.ticks])
    axes.set_xlabel(figure.x_label)
    axes.set_ylabel(figure.y_label)
    axes.legend(frameon=False)


def _importance(axes: Axes, explanation: Explanation) -> None:
    features = explanation.features[::-1]
    places = range(len(features))
    compared = any(each.champion is not None for each in features)
    height = 0.4 if compared else 0.7
    axes.barh(
        [place + height / 2 * compared for place in places],
        [each.share for each in features],
        height,
        color=_COLOURS[0],
        label="challenger",
    )
    if compared:
        axes.barh(
            [place - height / 2 for place in places],
            [each.champion or 0 for each in features],
            height,
            color=_COLOURS[1],
            label="champion",
        )
        axes.legend(frameon=False)
    axes.set_yticks(places, [_text(each.feature) for each in features], fontsize=8)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("share of the importance")


def _text(name: str) -> str:
    return plain(name)[:_NAME]


def _png(canvas: Canvas) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name may have letters that the font has not
        canvas.savefig(buffer, format="png")
    return buffer.getvalue()
