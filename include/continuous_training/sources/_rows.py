"""What every source does with the rows it found: name what is missing, hide young labels, put them in order."""

import difflib
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from continuous_training.core.errors import DataInvalid
from continuous_training.core.task import Task
from continuous_training.core.window import in_utc

UTC_TIME = pa.timestamp("ns", "UTC")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TICK = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DAY = 86_400 * 10**9
_INT64 = 2**63 - 1
_LISTED = 30


def wanted(task: Task, columns: Sequence[str]) -> list[str]:
    """Return `columns`, the event time, the label and, in ranking, the group, each once."""
    return list(dict.fromkeys([*columns, *task.columns]))


def require(names: Iterable[str], available: Collection[str], place: str) -> None:
    """Raise `DataInvalid` when `place` lacks a name, with what it has and the nearest spelling."""
    missing = [name for name in names if name not in available]
    if not missing:
        return
    has = sorted(available)
    more = f" and {len(has) - _LISTED} more" if len(has) > _LISTED else ""
    msg = (
        f"{place} has no column {', '.join(_with_nearest(name, has) for name in missing)}; "
        f"it has {', '.join(has[:_LISTED])}{more}; "
        "correct the name in the model file or add the column to the data; a retry gives the same"
    )
    raise DataInvalid(msg)


def nearest(name: str, known: Collection[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest known name, or nothing.

    >>> nearest("carier", ["carrier", "origin"])
    " (did you mean 'carrier'?)"
    """
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def require_time(kind: pa.DataType, name: str, place: str) -> None:
    """Raise `DataInvalid` unless `kind` is a timestamp or a date."""
    if not (pa.types.is_timestamp(kind) or pa.types.is_date32(kind)):
        msg = (
            f"event time {name!r} of {place} is {kind}; it must be a timestamp (without a zone it is read as UTC) "
            "or a date; store it as one; a retry gives the same"
        )
        raise DataInvalid(msg)


def edge(at: datetime, kind: pa.DataType) -> pa.Scalar:
    """Return the first value of the time type `kind` that is not before `at`.

    A column of whole seconds or days then keeps half-open windows exact: `t >= at` is `t >= edge(at)`.
    """
    step = _DAY if pa.types.is_date32(kind) else _TICK[kind.unit]
    ticks = -(-_nanoseconds(at) // step)
    return pa.scalar(_clamp(ticks), type=kind)


def moment(value: date) -> datetime:
    """Return a date or a time as a moment in UTC; a date is its midnight."""
    if isinstance(value, pd.Timestamp):
        return in_utc(value.to_pydatetime(warn=False))
    return in_utc(value if isinstance(value, datetime) else datetime.combine(value, time.min))


def in_nanoseconds(times: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return event times of any time type as nanoseconds in UTC."""
    try:
        return times.cast(UTC_TIME)
    except pa.ArrowInvalid as error:
        msg = (
            f"event time {name!r} holds a moment outside the years 1677 to 2262 ({error}); "
            "correct those rows; a retry gives the same"
        )
        raise DataInvalid(msg) from error


def plain(kind: pa.DataType) -> pa.DataType:
    """Return the type that values of `kind` are handed on as: no dictionaries, no decimals."""
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    return pa.float64() if pa.types.is_decimal(kind) else kind


def to_frame(tables: Iterable[pa.Table], schema: pa.Schema, *, task: Task, as_of: datetime) -> pd.DataFrame:
    """Return the rows of `tables` as one frame with the columns of `schema`, labels masked, ordered by event time.

    The event time must be `UTC_TIME` already. Rows of the same moment keep the order they have in `tables`. An integer
    label comes as float64 and a boolean one as object, so that a window with missing labels has the same type as one
    without.
    """
    table = pa.concat_tables([schema.empty_table(), *tables], promote_options="permissive").select(schema.names)
    table = _mask_label(table, task, as_of)
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    if frame[task.label].dtype == bool:
        frame[task.label] = frame[task.label].astype(object)
    if not frame[task.event_time].is_monotonic_increasing:
        frame = frame.sort_values(task.event_time, kind="stable", ignore_index=True)
    return frame


def _mask_label(table: pa.Table, task: Task, as_of: datetime) -> pa.Table:
    newest = _nanoseconds(as_of) - task.label_delay // _MICROSECOND * 1000
    known = pc.less_equal(table[task.event_time], pa.scalar(_clamp(newest), type=UTC_TIME))
    label = table[task.label]
    if pa.types.is_integer(label.type):
        label = label.cast(pa.float64())
    label = pc.if_else(known, label, pa.scalar(None, type=label.type))
    return table.set_column(table.schema.get_field_index(task.label), task.label, label)


def _nanoseconds(at: datetime) -> int:
    return (in_utc(at) - _EPOCH) // _MICROSECOND * 1000


def _clamp(ticks: int) -> int:
    return max(-_INT64, min(_INT64, ticks))


def _with_nearest(name: str, known: Collection[str]) -> str:
    return f"{name!r}{nearest(name, known)}"
