"""Lengths of time as people write them: `7 days`, `1 hour 30 minutes`."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_PART = re.compile(r"(\d+)\s*(second|minute|hour|day|week)s?")
_PATTERN = r"^\s*(\d+\s*(second|minute|hour|day|week)s?\s*)+$"


def parse_duration(value: object) -> timedelta:
    """Return the length of time that `value` names.

    >>> parse_duration("1 day 12 hours")
    datetime.timedelta(days=1, seconds=43200)
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.match(_PATTERN, value):
        msg = (
            f"{value!r} is not a length of time; write a whole number and a unit "
            "(seconds, minutes, hours, days, weeks), for example '7 days'"
        )
        raise ValueError(msg)
    seconds = sum(int(count) * _SECONDS[unit] for count, unit in _PART.findall(value))
    try:
        return timedelta(seconds=seconds)
    except OverflowError as error:
        msg = f"{value!r} is longer than 2.7 million years; write a shorter length of time"
        raise ValueError(msg) from error


def format_duration(value: timedelta) -> str:
    """Return `value` in the largest unit that divides it.

    >>> format_duration(timedelta(days=7))
    '7 days'
    """
    seconds = int(value.total_seconds())
    for unit in ("day", "hour", "minute", "second"):
        count, rest = divmod(seconds, _SECONDS[unit])
        if rest == 0:
            return f"{count} {unit}" + ("" if count == 1 else "s")
    raise AssertionError(seconds)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _PATTERN, "examples": ["7 days", "6 hours"]}),
]
