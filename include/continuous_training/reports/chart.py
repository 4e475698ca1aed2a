"""Pictures of a page as inline SVG: scales, axes and the few marks that reports need."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from continuous_training.reports.frame import MOST_SHOWN, MOST_TOLD, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COLOURS = ("var(--one)", "var(--two)", "var(--three)", "var(--four)", "var(--five)", "var(--six)")
Point = tuple[float, float]


class Chart(NamedTuple):
    """Scales from data to a picture, and what is drawn in it."""

    across: tuple[float, float]
    up: tuple[float, float]
    width: float = 440
    height: float = 300
    left: float = 54
    right: float = 14
    top: float = 28
    bottom: float = 44

    def x(self, value: float) -> float:
        """Return where a value lies from left to right."""
        return self.left + _part(value, self.across) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Return where a value lies from top to bottom."""
        return self.top + (1 - _part(value, self.up)) * (self.height - self.top - self.bottom)

    def axes(self, x_label: str, y_label: str, ticks: Iterable[tuple[float, str]] | None = None) -> str:
        """Return the axes with their labels; `ticks` are places and names along the lower one."""
        base, end = self.height - self.bottom, self.width - self.right
        parts = []
        for value in nice(self.up):
            parts.append(
                f'<line class="gridline" x1="{self.left:g}" x2="{end:g}" y1="{self.y(value):.1f}" y2="{self.y(value):.1f}"/>'
            )
            parts.append(label(self.left - 7, self.y(value) + 4, tick(value), anchor="end"))
        parts.append(f'<line class="axis" x1="{self.left:g}" x2="{end:g}" y1="{base:g}" y2="{base:g}"/>')
        for place, told in [(value, tick(value)) for value in nice(self.across)] if ticks is None else ticks:
            parts.append(label(self.x(place), base + 17, told, anchor="middle"))
        if x_label:
            parts.append(label((self.left + end) / 2, self.height - 8, x_label, anchor="middle", quiet=True))
        parts.append(label(2, 13, y_label, quiet=True))
        return "".join(parts)

    def line(self, points: Iterable[Point], colour: str, *, dash: str = "", width: float = 2) -> str:
        """Return a line through points."""
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        return f'<polyline fill="none" stroke="{colour}" stroke-width="{width:g}" stroke-linejoin="round"{dashed} points="{path}"/>'

    def area(self, points: Iterable[Point], colour: str, *, opacity: float = 1) -> str:
        """Return what lies below a line, filled."""
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        return f'<polygon fill="{colour}" fill-opacity="{opacity:g}" points="{path}"/>'

    def dot(self, point: Point, colour: str, *, radius: float = 3.5, hollow: bool = False) -> str:
        """Return a dot, or a ring."""
        fill = f'fill="var(--paper)" stroke="{colour}" stroke-width="2"' if hollow else f'fill="{colour}"'
        return f'<circle cx="{self.x(point[0]):.1f}" cy="{self.y(point[1]):.1f}" r="{radius:g}" {fill}/>'

    def bar(self, left: float, right: float, value: float, colour: str, *, opacity: float = 1) -> str:
        """Return a bar between two places, as high as its value."""
        top, base = self.y(value), self.y(self.up[0])
        seen = f' fill-opacity="{opacity:g}"' if opacity != 1 else ""
        place = f'x="{self.x(left):.1f}" y="{top:.1f}" width="{max(self.x(right) - self.x(left), 0.5):.1f}"'
        return f'<rect {place} height="{max(base - top, 0):.1f}" fill="{colour}"{seen}/>'

    def level(self, value: float, top: float, height: float, colour: str, *, opacity: float = 1) -> str:
        """Return a bar from the left edge to a value."""
        start = self.x(self.across[0])
        seen = f' fill-opacity="{opacity:g}"' if opacity != 1 else ""
        place = f'x="{start:.1f}" y="{top:g}" width="{max(self.x(value) - start, 0):.1f}" height="{height:g}"'
        return f'<rect {place} rx="1.5" fill="{colour}"{seen}/>'

    def legend(self, names: Iterable[tuple[str, str]]) -> str:
        """Return names beside their colours, at the right above the picture."""
        parts, at = [], self.width - self.right
        for told, colour in reversed(list(names)):
            at -= 6.6 * len(told)
            parts.append(f'<text x="{at:.1f}" y="13" style="fill:{colour}">{text(told, MOST_SHOWN)}</text>')
            at -= 16
            parts.append(f'<rect x="{at:.1f}" y="4" width="10" height="10" rx="2" fill="{colour}"/>')
            at -= 14
        return "".join(parts)

    def svg(self, parts: Iterable[str], key: str, title: str, told: str) -> str:
        """Return the picture; `key` is one of its own on the page, and `told` is what it shows for those who do not see it."""
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-labelledby="{key}-t {key}-d">'
            f'<title id="{key}-t">{text(title, MOST_SHOWN)}</title><desc id="{key}-d">{text(told, MOST_TOLD)}</desc>{"".join(parts)}</svg>'
        )


def label(x: float, y: float, told: str, *, anchor: str = "start", quiet: bool = False) -> str:
    """Return a text at a place."""
    kind = ' class="quiet"' if quiet else ""
    return f'<text{kind} text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}">{text(told, MOST_SHOWN)}</text>'


def tick(value: float) -> str:
    """Return a number beside an axis."""
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}", 1) if value < 0 else f"{value:.6g}"


def around(values: Sequence[float], *, include: float | None = None) -> tuple[float, float]:
    """Return a range that holds all values, with a little air; `include` is a value that it must hold."""
    known = [value for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if include is not None:
        low, high = min(low, include), max(high, include)
    air = (high / 20 - low / 20) or abs(high) / 20 or 1.0
    return (low if low == include else low - air, high if high == include else high + air)


def nice(span: tuple[float, float], most: int = 6) -> list[float]:
    """Return at most `most` round numbers within a range.

    >>> nice((0, 1)), nice((-13, 42))
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [-10.0, 0.0, 10.0, 20.0, 30.0, 40.0])
    """
    low, high = span
    width = high - low
    if not (math.isfinite(width) and width > 0):
        return [low]
    rough = width / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10, 20) if width / (power * each) < most)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) + 0.0 for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _part(value: float, span: tuple[float, float]) -> float:
    low, high = span
    width = high / 2 - low / 2  # a range may be too wide for a float
    return (value / 2 - low / 2) / width if width else 0.5
