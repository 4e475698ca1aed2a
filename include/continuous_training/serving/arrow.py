"""Batches as a stream of Arrow's IPC format, in and out. pyarrow is imported with the first one.

Before a batch is decoded its header is read here: pyarrow would unpack compressed buffers and make columns of as many rows
as the header states, whatever that takes. What it decodes is validated before it is used.

Source: https://github.com/apache/arrow/tree/main/format, `Message.fbs` and `Schema.fbs`; tables of FlatBuffers are read as
https://flatbuffers.dev/internals/ describes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from continuous_training.core.errors import DataInvalid
from continuous_training.serving.asked import Asked, check_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from continuous_training.deployers.base import Release
    from continuous_training.serving.asked import Why
    from continuous_training.trainers.bundle import Prediction

MEDIA_TYPE = b"application/vnd.apache.arrow.stream"
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3  # MessageHeader
_HEADER_TYPE, _HEADER, _BODY_LENGTH = 1, 2, 3  # fields of Message
_LENGTH, _COMPRESSION = 0, 3  # fields of RecordBatch
_DATA = 1  # field of DictionaryBatch
_CONTINUED = 0xFFFFFFFF


def read_request(body: bytes, names: Sequence[str]) -> Asked:
    """Return the columns `names` of the stream; other columns are left out.

    Raises
    ------
    DataInvalid
        It is no such stream, is compressed, or lacks a column.
    TooManyRows
        More than 100,000 rows.
    """
    pa = _pyarrow()
    try:
        _check_headers(body)
        options = pa.ipc.IpcReadOptions(use_threads=False)
        with pa.ipc.open_stream(body, options=options) as reader:
            _check_names(reader.schema.names, names)
            named = [reader.schema.names]
            batches = [batch.select(names) for batch in reader]
            table = pa.Table.from_batches(batches, pa.schema([reader.schema.field(name) for name in names]))
        table.validate(full=True)
    except (pa.ArrowException, struct.error, LookupError, ValueError, OverflowError, OSError) as error:
        raise DataInvalid(f"the body is no stream of Arrow's IPC format ({error!s:.200})") from error
    return Asked({name: _values(table.column(name)) for name in names}, table.num_rows, named=named)


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        msg = "this server has no pyarrow to read Arrow with; send application/json"
        raise DataInvalid(msg) from error
    return pa


def write_answer(_release: Release, _asked: Asked, predictions: Sequence[Prediction], _why: Why | None = None) -> bytes:
    """Return a stream with the column `predictions`: numbers, or with more than two classes lists of them."""
    import numpy as np
    import pyarrow as pa

    # Lists would go through pa.array, which imports pandas where there is one.
    found = np.array(predictions, dtype=np.float64)
    column = pa.Array.from_buffers(pa.float64(), found.size, [None, pa.py_buffer(found)])
    if found.ndim > 1:
        column = pa.FixedSizeListArray.from_arrays(column, found.shape[1])
    batch = pa.RecordBatch.from_arrays([column], names=["predictions"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    answer: bytes = sink.getvalue().to_pybytes()
    return answer


def _check_names(given: Sequence[str], names: Sequence[str]) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        raise DataInvalid(f"the stream lacks the columns {', '.join(missing)}; a value that is not known is null")
    twice = [name for name in names if given.count(name) > 1]
    if twice:
        raise DataInvalid(f"the stream has {', '.join(twice)} more than once; name each column once")


def _values(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    plain = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    # An integer column with gaps would come as floats, which name the same categories and numbers.
    return column.to_numpy() if plain else column.to_pylist()


def _check_headers(body: bytes) -> None:
    rows = 0
    for kind, header in _headers(body):
        batch = _table(body, header, _DATA) if kind == _DICTIONARY else header
        if kind in {_DICTIONARY, _BATCH} and batch is not None:
            if _field(body, batch, _COMPRESSION) is not None:
                msg = "the stream is compressed; write it without"
                raise DataInvalid(msg)
            place = _field(body, batch, _LENGTH)
            rows += struct.unpack_from("<q", body, place)[0] if place is not None else 0
            check_rows(rows)


def _headers(body: bytes) -> Iterator[tuple[int, int]]:
    """Give the type of each message and the place of its header."""
    place = 0
    while place + 8 <= len(body):
        mark, size = struct.unpack_from("<II", body, place)
        if mark != _CONTINUED:  # as before Arrow 0.15, or nothing of Arrow's
            msg = "the body is no stream of Arrow's IPC format of today; write it with Arrow 0.15 or later"
            raise DataInvalid(msg)
        if not size:
            return
        message = place + 8 + struct.unpack_from("<I", body, place + 8)[0]
        kind, header = _field(body, message, _HEADER_TYPE), _table(body, message, _HEADER)
        length = _field(body, message, _BODY_LENGTH)
        if kind is not None and header is not None:
            yield body[kind], header
        place += 8 + size + (struct.unpack_from("<Q", body, length)[0] if length is not None else 0)


def _field(body: bytes, table: int, number: int) -> int | None:
    """Return the place of a table's field, or `None` when it is not given."""
    shape = table - struct.unpack_from("<i", body, table)[0]
    size = struct.unpack_from("<H", body, shape)[0]
    if 4 + 2 * number >= size:
        return None
    offset = struct.unpack_from("<H", body, shape + 4 + 2 * number)[0]
    return table + offset if offset else None


def _table(body: bytes, table: int, number: int) -> int | None:
    """Return the place of the table that a table's field refers to."""
    place = _field(body, table, number)
    return None if place is None else place + struct.unpack_from("<I", body, place)[0]
