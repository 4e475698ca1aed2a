"""Read Parquet files by window, with memory that grows with the window and not with the set."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from continuous_training.core.errors import ContinuousTrainingError, DataInvalid, SourceUnavailable, UsageError
from continuous_training.core.task import Task
from continuous_training.core.window import Window
from continuous_training.sources import _rows

_FORMAT = ds.ParquetFileFormat(
    # Pre-buffering would hold the compressed bytes of a whole file until its last row is read.
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(
        use_buffered_stream=True, buffer_size=1 << 20, pre_buffer=False
    )
)
_BATCH_ROWS = 65_536
_FOOTERS_AT_ONCE = 8  # on an object store each footer is a round trip
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")


def read(url: str, window: Window, *, task: Task, columns: Sequence[str], as_of: datetime) -> pd.DataFrame:
    """Return the rows of `window` from the files below `url`."""
    names = _rows.wanted(task, columns)
    with _reachable(url):
        folder = _Folder(url)
        hits: list[_File] = []
        schemas: set[pa.Schema] = set()
        available: set[str] = set()
        for file in folder.files(task.event_time):
            available.update(file.schema.names, file.keys)
            schemas.add(file.plain_schema(names, task.event_time))
            if file.overlaps(window):
                hits.append(file)
        schema = _unify(schemas, names, available, task, url)
        tables = [table for file in hits for table in folder.scan(file, names, task, window)]
    return _rows.to_frame(tables, schema, task=task, as_of=as_of)


def watermark(url: str, *, task: Task) -> datetime | None:
    """Return the newest event time below `url`, or `None` when no row has one."""
    ends: list[datetime] = []
    with _reachable(url):
        folder = _Folder(url)
        for file in folder.files(task.event_time):
            ends += [span[1] for span in file.spans if span]
            if None in file.spans:
                newest = [pc.max(table[task.event_time]) for table in folder.scan(file, [task.event_time], task)]
                ends += [_rows.moment(scalar.as_py()) for scalar in newest]
    return max(ends, default=None)


@dataclass(frozen=True)
class _File:
    """What is known of one file before its rows are read.

    `spans` are the first and last event time of each row group that has any, `None` where the writer did not record
    them. `keys` are the hive partition keys in its path.
    """

    path: str
    schema: pa.Schema
    keys: dict[str, pa.Scalar]
    spans: list[tuple[datetime, datetime] | None]

    def overlaps(self, window: Window) -> bool:
        return any(span is None or (span[0] < window.end and span[1] >= window.start) for span in self.spans)

    def plain_schema(self, names: Sequence[str], event_time: str) -> pa.Schema:
        kinds = {name: scalar.type for name, scalar in self.keys.items()}
        kinds |= {field.name: _rows.plain(field.type) for field in self.schema}
        kinds[event_time] = _rows.UTC_TIME
        return pa.schema([(name, kinds[name]) for name in names if name in kinds])


class _Folder:
    """The complete Parquet files below a URL, in the order of their names."""

    def __init__(self, url: str) -> None:
        fs, root = _file_system(url)
        fs.invalidate_cache()  # listings are remembered: a sensor in a long-lived process must see new files
        if not fs.exists(root):
            msg = f"there is nothing at {_shown(url)}; correct the path or wait for the data; a retry looks again"
            raise SourceUnavailable(msg)
        found = sorted(fs.find(root, on_error="raise"))
        local = "file" in fs.protocol
        self._fs = pyarrow.fs.LocalFileSystem() if local else pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs))
        whole = [path for path in found if not _is_hidden(path.removeprefix(root))]
        parquet = [path for path in whole if path.endswith(".parquet")]
        if whole and not parquet:
            msg = (
                f"{_shown(url)} holds {len(whole):,} file(s), and the name of none ends in .parquet "
                f"({whole[0].rpartition('/')[2]!r}); write Parquet files there; a retry looks again"
            )
            raise SourceUnavailable(msg)
        self._keys = _partition_keys(root, parquet)

    def files(self, event_time: str) -> Iterator[_File]:
        """Read the footer of each file."""
        with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
            yield from pool.map(lambda path: self._file(path, event_time), self._keys)

    def scan(self, file: _File, names: Sequence[str], task: Task, window: Window | None = None) -> Iterator[pa.Table]:
        """Yield those of `names` that the file has, for the rows in the window (with an event time), batch by batch."""
        column, kind = ds.field(task.event_time), file.schema.field(task.event_time).type
        inside = column.is_valid()
        if window:
            inside = (column >= _rows.edge(window.start, kind)) & (column < _rows.edge(window.end, kind))
        schema = file.plain_schema(names, task.event_time)
        batches = _FORMAT.make_fragment(file.path, filesystem=self._fs).to_batches(
            columns=[name for name in schema.names if name in file.schema.names],
            filter=inside,
            batch_size=_BATCH_ROWS,
            batch_readahead=0,  # decoded batches that wait are memory; one at a time costs no measurable speed
            fragment_readahead=1,
        )
        for batch in batches:
            if batch.num_rows:
                yield _plain_table(batch, file, schema, task.event_time)

    def _file(self, path: str, event_time: str) -> _File:
        footer = pq.read_metadata(path, filesystem=self._fs)
        schema = footer.schema.to_arrow_schema()
        _rows.require([event_time], schema.names, _shown(path))
        _rows.require_time(schema.field(event_time).type, event_time, _shown(path))
        return _File(path, schema, self._keys[path], list(_spans(footer, event_time)))


def _file_system(url: str) -> tuple[Any, str]:
    try:
        return url_to_fs(url)  # type: ignore[no-any-return]
    except (ImportError, ValueError) as error:
        msg = (
            f"{_shown(url)} cannot be opened ({error}); write a folder or a URL that fsspec knows, "
            "and install the package its protocol needs; a retry gives the same"
        )
        raise UsageError(msg) from error


def _is_hidden(name: str) -> bool:
    return any(part.startswith(("_", ".")) for part in name.split("/"))


def _partition_keys(root: str, paths: list[str]) -> dict[str, dict[str, pa.Scalar]]:
    """Return the `name=value` folders on the way to each file; values are whole numbers if all of a name's are."""
    folders = {path: path.removeprefix(root).split("/")[:-1] for path in paths}
    texts = {path: dict(part.split("=", 1) for part in parts if "=" in part) for path, parts in folders.items()}
    words = {name for keys in texts.values() for name, value in keys.items() if not _is_whole(value)}

    def scalar(name: str, value: str) -> pa.Scalar:
        text = pa.scalar(None if value == _NO_VALUE else unquote(value), pa.string())
        return text if name in words else text.cast(pa.int64())

    return {path: {name: scalar(name, value) for name, value in keys.items()} for path, keys in texts.items()}


def _is_whole(value: str) -> bool:
    return value == _NO_VALUE or _WHOLE.fullmatch(value) is not None  # 01 stays text: it may be a code


def _spans(footer: pq.FileMetaData, event_time: str) -> Iterator[tuple[datetime, datetime] | None]:
    paths = [footer.schema.column(index).path for index in range(footer.num_columns)]
    index = paths.index(event_time)
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        recorded = group.column(index).statistics
        if recorded is not None and recorded.has_min_max:
            yield _rows.moment(recorded.min), _rows.moment(recorded.max)
        elif recorded is None or not recorded.has_null_count or recorded.null_count < group.num_rows:
            yield None


def _unify(schemas: set[pa.Schema], names: Sequence[str], available: set[str], task: Task, url: str) -> pa.Schema:
    if not schemas:  # an empty folder: no rows, and nothing known of the columns
        return pa.schema([(name, _rows.UTC_TIME if name == task.event_time else pa.null()) for name in names])
    _rows.require(names, available, _shown(url))
    try:
        merged = pa.unify_schemas(list(schemas), promote_options="permissive")
    except pa.ArrowTypeError as error:
        msg = (
            f"files of {_shown(url)} disagree on the type of a column ({error}); "
            "write it with one type in every file; a retry gives the same"
        )
        raise DataInvalid(msg) from error
    return pa.schema([(name, merged.field(name).type) for name in names])


def _plain_table(batch: pa.RecordBatch, file: _File, schema: pa.Schema, event_time: str) -> pa.Table:
    table = pa.Table.from_batches([batch])
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.chunked_array([pa.repeat(file.keys[field.name], batch.num_rows)]))
        elif field.name == event_time:
            columns.append(_rows.in_nanoseconds(table[field.name], event_time))
        else:
            columns.append(table[field.name].cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _shown(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url)


@contextlib.contextmanager
def _reachable(url: str) -> Iterator[None]:
    try:
        yield
    except (ContinuousTrainingError, MemoryError):
        raise
    except Exception as error:  # every file system raises errors of its own
        msg = (
            f"{_shown(url)} cannot be read ({_shown(' '.join(str(error).split()))}); check that it is reachable, that its files are "
            "complete (a file that is still being written must have a name that starts with _) and that this process "
            "may read them; a retry reads again"
        )
        raise SourceUnavailable(msg) from error
