"""What a request asks for, and what it gets, whatever form they travel in."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from continuous_training.core.errors import DataInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_ROWS = 100_000
MAX_EXPLAINED = 1000
"""Rows whose contributions one request may ask for: they take a hundred times as long as predictions."""

_LAST_62 = 2**62 - 1
_VERSION_7 = 7 << 76 | 0b10 << 62


class TooManyRows(DataInvalid):
    """The request holds more rows than one request may."""


class Asked(NamedTuple):
    """Rows to predict.

    Parameters
    ----------
    given
        Each column the model uses as a list with one value for each row.
    rows
        How many there are.
    contributions
        Whether to say how much each column moved each prediction.
    id
        What the caller calls the request; it is given back.
    outputs
        Names of the outputs to send; all when empty.
    row
        The only row, with a value for each column, perhaps for others too; then there is nothing in `given`.
    named
        The names of columns that the request gives, those of no feature too: once for all rows, or for each row; nothing where it
        gives values alone.
    reasons
        Whether to say in words what moved each prediction most.
    """

    given: dict[str, list[Any]]
    rows: int
    contributions: bool = False
    id: str | None = None
    outputs: tuple[str, ...] = ()
    row: dict[str, Any] | None = None
    named: Sequence[Iterable[str]] = ()
    reasons: bool = False

    def columns(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """Return each of the columns `names` as a list with one value for each row."""
        if self.row is None:
            return {name: _listed(values) for name, values in self.given.items()}
        return {name: [self.row[name]] for name in names if name in self.row}


def _listed(values: Any) -> list[Any]:
    """Return the values of a column as a list, where it came as an array with NaN for what is missing."""
    return values if isinstance(values, list) else [None if value != value else value for value in values.tolist()]  # noqa: PLR0124


class Contributions(NamedTuple):
    """How much each feature moved each raw score away from `base`: they add up to it.

    Parameters
    ----------
    columns
        Names of the features, in order.
    data
        For each row one number for each feature; with more than two classes for each row and class.
    base
        For each row the number without any feature; with more than two classes for each row and class.
    """

    columns: tuple[str, ...]
    data: list[Any]
    base: list[Any]


def make_id() -> str:
    """Return a new id for a request: a UUID of version 7, so that ids sort by the time they were made.

    Source: RFC 9562, section 5.7.
    """
    chance = random.getrandbits(74)  # an id is no secret; a forked process begins anew
    milliseconds = time.time_ns() // 1_000_000
    text = f"{milliseconds << 80 | _VERSION_7 | (chance >> 62) << 64 | chance & _LAST_62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def check_rows(count: int, most: int = MAX_ROWS) -> None:
    """Raise `TooManyRows` when there are more than `most`."""
    if count > most:
        raise TooManyRows(f"the request holds {count:,} rows; send at most {most:,} at once")


class Why(NamedTuple):
    """What moved predictions, as far as it was asked for."""

    contributions: Contributions | None
    reasons: list[str] | None
    """A sentence for each row."""


class Wanted(NamedTuple):
    """What parameters ask for beside predictions."""

    contributions: bool = False
    reasons: bool = False


NOTHING_MORE = Wanted()


def wanted(parameters: object, where: str) -> Wanted:
    """Return what `parameters` ask for.

    Raises
    ------
    DataInvalid
        It is no object, holds another name, or a value is neither true nor false.
    """
    if not isinstance(parameters, dict):
        raise DataInvalid(f'{where} is {kind(parameters)}; write an object such as {{"reasons": true}}')
    unknown = sorted(set(parameters) - {*Wanted._fields})
    if unknown:
        raise DataInvalid(f"{where} names {', '.join(unknown):.200}; allowed: {', '.join(Wanted._fields)}")
    for name, value in parameters.items():
        if not isinstance(value, bool):
            raise DataInvalid(f"{where}: {name} is {kind(value)}; write true or false")
    return Wanted(**parameters)


def kind(value: object) -> str:
    """Return what a value of JSON is, in words."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
