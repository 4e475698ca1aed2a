"""What the generators of the examples share: days that never depend on one another, landed one folder for each.

Every day is drawn from the seed and its date alone, so the days can land in any order, today or next week, and are the
same rows each time.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

Day = Callable[[pd.Timestamp, np.random.Generator], pd.DataFrame]
"""From midnight UTC and that day's random numbers to the rows of the day."""


def rows(day: Day, start: str, end: str, seed: int = 7) -> pd.DataFrame:
    """Return the rows of the days from `start` up to and without `end`."""
    days = pd.date_range(start, end, freq="D", tz="UTC", inclusive="left")
    return pd.concat([day(date, np.random.default_rng([seed, date.toordinal()])) for date in days], ignore_index=True)


def land(table: pd.DataFrame, time: str, folder: Path) -> None:
    """Write the rows as `date=YYYY-MM-DD/part.parquet`, by the date of the column `time`."""
    for date, part in table.groupby(table[time].dt.strftime("%Y-%m-%d")):
        place = folder / f"date={date}" / "part.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        staged = place.with_name("_part.parquet")  # readers skip names that start with an underscore
        part.sort_values(time, kind="stable").to_parquet(staged, index=False)
        staged.replace(place)


def main(day: Day, time: str, description: str) -> None:
    """Land the days that the command line asks for."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--from", dest="start", required=True, help="first day, for example 2024-01-01")
    parser.add_argument("--to", dest="end", required=True, help="the day after the last")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    table = rows(day, arguments.start, arguments.end, arguments.seed)
    land(table, time, arguments.folder)
    print(f"{len(table)} rows written to {arguments.folder}")


def moments(date: pd.Timestamp, count: int, random: np.random.Generator, busiest: float) -> pd.DatetimeIndex:
    """Return `count` times of the day in order, most of them around the hour `busiest`, none in its last minutes."""
    hours = np.sort(random.normal(busiest, 4.5, count) % 23.9)
    return (date + pd.to_timedelta(hours, unit="h")).floor("s")
