"""Labelled windows: rows of several shapes with a fault injected, or with a true drift, and what each is called."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import flights
import numpy as np
import pandas as pd

from continuous_training.core.task import Features, Task
from continuous_training.core.window import Window
from continuous_training.spec import load_spec

ROOT = Path(__file__).resolve().parents[1]
REFERENCE, CURRENT = pd.Timedelta(days=56), pd.Timedelta(days=7)


@dataclass(frozen=True)
class Rows:
    """A reference and the clean rows of the window after it, and the columns that faults and drifts are put in."""

    reference: pd.DataFrame
    current: pd.DataFrame
    window: Window
    task: Task
    features: Features
    numeric: str  # a column of continuous numbers, above zero
    categorical: str
    source: str  # one value of the categorical column

    def changed(self, current: pd.DataFrame) -> "Rows":
        return replace(self, current=current)

    @property
    def time(self) -> str:
        return self.task.event_time

    def middle(self) -> pd.Timestamp:
        return pd.Timestamp(self.window.start) + (self.window.end - self.window.start) / 2


@cache
def flight_table() -> pd.DataFrame:
    return flights.flights()


@cache
def flight_model() -> tuple[Task, Features]:
    spec = load_spec(ROOT / "include" / "models" / "flight_delays.yaml")
    return spec.task, spec.features


def cut(frame: pd.DataFrame, time: str, start: pd.Timestamp, length: pd.Timedelta) -> pd.DataFrame:
    return frame[(frame[time] >= start) & (frame[time] < start + length)].reset_index(drop=True)


def week_of_flights(start: str, numeric: str = "distance", categorical: str = "origin", source: str = "LGA") -> Rows:
    task, features = flight_model()
    at = pd.Timestamp(start, tz="UTC")
    reference = cut(flight_table(), task.event_time, at - REFERENCE, REFERENCE)
    current = cut(flight_table(), task.event_time, at, CURRENT)
    window = Window(start=at.to_pydatetime(), end=(at + CURRENT).to_pydatetime())
    return Rows(reference, current, window, task, features, numeric, categorical, source)


def _times(rng: np.random.Generator, start: pd.Timestamp, per_day: int, shape: str, days: int = 63) -> pd.DatetimeIndex:
    offsets = []
    for day in range(days):
        weekday = (start + pd.Timedelta(days=day)).dayofweek
        weekly = {"flat": 1.0, "shop": 1.3 if weekday > 4 else 1.0, "office": 0.15 if weekday > 4 else 1.0}[shape]
        count = rng.poisson(per_day * weekly)
        hours = {
            "flat": lambda n: rng.random(n) * 24,
            "shop": lambda n: rng.choice([11, 19], n, p=[0.4, 0.6]) + rng.normal(0, 2, n),
            "office": lambda n: 8 + rng.beta(2, 2.5, n) * 10,
        }[shape](count)
        offsets.append(day * 24 + np.sort(hours % 24))
    return start + pd.to_timedelta((np.concatenate(offsets) * 3600).round(), unit="s")


def generated(shape: str, seed: int, per_day: int, start: str = "2024-01-01") -> Rows:
    """Return sensor readings (flat), orders of a shop, or loans of an office; no two seeds have the same columns' scales."""
    rng = np.random.default_rng(seed)
    begin = pd.Timestamp(start, tz="UTC")
    at = _times(rng, begin, per_day, shape)
    n = len(at)
    frame, features, names = {"flat": _sensors, "shop": _orders, "office": _loans}[shape](rng, at, n)
    middle = begin + REFERENCE
    task = Task(kind="regression", label="y", event_time="at")
    return Rows(
        cut(frame, "at", begin, REFERENCE), cut(frame, "at", middle, CURRENT),
        Window(start=middle.to_pydatetime(), end=(middle + CURRENT).to_pydatetime()), task, features, *names,
    )  # fmt: skip


def _sensors(rng, at, n):
    sensor = rng.choice([f"s{i}" for i in range(6)], n)
    wave = np.sin(np.arange(n) / n * 6) * rng.uniform(0, 3)
    own = pd.Series(dict(zip([f"s{i}" for i in range(6)], rng.normal(0, 2, 6), strict=True)))
    temperature = rng.uniform(15, 60) + own[sensor].to_numpy() + wave + rng.normal(0, 2, n)
    frame = pd.DataFrame({
        "at": at, "sensor": sensor, "state": rng.choice(["run", "idle", "wait", "stop"], n, p=[0.6, 0.2, 0.15, 0.05]),
        "temperature": temperature.round(2), "pressure": rng.uniform(990, 1020) + rng.normal(0, 5, n),
        "vibration": rng.lognormal(rng.normal(), 0.5, n), "humidity": 100 * rng.beta(4, 3, n),
        "offset": rng.normal(0, 1, n), "y": rng.normal(size=n),
    })  # fmt: skip
    frame.loc[rng.random(n) < 0.03, "humidity"] = np.nan
    return frame, Features(numeric=("temperature", "pressure", "vibration", "humidity", "offset"), categorical=("sensor", "state")), ("temperature", "sensor", "s3")  # fmt: skip


def _orders(rng, at, n):
    country = rng.choice(["DE", "FR", "IT", "ES", "PL"], n, p=[0.4, 0.25, 0.15, 0.12, 0.08])
    amount = rng.lognormal(3 + (country == "DE") * 0.2, rng.uniform(0.4, 0.9), n)
    frame = pd.DataFrame({
        "at": at, "country": country, "channel": rng.choice(["web", "app", "shop"], n, p=[0.5, 0.3, 0.2]),
        "amount": amount.round(2), "items": 1.0 + rng.poisson(2, n), "age": rng.normal(rng.uniform(30, 50), 9, n).round().clip(18),
        "hour": at.hour.astype(float), "weight": rng.gamma(3, rng.uniform(0.3, 3), n),
        "discount": np.where(rng.random(n) < 0.7, 0.0, rng.random(n)), "y": rng.normal(size=n),
    })  # fmt: skip
    return frame, Features(numeric=("amount", "items", "age", "hour", "weight", "discount"), categorical=("country", "channel")), ("amount", "country", "FR")  # fmt: skip


def _loans(rng, at, n):
    region = rng.choice(["north", "south", "east", "west"], n, p=[0.4, 0.3, 0.2, 0.1])
    frame = pd.DataFrame({
        "at": at, "region": region, "employment": rng.choice(["employed", "self employed", "retired", "student", "none of these"], n, p=[0.55, 0.15, 0.15, 0.1, 0.05]),
        "income": rng.gamma(4, 900 + 200 * (region == "north"), n), "debt": rng.beta(2, 5, n), "score": rng.normal(650, 60, n).round(),
        "term": rng.choice([12.0, 24.0, 36.0, 60.0], n, p=[0.2, 0.3, 0.3, 0.2]), "y": rng.normal(size=n),
    })  # fmt: skip
    frame.loc[rng.random(n) < 0.1, "debt"] = np.nan
    return frame, Features(numeric=("income", "debt", "score", "term"), categorical=("region", "employment")), ("income", "region", "south")  # fmt: skip


Change = Callable[[Rows, np.random.Generator], Rows]
TUNED: dict[str, tuple[str, Change]] = {}
"""Changes by name, each with its kind of fault (empty for a drift), that thresholds were chosen on."""
HELD_OUT: dict[str, tuple[str, Change]] = {}
"""More changes, written after the thresholds. What they first showed led to four repairs, so they are no blind test now."""


def fault(kind: str, held_out: bool = False) -> Callable[[Change], Change]:
    def add(change: Change) -> Change:
        (HELD_OUT if held_out else TUNED)[change.__name__] = (kind, change)
        return change

    return add


def _with(rows: Rows, column: str, values, where=None) -> Rows:
    current = rows.current.copy()
    where = np.ones(len(current), dtype=bool) if where is None else np.asarray(where)
    if current[column].dtype.kind in "iuf" and not isinstance(values, str):
        current[column] = np.where(where, values, current[column])
    else:
        current[column] = pd.Series(np.where(where, values, current[column].astype(object)), dtype=object)
    return rows.changed(current)


def _late(rows: Rows) -> pd.Series:
    return rows.current[rows.time] >= rows.middle()


def _own(rows: Rows) -> pd.Series:
    return rows.current[rows.categorical] == rows.source


def _inside(rows: Rows, current: pd.DataFrame) -> Rows:
    """Keep what a source would return: rows of the window, in order."""
    keep = (current[rows.time] >= rows.window.start) & (current[rows.time] < rows.window.end)
    return rows.changed(current[keep].sort_values(rows.time, kind="stable", ignore_index=True))


def _names(rows: Rows, change: Callable[[str], str], where=None) -> Rows:
    return _with(rows, rows.categorical, rows.current[rows.categorical].map(change), where)


@fault("null_burst")
def nulls_from_the_middle_on(rows, rng):
    return _with(rows, rows.numeric, np.nan, _late(rows))


@fault("null_burst")
def a_quarter_null(rows, rng):
    return _with(rows, rows.numeric, np.nan, rng.random(len(rows.current)) < 0.25)


@fault("null_burst")
def categories_become_placeholders(rows, rng):
    return _with(rows, rows.categorical, "N/A", rng.random(len(rows.current)) < 0.3)


@fault("constant_burst")
def stuck_for_a_day(rows, rng):
    since = rows.current[rows.time] - rows.middle()
    return _with(rows, rows.numeric, float(rows.current[rows.numeric].iloc[5]), since.between("0h", "24h"))


@fault("constant_burst")
def a_default_in_a_third(rows, rng):
    return _with(rows, rows.numeric, -1.0, rng.random(len(rows.current)) < 0.33)


@fault("constant_burst")
def one_category_for_all(rows, rng):
    return _with(rows, rows.categorical, rows.source)


@fault("unit_change")
def times_a_thousand(rows, rng):
    return _with(rows, rows.numeric, rows.current[rows.numeric] * 1000)


@fault("unit_change")
def a_hundredth(rows, rng):
    return _with(rows, rows.numeric, rows.current[rows.numeric] / 100)


@fault("unit_change")
def miles_to_kilometres(rows, rng):
    return _with(rows, rows.numeric, rows.current[rows.numeric] * 1.609344)


@fault("unit_change")
def feet_from_metres_from_the_middle_on(rows, rng):
    return _with(rows, rows.numeric, rows.current[rows.numeric] / 0.3048, _late(rows))


@fault("time_shift")
def five_hours_later(rows, rng):
    return _inside(rows, rows.current.assign(**{rows.time: rows.current[rows.time] + pd.Timedelta(hours=5)}))


@fault("time_shift")
def half_a_day_and_a_half_hour(rows, rng):
    return _inside(rows, rows.current.assign(**{rows.time: rows.current[rows.time] - pd.Timedelta(hours=5.5)}))


@fault("partial_window")
def the_last_day_is_missing(rows, rng):
    return rows.changed(rows.current[rows.current[rows.time] < rows.window.end - pd.Timedelta(days=1)])


@fault("partial_window")
def a_day_in_the_middle_is_missing(rows, rng):
    since = rows.current[rows.time] - rows.middle().floor("D")
    return rows.changed(rows.current[~since.between("0h", "24h", inclusive="left")])


@fault("partial_window")
def two_thirds_of_the_rows_are_lost(rows, rng):
    return rows.changed(rows.current[rng.random(len(rows.current)) < 0.33])


@fault("schema_change")
def a_column_is_absent(rows, rng):
    return rows.changed(rows.current.drop(columns=rows.numeric))


@fault("schema_change")
def numbers_become_text(rows, rng):
    return rows.changed(rows.current.assign(**{rows.numeric: rows.current[rows.numeric].map("{:.2f}".format)}))


@fault("schema_change")
def all_null(rows, rng):
    return rows.changed(rows.current.assign(**{rows.categorical: None}))


@fault("enum_change")
def lower_case(rows, rng):
    return _names(rows, lambda name: name.lower() if name.lower() != name else name.upper())


@fault("enum_change")
def a_prefix_from_the_middle_on(rows, rng):
    return _names(rows, lambda name: f"v2:{name}", _late(rows))


@fault("enum_change")
def one_renamed(rows, rng):
    return _names(rows, lambda name: "renamed" if name == rows.source else name)


@fault("enum_change")
def codes_for_names(rows, rng):
    names = sorted(rows.reference[rows.categorical].unique())
    return _names(rows, lambda name: f"#{names.index(name) * 7 + 3}" if name in names else name)


@fault("single_source")
def one_source_in_another_unit(rows, rng):
    return _with(rows, rows.numeric, rows.current[rows.numeric] * 1000, _own(rows))


@fault("single_source")
def one_source_is_null(rows, rng):
    return _with(rows, rows.numeric, np.nan, _own(rows))


@fault("single_source")
def one_source_is_stuck(rows, rng):
    return _with(rows, rows.numeric, float(rows.current[rows.numeric].iloc[7]), _own(rows) & _late(rows))


@fault("duplicate_replay")
def a_tenth_twice(rows, rng):
    again = rows.current.sample(frac=0.1, random_state=int(rng.integers(1000)))
    return _inside(rows, pd.concat([rows.current, again]))


@fault("duplicate_replay")
def a_day_again_as_the_next(rows, rng):
    day = rows.current[rows.current[rows.time] - rows.middle().floor("D") < pd.Timedelta(0)]
    day = day[day[rows.time] >= rows.middle().floor("D") - pd.Timedelta(days=1)]
    return _inside(rows, pd.concat([rows.current, day.assign(**{rows.time: day[rows.time] + pd.Timedelta(days=1)})]))


@fault("duplicate_replay")
def last_week_again(rows, rng):
    old = rows.reference[rows.reference[rows.time] >= rows.window.start - CURRENT]
    return _inside(rows, old.assign(**{rows.time: old[rows.time] + CURRENT}))


def _spread(rows: Rows) -> float:
    return float(rows.reference[rows.numeric].std())


@fault("")
def gradual_mean_shift(rows, rng):
    ramp = np.linspace(0.2, 1.2, len(rows.current))
    return _with(rows, rows.numeric, rows.current[rows.numeric] + ramp * _spread(rows))


@fault("")
def sudden_mean_shift(rows, rng):
    return _with(rows, rows.numeric, rows.current[rows.numeric] + rng.uniform(0.5, 1.5) * _spread(rows))


@fault("")
def growing_variance(rows, rng):
    values = rows.current[rows.numeric]
    return _with(rows, rows.numeric, (values - values.mean()) * rng.uniform(1.4, 2.5) + values.mean())


@fault("")
def inflation(rows, rng):
    return _with(rows, rows.numeric, rows.current[rows.numeric] * rng.uniform(1.03, 1.35))


@fault("")
def mix_of_rows(rows, rng):
    """Covariate shift: rows with large values become more frequent."""
    weight = rows.current[rows.numeric].rank(pct=True).fillna(0.5) ** 2 + 0.1
    return _inside(rows, rows.current.sample(frac=0.75, weights=weight, random_state=int(rng.integers(1000))))


@fault("")
def a_new_small_category(rows, rng):
    return _with(rows, rows.categorical, "newcomer", rng.random(len(rows.current)) < 0.04)


@fault("")
def mix_of_categories(rows, rng):
    weight = np.where(_own(rows), 1.0, 0.3)
    return _inside(rows, rows.current.sample(frac=0.7, weights=weight, random_state=int(rng.integers(1000))))


@fault("")
def a_category_fades_while_another_grows(rows, rng):
    drop = _own(rows) & (rng.random(len(rows.current)) < 0.85)
    return rows.changed(rows.current[~drop])


@fault("")
def more_rows(rows, rng):
    extra = rows.current.sample(frac=0.6, random_state=int(rng.integers(1000)))
    for column in rows.features.numeric:
        if rows.current[column].nunique() > 100:
            extra[column] = extra[column] * rng.normal(1, 0.02, len(extra))
    extra[rows.time] = extra[rows.time] + pd.to_timedelta(rng.integers(1, 600, len(extra)), unit="s")
    return _inside(rows, pd.concat([rows.current, extra]))


@fault("")
def fewer_rows(rows, rng):
    return rows.changed(rows.current[rng.random(len(rows.current)) < 0.75])


@fault("")
def labels_shift(rows, rng):
    return rows.changed(rows.current.assign(**{rows.task.label: 1.0}))


@fault("")
def the_concept_changes(rows, rng):
    label = rows.current[rows.task.label].to_numpy()
    return rows.changed(rows.current.assign(**{rows.task.label: label[::-1]}))


@fault("")
def one_source_drifts(rows, rng):
    return _with(rows, rows.numeric, rows.current[rows.numeric] + _spread(rows), _own(rows))


@fault("")
def season_swings(rows, rng):
    day = (rows.current[rows.time] - pd.Timestamp(rows.window.start)) / pd.Timedelta(days=1)
    return _with(rows, rows.numeric, rows.current[rows.numeric] + np.sin(day / 7 * 2 * np.pi) * _spread(rows))


@fault("")
def more_in_the_evening(rows, rng):
    weight = np.where(rows.current[rows.time].dt.hour >= 17, 1.0, 0.55)
    return _inside(rows, rows.current.sample(frac=0.7, weights=weight, random_state=int(rng.integers(1000))))


@fault("")
def a_few_more_nulls(rows, rng):
    return _with(rows, rows.numeric, np.nan, rng.random(len(rows.current)) < 0.02)


@fault("null_burst", held_out=True)
def six_hours_of_infinite_numbers(rows, rng):
    since = rows.current[rows.time] - rows.middle()
    return _with(rows, rows.numeric, np.inf, since.between("0h", "6h"))


@fault("unit_change", held_out=True)
def sixty_times(rows, rng):
    return _with(rows, rows.numeric, rows.current[rows.numeric] * 60)


@fault("unit_change", held_out=True)
def celsius_to_fahrenheit(rows, rng):
    return _with(rows, rows.numeric, rows.current[rows.numeric] * 1.8 + 32)


@fault("unit_change", held_out=True)
def cents_rounded_from_the_middle_on(rows, rng):
    return _with(rows, rows.numeric, (rows.current[rows.numeric] * 100).round(), _late(rows))


@fault("time_shift", held_out=True)
def eight_hours_earlier(rows, rng):
    return _inside(rows, rows.current.assign(**{rows.time: rows.current[rows.time] - pd.Timedelta(hours=8)}))


@fault("partial_window", held_out=True)
def the_last_twelve_hours_are_missing(rows, rng):
    return rows.changed(rows.current[rows.current[rows.time] < rows.window.end - pd.Timedelta(hours=12)])


@fault("partial_window", held_out=True)
def one_day_has_a_quarter_of_its_rows(rows, rng):
    since = rows.current[rows.time] - rows.middle().floor("D")
    return rows.changed(rows.current[~since.between("0h", "24h") | (rng.random(len(rows.current)) < 0.25)])


@fault("schema_change", held_out=True)
def numbers_become_moments(rows, rng):
    return rows.changed(rows.current.assign(**{rows.numeric: rows.current[rows.time]}))


@fault("schema_change", held_out=True)
def text_among_numbers(rows, rng):
    return _with(rows, rows.numeric, "see note", rng.random(len(rows.current)) < 0.05)


@fault("enum_change", held_out=True)
def blanks_around_names(rows, rng):
    return _names(rows, lambda name: f" {name} ")


@fault("enum_change", held_out=True)
def a_suffix(rows, rng):
    return _names(rows, lambda name: f"{name}/old")


@fault("enum_change", held_out=True)
def names_backwards_from_the_middle_on(rows, rng):
    return _names(rows, lambda name: f"{name[::-1]}{len(name)}", _late(rows))


@fault("single_source", held_out=True)
def one_source_sends_a_hundredth(rows, rng):
    return _with(rows, rows.numeric, rows.current[rows.numeric] / 100, _own(rows))


@fault("single_source", held_out=True)
def one_source_sends_zero(rows, rng):
    return _with(rows, rows.numeric, 0.0, _own(rows))


@fault("duplicate_replay", held_out=True)
def everything_twice(rows, rng):
    return _inside(rows, pd.concat([rows.current, rows.current]))


@fault("duplicate_replay", held_out=True)
def six_old_hours_under_new_times(rows, rng):
    old = rows.reference[rows.reference[rows.time] >= rows.window.start - pd.Timedelta(hours=30)]
    return _inside(rows, pd.concat([rows.current, old.assign(**{rows.time: old[rows.time] + pd.Timedelta(days=3)})]))


@fault("", held_out=True)
def heavier_tails(rows, rng):
    noise = rng.standard_t(2, len(rows.current)) * _spread(rows) / 2
    return _with(rows, rows.numeric, rows.current[rows.numeric] + noise)


@fault("", held_out=True)
def shrinking_variance(rows, rng):
    values = rows.current[rows.numeric]
    return _with(rows, rows.numeric, (values - values.mean()) * 0.6 + values.mean())


@fault("", held_out=True)
def a_second_mode(rows, rng):
    return _with(
        rows, rows.numeric, rows.current[rows.numeric] + 2 * _spread(rows), rng.random(len(rows.current)) < 0.3
    )


@fault("", held_out=True)
def twice_the_rows_at_the_end(rows, rng):
    extra = rows.current[_late(rows)].copy()
    for column in rows.features.numeric:
        if rows.current[column].nunique() > 100:
            extra[column] = extra[column] + rng.normal(0, 0.01, len(extra))
    extra[rows.time] = extra[rows.time] + pd.to_timedelta(rng.integers(1, 900, len(extra)), unit="s")
    return _inside(rows, pd.concat([rows.current, extra]))


@fault("", held_out=True)
def everything_falls_by_a_fifth(rows, rng):
    return _with(rows, rows.numeric, rows.current[rows.numeric] * 0.8)


@fault("", held_out=True)
def one_source_has_few_rows(rows, rng):
    return rows.changed(rows.current[~_own(rows) | (rng.random(len(rows.current)) < 0.1)])


@fault("", held_out=True)
def a_category_splits_off(rows, rng):
    return _with(rows, rows.categorical, "splinter", _own(rows) & (rng.random(len(rows.current)) < 0.3))


@fault("", held_out=True)
def correlation_is_lost(rows, rng):
    return _with(rows, rows.numeric, rng.permutation(rows.current[rows.numeric].to_numpy()))


@fault("", held_out=True)
def busier_weekend(rows, rng):
    weight = np.where(rows.current[rows.time].dt.dayofweek >= 5, 1.0, 0.75)
    return rows.changed(rows.current[rng.random(len(rows.current)) < weight])


def cases(rows: Rows, changes: dict[str, tuple[str, Change]], seed: int) -> Iterator[tuple[str, str, Rows]]:
    """Yield the name, the kind of fault (empty for a drift) and the changed rows."""
    for name, (kind, change) in changes.items():
        yield name, kind, change(rows, np.random.default_rng(seed))
