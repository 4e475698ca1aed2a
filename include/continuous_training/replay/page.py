"""One HTML page of a replay: table, frontier and timeline; opens offline, runs no script."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from continuous_training.replay.report import ReplayReport, Ruler

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 900, 340, 70, 42, 14, 20
COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce", "#b45309", "#be123c")

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #fff; --line: #8c959f; --quiet: #59636e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --line: #656c76; --quiet: #9198a1; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--paper); }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; } th, td { padding: .3rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid var(--line); }
tbody tr { border-bottom: 1px solid color-mix(in srgb, var(--line) 35%, transparent); }
svg { width: 100%; height: auto; } text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.axis { stroke: var(--line); } .quiet, .quiet text { color: var(--quiet); fill: var(--quiet); }
code { font-size: 13px; overflow-wrap: anywhere; }
"""


def page(report: ReplayReport) -> str:
    """Return the page of a report."""
    title = f"Replay of {escape(report.model)}"
    windows = report.windows
    sense = "higher" if report.greater_is_better else "lower"
    learner = " A fast learner stood in for the model's trainer." if report.proxy else ""
    intro = (
        f"{len(windows)} windows from {windows[0].start:%Y-%m-%d} to {windows[-1].end:%Y-%m-%d}. Each is scored by the champion that "
        f"was in place before it; {escape(report.metric)}, {sense} is better.{learner}"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1><p>{intro}</p>{_table(report)}"
        "<h2>Frontier</h2><p>What a number of retrainings can bring. Between the line of evenly spread retrainings and that of the "
        "best moments in hindsight lies what timing is worth.</p>"
        f"{_frontier(report)}<h2>Timeline</h2><p>The metric in each window; a dot is a promoted retraining, a ring a refused one.</p>"
        f"{_timeline(report)}{_decisions(report)}</body></html>\n"
    )


def _table(report: ReplayReport) -> str:
    head, *rows = report.table()
    cells = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    named = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<table><thead><tr>{named}</tr></thead><tbody>{cells}</tbody></table>"


def _frontier(report: ReplayReport) -> str:
    points = [(len(each.retrainings), each.mean, each.name) for each in report.policies]
    curves = [(report.evenly, "evenly spread", "4 4"), (report.oracle, "best in hindsight", "")]
    means = [value for _, value, _ in points] + [ruler.mean for curve, _, _ in curves for ruler in curve]
    chart = _Chart(len(report.oracle) - 1, means)
    parts = [
        chart.frame("retrainings", [str(n) for n in range(0, len(report.oracle), max(1, len(report.oracle) // 8))])
    ]
    for curve, name, dash in curves:
        parts.append(_line(chart, [(n, one.mean) for n, one in enumerate(curve)], "var(--quiet)", dash))
        at = len(curve) * 2 // 3  # policies that retrain often have their names at the end
        parts.append(_label(chart, at, curve[at], name, above=not dash))
    for number, (x, mean, name) in enumerate(points):
        if mean is not None:
            colour = COLOURS[number % len(COLOURS)]
            parts.append(f'<circle cx="{chart.x(x):.1f}" cy="{chart.y(mean):.1f}" r="6" fill="{colour}"/>')
            side, shift = ("end", -10) if x > chart.last / 2 else ("start", 10)
            place = f'x="{chart.x(x) + shift:.1f}" y="{chart.y(mean) + 4:.1f}"'
            parts.append(f'<text text-anchor="{side}" {place}>{escape(name)}</text>')
    return chart.svg(parts, "mean of the metric by number of retrainings")


def _label(chart: _Chart, at: int, ruler: Ruler, name: str, *, above: bool) -> str:
    if ruler.mean is None:
        return ""
    y = chart.y(ruler.mean) + (-8 if above else 22)
    return f'<text class="quiet" text-anchor="end" x="{chart.x(at):.1f}" y="{y:.1f}">{name}</text>'


def _timeline(report: ReplayReport) -> str:
    ends = [window.end for window in report.windows]
    lines = [(each.name, each.quality, COLOURS[n % len(COLOURS)]) for n, each in enumerate(report.policies)]
    lines.append(("never", report.rulers[0].quality, "var(--quiet)"))
    chart = _Chart(len(ends) - 1, [value for _, quality, _ in lines for value in quality])
    shown = range(0, len(ends), max(1, len(ends) // 8))
    parts = [chart.frame("end of the window", [f"{ends[n]:%d %b}" for n in shown], list(shown))]
    for number, (name, quality, colour) in enumerate(lines):
        parts.append(_line(chart, list(enumerate(quality)), colour, "4 4" if name == "never" else ""))
        parts.append(f'<text x="{LEFT + 10 + 150 * number}" y="{TOP + 8}" style="fill:{colour}">{escape(name)}</text>')
    for number, each in enumerate(report.policies):
        colour = COLOURS[number % len(COLOURS)]
        for moment in each.retrainings:
            at = sum(end <= moment for end in ends)
            value = each.quality[at] if at < len(ends) else None
            if value is not None:
                fill = colour if moment in each.promoted else "var(--paper)"
                parts.append(
                    f'<circle cx="{chart.x(at):.1f}" cy="{chart.y(value):.1f}" r="4" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
                )
    return chart.svg(parts, "metric in each window")


def _decisions(report: ReplayReport) -> str:
    parts = []
    for each in report.policies:
        told = "".join(
            f"<tr><td>{one.window.end:%Y-%m-%d}</td><td>{one.answer}</td><td>{escape(one.why)}</td></tr>"
            for one in each.decisions
        )
        parts.append(
            f"<h2>Decisions: {escape(each.name)}</h2><p><code>{escape(each.policy)}</code></p><details><summary>{len(each.decisions)} "
            f"decisions</summary><table><tbody>{told}</tbody></table></details>"
        )
    return "".join(parts)


def _line(chart: _Chart, points: Sequence[tuple[int, float | None]], colour: str, dash: str) -> str:
    path = " ".join(f"{chart.x(x):.1f},{chart.y(y):.1f}" for x, y in points if y is not None)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}" points="{path}"/>'


class _Chart:
    """Scales from data to the picture."""

    def __init__(self, last: int, values: Sequence[float | None]) -> None:
        known = [value for value in values if value is not None] or [0.0]
        pad = (max(known) - min(known)) * 0.08 or 0.01
        self.low, self.high, self.last = min(known) - pad, max(known) + pad, max(last, 1)

    def x(self, place: float) -> float:
        """Return where a place lies."""
        return LEFT + place / self.last * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return where a value lies."""
        return TOP + (self.high - value) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)

    def frame(self, name: str, ticks: Sequence[str], places: Sequence[int] | None = None) -> str:
        """Return axes with their labels."""
        base = HEIGHT - BOTTOM
        parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>']
        for number, text in enumerate(ticks):
            at = self.x(places[number] if places else int(text))
            parts.append(f'<text text-anchor="middle" x="{at:.1f}" y="{base + 18}">{escape(text)}</text>')
        for step in range(5):
            value = self.low + (self.high - self.low) * step / 4
            parts.append(f'<text text-anchor="end" x="{LEFT - 8}" y="{self.y(value) + 4:.1f}">{value:.3f}</text>')
        parts.append(f'<text text-anchor="middle" class="quiet" x="{WIDTH / 2}" y="{HEIGHT - 6}">{escape(name)}</text>')
        return "".join(parts)

    def svg(self, parts: Sequence[str], title: str) -> str:
        """Return the picture."""
        return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
