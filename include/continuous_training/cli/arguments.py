"""What the arguments of commands may be: each reads a text or says what to write instead."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import TYPE_CHECKING

from continuous_training.core.window import in_utc

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_REASON = 500


def moment(text: str) -> datetime:
    """Return the moment an ISO 8601 text names; without a zone it is UTC.

    >>> moment("2013-03-01").isoformat()
    '2013-03-01T00:00:00+00:00'
    """
    try:
        return in_utc(datetime.fromisoformat(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write 2013-03-01 or 2013-03-01T06:00:00Z") from error


def end_of_window(text: str) -> datetime:
    """Return the end of a window that is written as one, or the moment that is written instead.

    >>> end_of_window("2013-03-01T00:00Z/2013-03-08T00:00Z").isoformat()
    '2013-03-08T00:00:00+00:00'
    """
    return moment(text.rpartition("/")[2])


def number(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to `most`.

    >>> number(0, 9)("3")
    3
    """

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed; write a whole number from {least} to {most}")
        return int(text)

    return read


def sentence(text: str) -> str:
    """Return a text that the ledger can keep as a reason."""
    if len(text) > LONGEST_REASON:
        raise argparse.ArgumentTypeError(f"{len(text)} characters are too many; write at most {LONGEST_REASON}")
    return text
