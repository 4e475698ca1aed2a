"""The page of a drift report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.reports.drawing import distribution
from continuous_training.reports.frame import Table, facts, name, number, page, paragraph, percent, section, text

if TYPE_CHECKING:
    from continuous_training.core.scores import DriftScore
    from continuous_training.core.window import Window
    from continuous_training.reports.distribution import DriftColumn, DriftReport

MOST_DRAWN = 24
MOST_LISTED = 1_000


def drift_page(report: DriftReport) -> str:
    """Return one HTML file that shows a report: under 2 MB whatever its columns are, and without anything to fetch."""
    exceeded = [score for score in report.scores if score.exceeded]
    drifted = {score.column for score in exceeded}
    columns = sorted(report.columns, key=lambda each: (each.name in drifted, each.distance), reverse=True)
    body = (
        f"<h1>Drift of {text(report.model)}</h1>{paragraph(_summary(report, exceeded), 'lead')}"
        + facts(
            [
                ("Window", _span(report.window)),
                ("Rows", f"{report.rows:,}"),
                ("Reference", _span(report.reference)),
                ("Champion", f"version {text(report.champion, 40)}"),
                ("Seen from", f"{report.as_of:%Y-%m-%d %H:%MZ}"),
            ]
        )
        + section("What detectors measured", _scores(report.scores))
        + section(_drawn_title(columns), _figures(columns))
        + section("All columns", _table(columns, drifted))
    )
    return page(f"Drift of {report.model}, {report.window.end:%Y-%m-%d}", body)


def _span(window: Window) -> str:
    return f'<span class="nowrap">{window.start:%Y-%m-%d %H:%M}</span> to <span class="nowrap">{window.end:%Y-%m-%d %H:%MZ}</span>'


def _summary(report: DriftReport, exceeded: list[DriftScore]) -> str:
    if not report.scores:
        return "No detector measured this window; its columns are shown beside the reference."
    if not exceeded:
        return f"None of {len(report.scores):,} scores is beyond its threshold."
    where = sorted({score.column for score in exceeded if score.column})
    shown = ", ".join(name(column) for column in where[:5])
    more = f" and {len(where) - 5} more" if len(where) > 5 else ""  # noqa: PLR2004
    return f"{len(exceeded):,} of {len(report.scores):,} scores are beyond their threshold{f': {shown}{more}' if where else ''}."


def _scores(scores: tuple[DriftScore, ...]) -> str:
    def rank(score: DriftScore) -> tuple[bool, bool]:
        return score.exceeded is not True, score.exceeded is None

    rows = [
        (
            name(score.detector),
            name(score.column) if score.column else "all together",
            name(score.slice) if score.slice else "",
            _state(score),
            f"{text(score.measure.replace('_', '-'))} {number(score.value)}",
            number(score.threshold),
            number(score.effect),
            text(score.note, 160),
        )
        for score in sorted(scores, key=rank)
    ]
    head = ("detector", "column", "rows", "", "measured", "threshold", "effect", "note")
    empty = [place for place in (2, 7) if not any(row[place] for row in rows)]

    def kept(row: tuple[str, ...]) -> list[str]:
        return [cell for place, cell in enumerate(row) if place not in empty]

    told = "A p-value counts below its threshold, a statistic above it."
    return Table(told, kept(head), [kept(row) for row in rows], words=True).html()


def _state(score: DriftScore) -> str:
    if score.exceeded is None:
        return '<span class="inconclusive">not measured</span>'
    if score.seasonal:
        return '<span class="quiet">as in the season before</span>'
    return '<span class="fail">drifted</span>' if score.exceeded else '<span class="pass">quiet</span>'


def _drawn_title(columns: list[DriftColumn]) -> str:
    return f"The {MOST_DRAWN} columns that moved most" if len(columns) > MOST_DRAWN else "Columns"


def _figures(columns: list[DriftColumn]) -> str:
    told = "".join(distribution(column, f"column-{place}") for place, column in enumerate(columns[:MOST_DRAWN]))
    return f'<div class="grid">{told}</div>' if told else ""


def _table(columns: list[DriftColumn], drifted: set[str | None]) -> str:
    rows = [
        (
            name(column.name),
            column.kind,
            '<span class="fail">drifted</span>' if column.name in drifted else "",
            percent(column.distance),
            percent(column.reference.missing),
            percent(column.current.missing),
            f"{len(column.new_categories)}" if column.new_categories else "",
        )
        for column in columns
    ]
    head = ("column", "kind", "", "moved", "missing before", "missing now", "new categories")
    told = "Moved: the share of the rows that would have to change their value for both to be alike (total variation distance)."
    return Table(told, head, rows, most=MOST_LISTED).html()
