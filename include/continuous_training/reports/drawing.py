"""The figures of a report as parts of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.reports.chart import COLOURS, Chart, Point, around, label
from continuous_training.reports.frame import MOST_TOLD, Table, name, number, percent, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from continuous_training.reports.card import Figure, Series
    from continuous_training.reports.distribution import DriftColumn

_SHARE = (0.0, 1.0)
_MOST_NUMBERS = 21
_MOST_TICKS = 8
_NAME = 20


def drawn(figure: Figure) -> str:
    """Return a figure with its caption and, folded, its numbers."""
    chart = Chart(*_spans(figure))
    ticks = None if figure.ticks is None else list(enumerate(figure.ticks))
    parts = [chart.axes(figure.x_label, figure.y_label, ticks)]
    if figure.diagonal:
        low, high = max(chart.across[0], chart.up[0]), min(chart.across[1], chart.up[1])
        parts.append(chart.line([(low, low), (high, high)], "var(--axis)", dash="4 4", width=1.5))
    for mark in figure.marks:
        parts.append(chart.line([(mark.x, chart.up[0]), (mark.x, chart.up[1])], "var(--axis)", dash="2 3", width=1.5))
        parts.append(label(chart.x(mark.x) + 5, chart.top + 12, mark.text, quiet=True))
    for place, series in enumerate(figure.series):
        parts.append(_series(chart, figure, series, place))
    parts.append(chart.legend([(series.name, COLOURS[place]) for place, series in enumerate(figure.series)]))
    picture = chart.svg(parts, f"figure-{figure.name}", figure.title, figure.text)
    return (
        f"<figure><h3>{name(figure.title)}</h3>{picture}<figcaption>{text(figure.text, MOST_TOLD)}"
        f"{f' Dashed: {name(figure.diagonal)}.' if figure.diagonal else ''}</figcaption>"
        f"<details><summary>Numbers</summary>{_numbers(figure)}</details></figure>"
    )


def _spans(figure: Figure) -> tuple[tuple[float, float], tuple[float, float]]:
    xs = [x for series in figure.series for x in series.x]
    ys = [y for series in figure.series for part in (series.y, series.low or (), series.high or ()) for y in part]
    if figure.style == "bars":
        return (-0.5, len(figure.ticks or xs) - 0.5), around(ys, include=0)
    if figure.unit and all(0 <= value <= 1 for value in (*xs, *ys)):
        return _SHARE, _SHARE
    if figure.diagonal:
        return (both := around([*xs, *ys])), both
    return around([min(xs), max(xs)]) if figure.style == "points" else (min(xs), max(xs)), around(ys, include=0)


def _series(chart: Chart, figure: Figure, series: Series, place: int) -> str:
    colour, points = COLOURS[place], list(zip(series.x, series.y, strict=True))
    if figure.style == "bars":
        width = 0.8 / len(figure.series)
        return "".join(
            chart.bar(x - 0.4 + place * width, x - 0.4 + (place + 0.95) * width, y, colour) for x, y in points
        )
    parts = [chart.line(points, colour)]
    if series.low is not None and series.high is not None:
        whiskers = zip(series.x, series.low, series.high, strict=True)
        parts += [chart.line([(x, low), (x, high)], colour, width=1) for x, low, high in whiskers]
    if figure.style == "points":
        parts += [chart.dot(point, colour) for point in points]
    return "".join(parts)


def _numbers(figure: Figure) -> str:
    rows = []
    for series in figure.series:
        step = max(1, -(-len(series.x) // _MOST_NUMBERS))
        for place in range(0, len(series.x), step):
            x = series.x[place] if figure.ticks is None else figure.ticks[place]
            between = ""
            if series.low is not None and series.high is not None:
                between = f"{number(series.low[place])} to {number(series.high[place])}"
            told = name(x) if isinstance(x, str) else number(x)
            rows.append((name(series.name), told, number(series.y[place]), between))
    head = ("model", figure.x_label, figure.y_label, "interval")
    with_interval = any(row[3] for row in rows)
    return Table(figure.title, head[: 3 + with_interval], [row[: 3 + with_interval] for row in rows]).html()


def distribution(column: DriftColumn, key: str) -> str:
    """Return the reference's and the window's distribution of a column, one over the other."""
    reference, current = column.reference, column.current
    told = f"{column.name[:_NAME]}: {percent(column.distance)} of the rows lie elsewhere than in the reference."
    if column.kind == "numeric" and reference.edges is not None:
        picture = _bins(column, key, told)
    elif reference.categories:
        picture = _categories(column, key, told)
    else:
        picture = "<p class='quiet'>The reference has no value here, so there is nothing to draw.</p>"
    notes = [f"Missing {percent(reference.missing)}, now {percent(current.missing)}."]
    if column.outside:
        notes.append(
            f"{percent(column.outside)} of the values lie beyond the axis and are counted in its outermost bins."
        )
    if column.new_categories:
        shown = ", ".join(text(each, 40) for each in column.new_categories[:5])
        more = len(column.new_categories) - 5
        notes.append(f"New categories: {shown}{f' and {more} or more' if more > 0 else ''}.")
    return f"<figure><h3>{name(column.name)}</h3>{picture}<figcaption>{' '.join(notes)}</figcaption></figure>"


def _bins(column: DriftColumn, key: str, told: str) -> str:
    edges = column.reference.edges or ()
    shares = (*column.reference.shares, *column.current.shares)
    chart = Chart((edges[0], edges[-1]), around(shares, include=0), height=200, bottom=26)
    before, now = (_outline(edges, shares) for shares in (column.reference.shares, column.current.shares))
    parts = [chart.axes("", "share of rows"), chart.area(before, "var(--axis)", opacity=0.4)]
    parts.append(chart.line(now, COLOURS[0]))
    parts.append(chart.legend([("reference", "var(--axis)"), ("window", COLOURS[0])]))
    return chart.svg(parts, key, column.name[:_NAME], told)


def _outline(edges: Sequence[float], shares: Sequence[float]) -> list[Point]:
    tops = [point for at, share in enumerate(shares) for point in ((edges[at], share), (edges[at + 1], share))]
    return [(edges[0], 0.0), *tops, (edges[-1], 0.0)]


def _categories(column: DriftColumn, key: str, told: str) -> str:
    """Draw bars from left to right, for names of categories are long."""
    names = column.reference.categories or ()
    rows = [row for row in zip(names, column.reference.shares, column.current.shares, strict=True) if row[1] or row[2]]
    if not rows:
        return "<p class='quiet'>Neither has a value here.</p>"
    chart = Chart(
        around([max(row[1:]) for row in rows], include=0), (0, 1), height=34 + 20 * len(rows), left=130, right=56
    )
    parts = [chart.legend([("reference", "var(--axis)"), ("window", COLOURS[0])])]
    start = chart.x(0)
    for place, (category, before, now) in enumerate(rows):
        top = 28 + 20 * place
        shown = category if len(category) <= _NAME else f"{category[: _NAME - 3]}..."
        parts.append(label(start - 7, top + 11, shown, anchor="end"))
        parts.append(chart.level(before, top, 7, "var(--axis)", opacity=0.4))
        parts.append(chart.level(now, top + 8, 7, COLOURS[0]))
        parts.append(label(max(chart.x(before), chart.x(now)) + 5, top + 12, percent(now), quiet=True))
    return chart.svg(parts, key, column.name[:_NAME], told)
