import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from continuous_training.core.errors import DataInvalid, SourceUnavailable, SpecError, UsageError
from continuous_training.core.task import Task
from continuous_training.core.window import Window
from continuous_training.sources import Parquet

TASK = Task(kind="regression", label="y", event_time="t")
START = datetime(2013, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class Remembering(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A file system that remembers its listings, as those of object stores do."""

    protocol = "remembering"

    def ls(self, path: str, detail: bool = True, **_: object) -> list[object]:
        if path not in self.dircache:
            self.dircache[path] = fsspec.filesystem("file").ls(self._strip_protocol(path), detail=True)
        return self.dircache[path] if detail else [entry["name"] for entry in self.dircache[path]]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.dircache.clear()

    def _open(self, path: str, mode: str = "rb", **_: object) -> object:
        return Path(path).open(mode)


def write(path: Path, times: list[object], kind: pa.DataType | None = None, **columns: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {
        "t": pa.array(times, kind or pa.timestamp("us", "UTC")),
        "y": pa.array([float(n) for n in range(len(times))]),
    }
    pq.write_table(pa.table({**table, **columns}), path)


def read(folder: Path | str, *columns: str, days: int = 1, start: datetime = START) -> pd.DataFrame:
    window = Window(start=start, end=start + days * DAY)
    return Parquet(path=str(folder)).read(window, task=TASK, columns=columns, as_of=START + 999 * DAY, locations={})


def watermark(folder: Path | str) -> datetime | None:
    return Parquet(path=str(folder)).watermark(task=TASK, locations={})


@pytest.mark.parametrize(
    "path",
    [
        "{{ var.value.x }}",
        "{data.x}/a",
        "{}/a",
        "{data",
        "data}",
        "{0}/a",
        "{data!r}/a",
        "${HOME}_x",
        "{data}_private/a",
    ],
)
def test_braces_that_do_not_name_a_location_are_refused(path: str) -> None:
    with pytest.raises(ValidationError, match=r"braces that do not name a location"):
        Parquet(path=path)


@pytest.mark.parametrize("path", ["../secret", "{data}/../../etc", "s3://bucket/a/..", "a\\..\\b"])
def test_a_path_that_climbs_out_of_its_folder_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match=r"climbs out"):
        Parquet(path=path)


@pytest.mark.parametrize("path", ["", "a\0b", "a\nb", "x" * 1001])
def test_a_path_that_cannot_be_a_path_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        Parquet(path=path)


@pytest.mark.parametrize("path", ["{data}", "{data}/flights", "s3://{bucket}/a..b/x", "flights/2013", "/srv/a=b"])
def test_a_plain_path_with_names_of_locations_is_taken(path: str) -> None:
    assert Parquet(path=path).path == path


def test_a_name_in_braces_becomes_its_location_and_text_inside_it_is_not_replaced_again() -> None:
    locations = {"lake": "s3://lake/{other}/", "other": "nowhere"}
    assert Parquet(path="{lake}/flights").url(locations) == "s3://lake/{other}/flights"


def test_an_unknown_location_is_named_with_the_known_ones() -> None:
    source = Parquet(path="{lakes}/flights")
    with pytest.raises(SpecError, match=r"location 'lakes'.*known: data, lake;.*CT_LOCATIONS.*retry gives the same"):
        source.watermark(task=TASK, locations={"lake": "s3://lake", "data": "/srv"})


def test_half_written_hidden_and_foreign_files_are_not_read(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [START])
    for name in ("_b.parquet", ".b.parquet", "_staging/b.parquet", ".tmp/b.parquet", "b.parquet.tmp", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("half")
    assert len(read(tmp_path)) == 1
    assert watermark(tmp_path) == START


def test_a_folder_of_other_files_alone_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "_half.parquet").write_text("half")
    assert watermark(tmp_path) is None
    (tmp_path / "rows.csv").write_text("t,y")
    for ask in (watermark, read):
        with pytest.raises(
            SourceUnavailable, match=r"holds 1 file\(s\), and the name of none ends in \.parquet \('rows\.csv'\)"
        ):
            ask(tmp_path)


def test_a_folder_below_a_hidden_one_is_read_when_it_is_the_one_named(tmp_path: Path) -> None:
    write(tmp_path / ".ct" / "_data" / "a.parquet", [START])
    assert len(read(tmp_path / ".ct" / "_data")) == 1


def test_one_file_can_be_a_source(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [START])
    write(tmp_path / "b.parquet", [START])
    assert len(read(tmp_path / "a.parquet")) == 1


def test_a_relative_path_and_a_trailing_slash_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "rows" / "a.parquet", [START])
    monkeypatch.chdir(tmp_path)
    assert len(read("rows/")) == 1


def test_files_that_arrive_later_are_seen_even_where_listings_are_remembered(tmp_path: Path) -> None:
    fsspec.register_implementation("remembering", Remembering, clobber=True)
    write(tmp_path / "a.parquet", [START])
    assert watermark(f"remembering://{tmp_path}") == START
    write(tmp_path / "b.parquet", [START + DAY])
    assert watermark(f"remembering://{tmp_path}") == START + DAY


def test_partition_keys_are_columns_and_whole_numbers_only_where_nothing_is_lost(tmp_path: Path) -> None:
    write(tmp_path / "month=3" / "region=US%20east" / "code=01" / "a.parquet", [START])
    write(tmp_path / "month=12" / "region=2" / "code=2" / "a.parquet", [START])
    write(tmp_path / "month=__HIVE_DEFAULT_PARTITION__" / "region=EU" / "code=3" / "a.parquet", [START])
    seen = read(tmp_path, "month", "region", "code")
    assert set(seen["month"].dropna()) == {3, 12}
    assert seen["month"].isna().sum() == 1
    assert set(seen["region"]) == {"US east", "2", "EU"}
    assert set(seen["code"]) == {"01", "2", "3"}


def test_a_partition_key_that_nobody_asks_for_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "x=1" / "a.parquet", [START], x=pa.array(["text"]))
    write(tmp_path / "x=word" / "plain" / "a.parquet", [START], x=pa.array(["text"]))
    assert list(read(tmp_path).columns) == ["t", "y"]


def test_a_column_in_the_file_goes_before_a_partition_key_of_that_name(tmp_path: Path) -> None:
    write(tmp_path / "x=1" / "a.parquet", [START], x=pa.array(["text"]))
    assert read(tmp_path, "x")["x"].tolist() == ["text"]


def test_a_column_that_was_added_later_is_missing_in_older_rows_with_its_later_type(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", [START])
    write(tmp_path / "2.parquet", [START + DAY], gust=pa.array([5.5]))
    assert read(tmp_path, "gust", days=2)["gust"].tolist()[1] == 5.5
    alone = read(tmp_path, "gust")
    assert alone["gust"].isna().all()
    assert alone["gust"].dtype == "float64"


def test_numbers_of_different_width_are_read_as_the_wider_type(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", [START], n=pa.array([1], pa.int32()))
    write(tmp_path / "2.parquet", [START + DAY], n=pa.array([1.5]))
    assert read(tmp_path, "n")["n"].dtype == "float64"


def test_files_that_disagree_on_a_type_are_refused_with_both_types(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", [START], n=pa.array([1]))
    write(tmp_path / "2.parquet", [START + 9 * DAY], n=pa.array(["one"]))
    with pytest.raises(DataInvalid, match=r"disagree on the type of a column.*n has incompatible types"):
        read(tmp_path, "n")
    assert len(read(tmp_path)) == 1


def test_categories_come_as_their_text_and_decimals_as_floats(tmp_path: Path) -> None:
    words = pa.array(["AA"]).dictionary_encode()
    write(tmp_path / "1.parquet", [START], c=words, d=pa.array([1], pa.decimal128(9, 2)))
    write(tmp_path / "2.parquet", [START], c=pa.array(["DL"]), d=pa.array([2.5]))
    seen = read(tmp_path, "c", "d")
    assert seen["c"].tolist() == ["AA", "DL"]
    assert seen["d"].tolist() == [1, 2.5]


NAIVE = START.replace(tzinfo=None)


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ns", "UTC"),
        pa.timestamp("us", "America/New_York"), pa.date32(), pa.date64(),
    ],
    ids=str,
)  # fmt: skip
def test_every_time_type_is_read_as_the_same_moments(tmp_path: Path, kind: pa.DataType) -> None:
    days = [NAIVE + n * DAY for n in (-1, 0, 1)]
    write(tmp_path / "a.parquet", [day.date() if pa.types.is_date(kind) else day for day in days], kind)
    assert read(tmp_path)["t"].tolist() == [pd.Timestamp(START)]
    assert watermark(tmp_path) == START + DAY


def test_files_with_different_time_types_are_one_source(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", [date(2013, 3, 1)], pa.date32())
    write(tmp_path / "2.parquet", [NAIVE + timedelta(hours=1)], pa.timestamp("ms"))
    write(tmp_path / "3.parquet", [START + timedelta(hours=2)], pa.timestamp("ns", "Asia/Tokyo"))
    assert read(tmp_path)["t"].tolist() == [pd.Timestamp(START) + pd.Timedelta(hours=n) for n in range(3)]


def test_an_edge_between_two_whole_seconds_is_exact(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [NAIVE, NAIVE + timedelta(seconds=1)], pa.timestamp("s"))
    half = START + timedelta(milliseconds=500)
    assert read(tmp_path, start=half - DAY)["t"].tolist() == [pd.Timestamp(START)]
    assert read(tmp_path, start=half)["t"].tolist() == [pd.Timestamp(START) + pd.Timedelta(seconds=1)]


@pytest.mark.parametrize("values", [["2013-03-01"], [1362096000], [b"x"]])
def test_an_event_time_that_is_no_time_is_refused_with_its_file_and_type(tmp_path: Path, values: list[object]) -> None:
    write(tmp_path / "a.parquet", values, pa.array(values).type)
    with pytest.raises(DataInvalid, match=r"event time 't' of .*a\.parquet is (string|int64|binary)"):
        read(tmp_path)


def test_a_file_without_the_event_time_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [START])
    pq.write_table(pa.table({"y": [1.0]}), tmp_path / "b.parquet")
    with pytest.raises(DataInvalid, match=r"b\.parquet has no column 't'"):
        read(tmp_path)


def test_the_watermark_is_read_from_the_footers_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [None, START, START + DAY])
    _break_pages(tmp_path / "a.parquet")
    assert watermark(tmp_path) == START + DAY


@pytest.mark.parametrize("options", [{"write_statistics": False}, {"use_deprecated_int96_timestamps": True}])
def test_the_watermark_is_read_from_the_column_where_statistics_are_missing(
    tmp_path: Path, options: dict[str, bool]
) -> None:
    write(tmp_path / "a.parquet", [START])
    times = pa.array([NAIVE, None, NAIVE + 3 * DAY, NAIVE + DAY], pa.timestamp("us"))
    pq.write_table(pa.table({"t": times, "y": [0.0] * 4}), tmp_path / "b.parquet", row_group_size=2, **options)
    assert watermark(tmp_path) == START + 3 * DAY
    assert len(read(tmp_path)) == 2


def test_rows_without_an_event_time_alone_give_no_watermark(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [None, None])
    assert watermark(tmp_path) is None
    assert len(read(tmp_path)) == 0


def test_a_watermark_may_lie_where_nanoseconds_cannot(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [START, datetime(9999, 12, 31, tzinfo=UTC)])
    assert watermark(tmp_path) == datetime(9999, 12, 31, tzinfo=UTC)
    assert len(read(tmp_path)) == 1


def test_only_row_groups_and_files_that_overlap_the_window_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [START])
    write(tmp_path / "b.parquet", [START + DAY], x=pa.array(["long before"]))
    write(tmp_path / "c.parquet", [START - timedelta(microseconds=1)])
    _break_pages(tmp_path / "b.parquet")
    _break_pages(tmp_path / "c.parquet")
    assert len(read(tmp_path)) == 1
    with pytest.raises(SourceUnavailable, match=r"cannot be read.*a retry reads again"):
        read(tmp_path, days=2)


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [START], x=pa.array(["unused" * 100]))
    footer = pq.read_metadata(tmp_path / "a.parquet")
    column = next(
        footer.row_group(0).column(n) for n in range(3) if footer.row_group(0).column(n).path_in_schema == "x"
    )
    begin = column.dictionary_page_offset or column.data_page_offset
    _overwrite(tmp_path / "a.parquet", begin, begin + column.total_compressed_size)
    assert len(read(tmp_path)) == 1
    with pytest.raises(SourceUnavailable):
        read(tmp_path, "x")


def test_a_half_written_file_under_a_final_name_may_be_complete_at_a_retry(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(SourceUnavailable, match=r"still being written must have a name that starts with _"):
        read(tmp_path)


def test_an_unknown_protocol_is_a_wrong_path_not_a_lost_source() -> None:
    with pytest.raises(UsageError, match=r"nosuch://x cannot be opened.*a retry gives the same"):
        watermark("nosuch://x")


def test_credentials_in_a_location_are_not_shown() -> None:
    with pytest.raises(SourceUnavailable) as caught:
        Parquet(path="{lake}/x").watermark(task=TASK, locations={"lake": "memory://reader:hush@lake"})
    assert "hush" not in str(caught.value)
    assert "memory://***@lake/x" in str(caught.value)


def test_an_index_that_pandas_wrote_does_not_come_back(tmp_path: Path) -> None:
    rows = pd.DataFrame({"t": pd.to_datetime([START]), "y": [1.0]}, index=pd.Index([7], name="id"))
    rows.to_parquet(tmp_path / "a.parquet")
    seen = read(tmp_path)
    assert list(seen.columns) == ["t", "y"]
    assert list(seen.index) == [0]


READ_AND_TELL_PEAK = """
import sys
from datetime import UTC, datetime, timedelta
from continuous_training.core.task import Task
from continuous_training.core.window import Window
from continuous_training.sources import Parquet

task = Task(kind="regression", label="y", event_time="t")
window = Window(start=datetime(2013, 3, 1, tzinfo=UTC), end=datetime(2013, 3, 11, tzinfo=UTC))
columns = [f"x{n}" for n in range(6)]
rows = Parquet(path=sys.argv[1]).read(window, task=task, columns=columns, as_of=window.end, locations={})
print(len(rows), next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def _set_of(folder: Path, days: int, *, shuffled: bool) -> None:
    """Write 12,000 rows a day: a file a day, or one file in which every row group spans all days."""
    folder.mkdir()
    random = np.random.default_rng(5)
    numbers = random.normal(size=(7, 12_000))

    def table(day: int) -> pa.Table:
        second = np.linspace(0, 86_399, 12_000) if not shuffled else random.uniform(0, days * 86_400 - 1, 12_000)
        times = np.datetime64("2013-03-01", "us") + (second * 1e6).astype("timedelta64[us]")
        times = times if shuffled else times + np.timedelta64(day, "D")
        return pa.table({**{f"x{n}": numbers[n] for n in range(6)}, "unused": numbers[6], "y": numbers[0], "t": times})

    if not shuffled:
        for day in range(days):
            pq.write_table(table(day), folder / f"{day:03}.parquet", use_dictionary=False)
        return
    with pq.ParquetWriter(folder / "all.parquet", table(0).schema, use_dictionary=False) as writer:
        for day in range(days):
            writer.write_table(table(day))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("shuffled", [False, True], ids=["a file a day", "one file in no order"])
def test_a_window_of_a_ten_times_larger_set_needs_no_more_memory(tmp_path: Path, shuffled: bool) -> None:
    peaks = []
    for days in (10, 100):
        _set_of(tmp_path / str(days), days, shuffled=shuffled)
        command = [sys.executable, "-c", READ_AND_TELL_PEAK, str(tmp_path / str(days))]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout.split()
        assert 110_000 < int(told[0]) < 130_000
        peaks.append(int(told[1]))
    assert peaks[1] <= 1.2 * peaks[0]


@pytest.fixture(autouse=True)
def _empty_memory() -> Iterator[None]:
    yield
    fsspec.filesystem("memory").store.clear()


def _break_pages(path: Path) -> None:
    """Overwrite the data of a file and leave its footer whole."""
    footer_bytes = int.from_bytes(path.read_bytes()[-8:-4], "little")
    _overwrite(path, 4, path.stat().st_size - 8 - footer_bytes)


def _overwrite(path: Path, start: int, end: int) -> None:
    content = bytearray(path.read_bytes())
    content[start:end] = b"\xff" * (end - start)
    path.write_bytes(content)
