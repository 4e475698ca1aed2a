"""Read the prediction log back, join it with outcomes, and turn its segments into Parquet."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from continuous_training.core.errors import ArtefactCorrupt, DataInvalid, SourceUnavailable, StoreUnavailable
from continuous_training.core.prediction_log import SHADOW
from continuous_training.core.rollout import RolloutPlan
from continuous_training.core.task import Task
from continuous_training.core.window import Window
from continuous_training.policies.rollout_guards import QualityGuard
from continuous_training.sources import _rows as _rows_of

OURS = (
    "ct_id",
    "ct_time",
    "ct_version",
    "ct_fence",
    "ct_reason",
    "ct_share",
    "ct_entity",
    "ct_digest",
    "ct_prediction",
)
OUTCOME = ("id", "kind", "value", "time")
COMPARED = ("ct_id", "ct_version", "ct_reason", "ct_share", "ct_prediction")
"""The columns that `of_step` and `count_losses` need."""

_SAME_SHARE = 1e-9  # a share travels as text


def read_predictions(folder: Path, window: Window | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the predictions, one row each, in the order of their time; a record that was cut off is left out.

    The columns are those that were kept, and of the log itself `ct_id` (of a request with several rows the request's id, `#`
    and the row), `ct_time`, `ct_version`, `ct_fence`, `ct_reason`, `ct_share`, `ct_entity`, `ct_digest` (of the whole
    request) and `ct_prediction`.

    Parameters
    ----------
    folder
        The model's folder.
    window
        Only predictions made in it.
    columns
        Only these, with the time; all by default. A long log has many features that take memory.

    Raises
    ------
    ArtefactCorrupt
        A segment holds something else than records.
    StoreUnavailable
        A segment cannot be read now.
    """
    return _in_order([_read(path, window, columns) for path in _segments(folder)])


def read_recent(folder: Path, rows: int) -> pd.DataFrame:
    """Return about the newest `rows` predictions, as `read_predictions`, and read no more segments than that takes."""
    frames: list[pd.DataFrame] = []
    for path in reversed(_segments(folder)):
        if sum(map(len, frames)) >= rows:
            break
        frames.append(_read(path, None))
    return _in_order(frames).tail(rows)


def compact(folder: Path) -> int:
    """Turn the segments that no server writes any more into Parquet files, and return how many."""
    done = 0
    for path in _segments(folder):
        if path.suffix != ".jsonl":
            continue
        with _unwritten(path) as free:
            if free:
                _write(path.with_suffix(".parquet"), _table(_read_lines(path, None)))
                path.unlink(missing_ok=True)  # a crash before this leaves both, and readers take the Parquet file
                done += 1
    return done


def add_outcomes(folder: Path, rows: Iterable[Mapping[str, Any]], now: datetime) -> int:
    """Append what became known of predictions, and return how many outcomes were added.

    Parameters
    ----------
    folder
        The model's folder.
    rows
        Each with `id` (as `ct_id`) and `value`, and where known `kind` (default: `label`) and `time` (default: now).
    now
        The present moment.

    Raises
    ------
    DataInvalid
        A row lacks its id or value, or its time is none; nothing was added.
    """
    kept = [_outcome(row, number, now) for number, row in enumerate(rows, 1)]
    if kept:
        table = pa.table({name: [row[name] for row in kept] for name in OUTCOME}, schema=_OUTCOMES)
        target = folder / "outcomes"
        target.mkdir(parents=True, exist_ok=True)
        _write(target / f"{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(4)}.parquet", table)
    return len(kept)


def read_outcomes(folder: Path, kind: str, as_of: datetime | None = None) -> pd.DataFrame:
    """Return for each id the last outcome of a kind that was known at `as_of`: columns `ct_id`, `ct_outcome`, `ct_outcome_time`."""
    paths = sorted((folder / "outcomes").glob("*.parquet"))
    tables = [pq.read_table(path, filters=[("kind", "=", kind)]) for path in paths]
    rows = pa.concat_tables(tables or [_OUTCOMES.empty_table()]).to_pandas()
    if as_of is not None:
        rows = rows[rows["time"] <= as_of]
    last = rows.sort_values("time", kind="stable").drop_duplicates("id", keep="last")
    return pd.DataFrame(
        {
            "ct_id": last["id"].astype("object"),
            "ct_outcome": [json.loads(value) for value in last["value"]],
            "ct_outcome_time": last["time"],
        }
    ).reset_index(drop=True)


def join(
    folder: Path,
    kind: str,
    window: Window | None = None,
    as_of: datetime | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the predictions with the columns `ct_outcome` and `ct_outcome_time`, missing where it is not known."""
    return read_predictions(folder, window, columns).merge(read_outcomes(folder, kind, as_of), on="ct_id", how="left")


def of_step(rows: pd.DataFrame, plan: RolloutPlan) -> pd.DataFrame:
    """Return the rows by which the two versions of a rollout may be compared: of requests that took part in this step.

    In a shadow these are the requests that both have answered. Else they are each version's own share: neither requests that
    took no part, which the champion answers too and which may be of another kind, nor those that it answered because the
    challenger failed.

    Parameters
    ----------
    rows
        Predictions, as `read_predictions` or `join` returned them.
    plan
        The step's.
    """
    theirs = (rows["ct_version"] == plan.challenger) & (rows["ct_reason"] == plan.mode)
    ours = (rows["ct_version"] == plan.champion) & (rows["ct_reason"] == "champion")
    if plan.mode == SHADOW:
        both = {*rows.loc[theirs, "ct_id"]} & {*rows.loc[ours, "ct_id"]}
        return rows[(ours | theirs) & rows["ct_id"].isin(both)]
    share = rows["ct_share"].astype("float64")
    own = [(share - wanted).abs() < _SAME_SHARE for wanted in (1 - plan.share, plan.share)]
    return rows[(ours & own[0]) | (theirs & own[1])]


def read_labelled(
    folder: Path, window: Window, kind: str, *, task: Task, columns: Sequence[str], as_of: datetime
) -> pd.DataFrame:
    """Return the answered predictions of a window as a source's rows; see `Source.read`."""
    if not folder.is_dir():
        raise SourceUnavailable(
            f"there is no prediction log in {folder}; give the deployment a `log` in the model file, or correct the path; a retry "
            "looks again"
        )
    rows = join(folder, kind, window, as_of)
    rows = rows[rows["ct_reason"] != SHADOW]
    own = {task.event_time: rows["ct_time"], task.label: rows["ct_outcome"]}
    names = _rows_of.wanted(task, columns)
    if len(rows):
        _rows_of.require([name for name in names if name not in own], set(rows.columns), f"the prediction log {folder}")
    else:
        rows = rows.reindex(columns=names)
    table = pa.Table.from_pandas(rows.assign(**own)[names], preserve_index=False)
    place = table.schema.get_field_index(task.event_time)
    table = table.set_column(place, task.event_time, _rows_of.in_nanoseconds(table[task.event_time], task.event_time))
    return _rows_of.to_frame([table], table.schema, task=task, as_of=as_of)


def count_losses(joined: pd.DataFrame, guard: QualityGuard, classes: Sequence[Any] = ()) -> dict[str, tuple[int, ...]]:
    """Return for each version the losses of its predictions with a known outcome, as `VersionCounts.losses` counts them.

    Parameters
    ----------
    joined
        What `join` returned; of a rollout's step only what `of_step` leaves.
    guard
        What a loss is.
    classes
        The classes in probability order; none in regression.

    Raises
    ------
    DataInvalid
        An outcome is no class of the model or no number.
    """
    known = joined[joined["ct_outcome"].notna()]
    losses = [
        guard.loss(getattr(prediction, "tolist", lambda kept=prediction: kept)(), _known(outcome, classes))
        for prediction, outcome in zip(known["ct_prediction"], known["ct_outcome"], strict=True)
    ]
    by_version = pd.Series(losses, index=known["ct_version"], dtype="float64").groupby(level=0)
    return {str(version): guard.count(part.tolist()) for version, part in by_version}


def _known(outcome: Any, classes: Sequence[Any]) -> float:
    """Return an outcome as a loss takes it."""
    try:
        return classes.index(outcome) if classes else float(outcome)
    except (ValueError, TypeError) as error:
        allowed = f"one of the classes {', '.join(map(repr, classes)):.300}" if classes else "a number"
        raise DataInvalid(
            f"an outcome is {outcome!r:.100}, which is not {allowed}; add the right one for its id, the last one counts; a retry "
            "before that gives the same"
        ) from error


def newest(folder: Path) -> datetime | None:
    """Return the moment of the newest prediction, or `None` when there is none."""
    for path in reversed(_segments(folder)):  # the segments of several servers overlap by an hour at most
        times = _read(path, None)
        if len(times):
            moment: datetime = times["ct_time"].max().to_pydatetime(warn=False)
            return moment
    return None


_OUTCOMES = pa.schema(
    [("id", pa.string()), ("kind", pa.string()), ("value", pa.string()), ("time", pa.timestamp("us", tz="UTC"))]
)


def _outcome(row: Mapping[str, Any], number: int, now: datetime) -> dict[str, Any]:
    identity, value = row.get("id"), row.get("value")
    if not isinstance(identity, str) or not identity or _missing(value):
        raise DataInvalid(
            f"outcome {number} has id {identity!r:.100} and value {value!r:.100}; give each row the id of a prediction and a "
            "value. Nothing was added; a retry gives the same."
        )
    told = row.get("time")
    try:
        moment = pd.Timestamp(now if _missing(told) else told)
        moment = moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
    except (ValueError, TypeError) as error:
        raise DataInvalid(
            f"outcome {number} has the time {told!r:.100}; write it as 2013-03-01T06:00:00Z. Nothing was added; a retry gives the same."
        ) from error
    kind = row.get("kind")
    plain: Any = getattr(value, "item", lambda: value)()
    return {
        "id": identity,
        "kind": "label" if _missing(kind) else str(kind),
        "value": json.dumps(plain),
        "time": moment,
    }


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)  # noqa: PLR0124 - NaN is not itself


def _segments(folder: Path) -> list[Path]:
    """Return the segments; of one that is there in both forms the Parquet file, which is whole."""
    found = {path.stem: path for suffix in ("jsonl", "parquet") for path in folder.glob(f"*.{suffix}")}
    return [found[stem] for stem in sorted(found)]


def _read(path: Path, window: Window | None, columns: Sequence[str] | None = None) -> pd.DataFrame:
    names = None if columns is None else ["ct_time", *columns]
    try:
        if path.suffix == ".parquet":
            between = [("ct_time", ">=", window.start), ("ct_time", "<", window.end)] if window else None
            return pq.read_table(path, columns=names, filters=between).to_pandas()
        frame = _frame(_read_lines(path, window))
        return frame if names is None else frame[names]
    except FileNotFoundError:  # its time came, or it has become Parquet meanwhile
        other = path.with_suffix(".parquet")
        return _read(other, window, columns) if other != path and other.exists() else pd.DataFrame()
    except pa.ArrowInvalid as error:
        raise ArtefactCorrupt(f"{path} is no Parquet file ({error}); delete it; a retry reads the same") from error
    except OSError as error:
        raise StoreUnavailable(f"cannot read {path} ({error}); check rights and disk; a retry reads again") from error


def _read_lines(path: Path, window: Window | None) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # being written, or cut off by a crash of the machine: no client has seen it
            try:
                record: dict[str, Any] = json.loads(line)
                moment = record["time"]
            except (ValueError, KeyError, TypeError) as error:
                raise ArtefactCorrupt(
                    f"line {number} of {path} is no record of a prediction; delete the file; a retry reads the same"
                ) from error
            if window is None or window.start.timestamp() <= moment < window.end.timestamp():
                yield record


def _in_order(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return pd.DataFrame({name: pd.Series(dtype="object") for name in OURS}).astype(
            {"ct_time": "datetime64[ns, UTC]"}
        )
    return pd.concat(filled, ignore_index=True).sort_values("ct_time", kind="stable", ignore_index=True)


def _rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    several = len(record["predictions"]) > 1
    head = {f"ct_{name}": record[name] for name in ("version", "fence", "reason", "share", "entity", "digest")}
    for row, prediction in enumerate(record["predictions"]):
        yield {
            "ct_id": f"{record['id']}#{row}" if several else record["id"],
            "ct_time": record["time"],
            **head,
            "ct_prediction": prediction,
            **{name: values[row] if several else values for name, values in record["columns"].items()},
        }


def _frame(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    return _table(records).to_pandas()


def _table(records: Iterable[dict[str, Any]]) -> pa.Table:
    rows = [row for record in records for row in _rows(record)]
    names = {name: None for row in rows for name in row} or dict.fromkeys(OURS)
    columns = {name: _array([row.get(name) for row in rows]) for name in names}
    seconds = [row["ct_time"] for row in rows]
    columns["ct_time"] = pa.array([round(each * 1e9) for each in seconds], pa.timestamp("ns", tz="UTC"))
    return pa.table(columns)


def _array(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # a client sent 1 and "1"
        with suppress(ValueError, TypeError):
            return pa.array([None if value is None else float(value) for value in values])
        return pa.array([None if value is None else str(value) for value in values])


@contextmanager
def _unwritten(path: Path) -> Iterator[IO[bytes] | None]:
    """Hold the segment's lock, or give `None` while a server holds it."""
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            yield file if path.exists() else None
    except FileNotFoundError:
        yield None


def _write(path: Path, table: pa.Table) -> None:
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        pq.write_table(table, staged)
        with staged.open("rb") as file:
            os.fsync(file.fileno())
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise StoreUnavailable(
            f"cannot write {path} ({error}); check space and rights; a retry starts again"
        ) from error
