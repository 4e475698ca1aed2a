"""Stretches of event time, half-open and in UTC."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from continuous_training.core.frozen import Frozen


def in_utc(value: datetime) -> datetime:
    """Return the same moment in UTC; a time without a zone is read as UTC.

    >>> in_utc(datetime(2013, 3, 1)).isoformat()
    '2013-03-01T00:00:00+00:00'
    """
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(in_utc)]


class Window(Frozen):
    """The rows whose event time is at or after `start` and before `end`.

    >>> w = Window(start=datetime(2013, 3, 1), end=datetime(2013, 3, 8))
    >>> str(w)
    '2013-03-01T00:00Z/2013-03-08T00:00Z'
    """

    start: Moment
    end: Moment

    @model_validator(mode="after")
    def _start_before_end(self) -> Self:
        if self.start >= self.end:
            msg = f"a window must start before it ends; got {self.start} to {self.end}"
            raise ValueError(msg)
        return self

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%MZ}/{self.end:%Y-%m-%dT%H:%MZ}"


def last_tile_end(moment: datetime, every: timedelta, anchor: datetime) -> datetime:
    """Return the latest end of a tile that is not after `moment`.

    Tiles are `every` long and one of them starts at `anchor`; none overlap and nothing lies between them.

    >>> last_tile_end(datetime(2013, 3, 9), timedelta(days=7), datetime(2013, 3, 1)).isoformat()
    '2013-03-08T00:00:00+00:00'
    """
    start = in_utc(anchor)
    return start + (in_utc(moment) - start) // every * every
