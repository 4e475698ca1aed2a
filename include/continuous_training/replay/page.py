"""One HTML page of a replay: table, frontier and timeline; opens offline, runs no script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.reports.chart import COLOURS, Chart, around, label
from continuous_training.reports.frame import Table, text
from continuous_training.reports.frame import page as framed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from continuous_training.replay.report import ReplayReport

SIZE = {"width": 900, "height": 340, "left": 70, "right": 20}


def page(report: ReplayReport) -> str:
    """Return the page of a report."""
    title = f"Replay of {text(report.model)}"
    windows = report.windows
    sense = "higher" if report.greater_is_better else "lower"
    learner = " A fast learner stood in for the model's trainer." if report.proxy else ""
    intro = (
        f"{len(windows)} windows from {windows[0].start:%Y-%m-%d} to {windows[-1].end:%Y-%m-%d}. Each is scored by the champion that "
        f"was in place before it; {text(report.metric)}, {sense} is better.{learner}"
    )
    body = (
        f"<h1>{title}</h1><p>{intro}</p>{_table(report)}"
        "<h2>Frontier</h2><p>What a number of retrainings can bring. Between the line of evenly spread retrainings and that of the "
        "best moments in hindsight lies what timing is worth.</p>"
        f"{_frontier(report)}<h2>Timeline</h2><p>The metric in each window; a dot is a promoted retraining, a ring a refused one.</p>"
        f"{_timeline(report)}{_decisions(report)}"
    )
    return framed(f"Replay of {report.model}", body)


def _table(report: ReplayReport) -> str:
    head, *rows = report.table()
    return Table("Policies by what they bring.", head, [[text(cell) for cell in row] for row in rows]).html()


def _frontier(report: ReplayReport) -> str:
    points = [(len(each.retrainings), each.mean, each.name) for each in report.policies]
    curves = [(report.evenly, "evenly spread", "4 4"), (report.oracle, "best in hindsight", "")]
    means = [value for _, value, _ in points] + [ruler.mean for curve, _, _ in curves for ruler in curve]
    last = len(report.oracle) - 1
    chart = _chart(last, means)
    ticks = [(n, str(n)) for n in range(0, last + 1, max(1, (last + 1) // 8))]
    parts = [chart.axes("retrainings", report.metric, ticks)]
    for curve, told, dash in curves:
        parts.append(chart.line(_known(enumerate(ruler.mean for ruler in curve)), "var(--quiet)", dash=dash))
        at = len(curve) * 2 // 3  # policies that retrain often have their names at the end
        if (mean := curve[at].mean) is not None:
            parts.append(label(chart.x(at), chart.y(mean) + (22 if dash else -8), told, anchor="end", quiet=True))
    for number, (x, mean, named) in enumerate(points):
        if mean is not None:
            parts.append(chart.dot((x, mean), COLOURS[number % len(COLOURS)], radius=6))
            side, shift = ("end", -10) if x > last / 2 else ("start", 10)
            parts.append(label(chart.x(x) + shift, chart.y(mean) + 4, named, anchor=side))
    return chart.svg(parts, "frontier", "Frontier", "Mean of the metric by number of retrainings.")


def _timeline(report: ReplayReport) -> str:
    ends = [window.end for window in report.windows]
    lines = [(each.name, each.quality, COLOURS[n % len(COLOURS)]) for n, each in enumerate(report.policies)]
    lines.append(("never", report.rulers[0].quality, "var(--quiet)"))
    chart = _chart(len(ends) - 1, [value for _, quality, _ in lines for value in quality])
    ticks = [(n, f"{ends[n]:%d %b}") for n in range(0, len(ends), max(1, len(ends) // 8))]
    parts = [
        chart.axes("end of the window", report.metric, ticks),
        chart.legend([(told, colour) for told, _, colour in lines]),
    ]
    for told, quality, colour in lines:
        parts.append(chart.line(_known(enumerate(quality)), colour, dash="4 4" if told == "never" else ""))
    for number, each in enumerate(report.policies):
        for moment in each.retrainings:
            at = sum(end <= moment for end in ends)
            value = each.quality[at] if at < len(ends) else None
            if value is not None:
                ring = moment not in each.promoted
                parts.append(chart.dot((at, value), COLOURS[number % len(COLOURS)], radius=4, hollow=ring))
    return chart.svg(parts, "timeline", "Timeline", "The metric in each window, by policy.")


def _chart(last: int, values: Sequence[float | None]) -> Chart:
    return Chart((0, max(last, 1)), around([value for value in values if value is not None]), **SIZE)


def _known(points: Iterable[tuple[int, float | None]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if y is not None]


def _decisions(report: ReplayReport) -> str:
    parts = []
    for each in report.policies:
        told = "".join(
            f"<tr><td>{one.window.end:%Y-%m-%d}</td><td>{one.answer}</td><td>{text(one.why)}</td></tr>"
            for one in each.decisions
        )
        parts.append(
            f"<h2>Decisions: {text(each.name)}</h2><p><code>{text(each.policy)}</code></p><details><summary>{len(each.decisions)} "
            f"decisions</summary><table><tbody>{told}</tbody></table></details>"
        )
    return "".join(parts)
