"""Tables and progress as a terminal shows them; what goes to a file or a pipe is plain text."""

from __future__ import annotations

import contextlib
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from continuous_training.core.duration import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_STYLES = {
    **dict.fromkeys(("ok", "pass", "promoted", "promote"), "green"),
    **dict.fromkeys(("note", "inconclusive", "watch", "not ended"), "yellow"),
    **dict.fromkeys(("wrong", "down", "fail", "failed", "reject", "fired", "beyond"), "red"),
}
"""Colours of words that say how something went."""


def show(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; nothing where there are no rows."""
    cells = [[cell(value) for value in row] for row in rows]
    if not cells:
        return
    if sys.stdout.isatty():
        print(_drawn(title, head, cells))
        return
    print(title)
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for row in (head, *cells):
        print(("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))).rstrip())


def cell(value: object) -> str:
    r"""Return a value as one line without signs that steer a terminal: it may come from data, or from anybody.

    >>> cell("a\x1b[31m\nb"), cell(None)
    ('a [31m b', '')
    """
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def ago(seconds: float | None) -> str:
    """Return an age in its largest whole unit.

    >>> ago(7300), ago(20), ago(None)
    ('2 hours ago', 'just now', '')
    """
    if seconds is None:
        return ""
    for unit in (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)):
        if seconds >= unit.total_seconds():
            return f"{format_duration(seconds // unit.total_seconds() * unit)} ago"
    return "just now"


def _drawn(
    title: str, head: Sequence[str], cells: Iterable[Sequence[str]], numbers: Literal["left", "right"] = "left"
) -> str:
    """Return a table as it is drawn on the terminal; `numbers` is where all columns but the first are aligned."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for place, name in enumerate(head):
        widest = max(map(len, name.split()), default=0)
        table.add_column(
            name, overflow="fold", no_wrap=place == 0, min_width=widest, justify=numbers if place else "left"
        )
    for row in cells:
        table.add_row(*(Text(text, style=_STYLES.get(text, "")) for text in row))
    console = Console(file=sys.stdout, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


@contextlib.contextmanager
def working(text: str) -> Iterator[None]:
    """Show on a terminal that something is being done, until it is."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(cell(text))):
        yield


def in_columns(rows: Iterable[tuple[str, ...]]) -> str:
    r"""Return rows with aligned columns: the first to the left, the others to the right.

    >>> in_columns([("name", "rows"), ("a", "12")])
    'name  rows\na       12'
    """
    found = [[cell(text) for text in row] for row in rows]
    if sys.stdout.isatty():
        return _drawn("", found[0], found[1:], numbers="right")
    first, *widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    lines = (
        "  ".join([row[0].ljust(first), *(text.rjust(width) for text, width in zip(row[1:], widths, strict=True))])
        for row in found
    )
    return "\n".join(line.rstrip() for line in lines)
