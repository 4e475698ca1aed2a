"""Tables as a terminal shows them."""

from collections.abc import Iterable


def in_columns(rows: Iterable[tuple[str, ...]]) -> str:
    r"""Return rows with aligned columns: the first to the left, the others to the right.

    >>> in_columns([("name", "rows"), ("a", "12")])
    'name  rows\na       12'
    """
    found = list(rows)
    first, *widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    lines = (
        "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True))])
        for row in found
    )
    return "\n".join(line.rstrip() for line in lines)
