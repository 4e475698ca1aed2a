import random
import struct

import numpy as np
import pyarrow as pa
import pytest

from continuous_training.core.errors import DataInvalid
from continuous_training.serving.arrow import read_request
from continuous_training.serving.asked import MAX_ROWS, TooManyRows

TABLE = pa.table(
    {
        "number": pa.array([1.5, None, 2.0] * 4),
        "whole": pa.array([1, None, 3] * 4),
        "text": pa.array(["x", None, "y"] * 4),
        "category": pa.array(["x", None, "y"] * 4).dictionary_encode(),
        "flag": pa.array([True, None, False] * 4),
        "other": pa.nulls(12),
    }
)
NAMES = TABLE.column_names[:5]


def stream(table=TABLE, **options):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=5)
    return sink.getvalue().to_pybytes()


def test_columns_come_as_numbers_and_as_values():
    columns, rows, *_ = read_request(stream(), NAMES)
    assert rows == 12
    np.testing.assert_array_equal(columns["number"][:3], [1.5, np.nan, 2.0])
    np.testing.assert_array_equal(columns["whole"][:3], [1, np.nan, 3])
    assert columns["text"][:3] == columns["category"][:3] == ["x", None, "y"]
    assert columns["flag"][:3] == [True, None, False]
    assert list(columns) == NAMES


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compressed_stream_is_refused_before_it_is_unpacked(compression):
    zeros = pa.table({"number": np.zeros(90_000)})
    with pytest.raises(DataInvalid, match="the stream is compressed"):
        read_request(stream(zeros, compression=compression), ["number"])


def test_a_header_that_states_more_rows_than_allowed_is_refused_before_they_are_made():
    nothing = pa.table({"number": pa.nulls(MAX_ROWS + 1)})
    with pytest.raises(TooManyRows):
        read_request(stream(nothing), ["number"])
    one = stream(pa.table({"number": pa.nulls(1)}))
    with pytest.raises(TooManyRows, match="1,000,000,000,000 rows"):
        read_request(one.replace(struct.pack("<q", 1), struct.pack("<q", 10**12)), ["number"])


def test_a_stream_of_before_arrow_0_15_is_refused():
    with pytest.raises(DataInvalid, match=r"write it with Arrow 0\.15 or later"):
        read_request(stream(use_legacy_format=True), NAMES)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no stream of Arrow"),
        (b"{}", "no stream of Arrow"),
        (b'{"dataframe_records": []}', "no stream of Arrow"),
        (stream()[:-200], "no stream of Arrow"),
        (stream(TABLE.select(["text"])), "lacks the columns number"),
        (stream(pa.table([[1.0], [2.0]], names=["number", "number"])), "has number more than once"),
    ],
)
def test_what_is_no_such_stream_is_refused(body, said):
    with pytest.raises(DataInvalid, match=said):
        read_request(body, ["number"])


def test_no_bytes_do_more_than_be_refused():
    body, chance = stream(), random.Random(4)
    for _ in range(2000):
        changed = bytearray(body)
        for _ in range(chance.randint(1, 6)):
            changed[chance.randrange(len(body))] = chance.randrange(256)
        try:
            read_request(bytes(changed[: chance.choice([len(body), chance.randrange(len(body))])]), NAMES)
        except DataInvalid as error:
            assert str(error)
