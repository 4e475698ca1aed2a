"""What keeps a retraining policy from asking too often, too late or at a bad moment."""

import difflib
import re
import zoneinfo
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from continuous_training.core.duration import Duration, format_duration
from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Moment

LONGEST = timedelta(days=3660)
# croniter also takes a sixth field of seconds, and `H` and `R`, which stand for a number drawn at random.
_CRON_FIELDS = 5
_CRON_RANDOM = re.compile(r"\b[hr]\b", re.IGNORECASE)


class Budget(Frozen):
    """The most retrainings in any stretch of time, whatever their cause."""

    runs: int = Field(ge=1, le=1000, description="Retrainings allowed, those by schedule and by hand included.")
    per: Duration = Field(
        gt=timedelta(0), le=LONGEST, description="Length of the stretch of time, for example '30 days'."
    )

    def hindrance(self, as_of: datetime, requested: Sequence[datetime]) -> str | None:
        """Return why no retraining may be asked for at `as_of`, or `None` while some are left."""
        used = sorted(moment for moment in requested if moment > as_of - self.per)
        if len(used) < self.runs:
            return None
        return (
            f"the budget is used: {len(used)} of {self.runs} retrainings in {format_duration(self.per)}, until "
            f"{day(used[-self.runs] + self.per)}"
        )


class Blackout(Frozen):
    """A stretch of time in which no evidence asks for a retraining, such as a release freeze."""

    start: Moment = Field(description="First moment of it; without a zone it is UTC.")
    end: Moment = Field(description="First moment after it.")
    why: str = Field("", max_length=200, description="Shown with every decision it holds back.")

    @model_validator(mode="after")
    def _start_before_end(self) -> Self:
        if self.start >= self.end:
            msg = f"a blackout must start before it ends; got {self.start} to {self.end}"
            raise ValueError(msg)
        return self

    def hindrance(self, as_of: datetime) -> str | None:
        """Return why no retraining may be asked for at `as_of`, or `None` outside of it."""
        if not self.start <= as_of < self.end:
            return None
        return f"a blackout lasts until {day(self.end)}" + (f" ({self.why})" if self.why else "")


def _cron(value: str) -> str:
    problem = _cron_problem(value)
    if problem:
        msg = (
            f"{value!r} is not a cron schedule ({problem}); write five fields: minute, hour, day of the month, month, day "
            "of the week, for example '0 3 * * MON' for Mondays at 03:00"
        )
        raise ValueError(msg)
    return value


def _zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = difflib.get_close_matches(value, zoneinfo.available_timezones(), n=1)
        meant = f"did you mean {near[0]!r}?" if near else "for example 'Europe/Berlin'"
        msg = f"{value!r} is not a time zone; write an IANA name; {meant}"
        raise ValueError(msg) from error
    return value


Cron = Annotated[str, Field(max_length=100), AfterValidator(_cron)]
TimeZone = Annotated[str, Field(max_length=100), AfterValidator(_zone)]


def day(moment: datetime) -> str:
    """Return a moment as decisions name it.

    >>> day(datetime(2013, 3, 8, 3))
    '2013-03-08 03:00Z'
    """
    return f"{moment:%Y-%m-%d %H:%MZ}"


def _cron_problem(value: str) -> str | None:
    fields = value.split()
    if len(fields) != _CRON_FIELDS:
        return f"{len(fields)} fields"
    if _CRON_RANDOM.search(value):
        return "H and R stand for random numbers"
    from croniter import CroniterError, croniter

    try:
        croniter(value, datetime(2000, 1, 1, tzinfo=UTC)).get_next(datetime)
    except CroniterError as error:
        return str(error).rstrip(".")
    return None
