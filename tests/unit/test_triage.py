"""Faults in a window are told from true drifts, on flights and on generated rows."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

import triage_corpus as corpus
from continuous_training.core.errors import DataInvalid, UsageError
from continuous_training.core.scores import DriftScore
from continuous_training.core.task import Features, Task
from continuous_training.core.window import Window
from continuous_training.triage import KINDS, Triage, same_season

TASK = Task(kind="regression", label="y", event_time="at")
FEATURES = Features(numeric=("a", "b"), categorical=("c", "d"))
WINDOW = Window(start=datetime(2024, 2, 10, tzinfo=UTC), end=datetime(2024, 2, 17, tzinfo=UTC))


def rows_of(count: int, start: str = "2024-01-01", days: int = 40, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    at = pd.Timestamp(start, tz="UTC") + pd.to_timedelta(np.sort(rng.random(count)) * days, unit="D")
    return pd.DataFrame(
        {
            "at": at,
            "a": rng.normal(10, 1, count),
            "b": rng.integers(0, 5, count),
            "c": rng.choice(list("xyz"), count),
            "d": rng.choice(["p", "q"], count),
        }
    )


REFERENCE = rows_of(3000)
CURRENT = rows_of(600, "2024-02-10", 7, seed=1)


def found(current: pd.DataFrame, reference: pd.DataFrame = REFERENCE, triage: Triage | None = None) -> list[tuple]:
    triage = triage or Triage()
    profile = triage.fit(reference, TASK, FEATURES)
    return [(d.kind, d.column) for d in triage.examine(profile, current, WINDOW, TASK, FEATURES)]


def judged(places: list[corpus.Rows], changes: dict, seed: int) -> Iterator[tuple[str, str, list[str]]]:
    triage = Triage()
    for rows in places:
        profile = triage.fit(rows.reference, rows.task, rows.features)
        for name, kind, case in corpus.cases(rows, changes, seed):
            defects = triage.examine(profile, case.current, case.window, case.task, case.features)
            yield name, kind, [d.kind for d in defects]


def recall(results: list[tuple[str, str, list[str]]]) -> dict[str, float]:
    faults = [kinds for _, kind, kinds in results if kind]
    drifts = [kinds for _, kind, kinds in results if not kind]
    right = [kind in kinds for _, kind, kinds in results if kind]
    return {
        "faults": float(np.mean([bool(kinds) for kinds in faults])),
        "kinds": float(np.mean(right)),
        "drifts": float(np.mean([not kinds for kinds in drifts])),
    }


SIDES = {
    "flights": lambda: ([corpus.week_of_flights("2013-04-09")], corpus.TUNED),
    "generated rows": lambda: (
        [corpus.generated("flat", 0, 250), corpus.generated("shop", 1, 300), corpus.generated("office", 2, 400)],
        corpus.TUNED,
    ),
    "another week of flights, more changes": lambda: (
        [corpus.week_of_flights("2013-10-08", "distance", "carrier", "EV")],
        corpus.HELD_OUT,
    ),
    "other seeds and sizes of generated rows, more changes": lambda: (
        [
            corpus.generated("flat", 201, 700, "2024-03-01"),
            corpus.generated("shop", 202, 300, "2023-09-15"),
            corpus.generated("office", 203, 250, "2024-05-06"),
        ],
        corpus.HELD_OUT,
    ),
}


def test_the_corpus_has_every_kind_of_fault_and_enough_of_both_sides():
    kinds = [kind for kind, _ in corpus.TUNED.values()]
    assert {kind for kind in kinds if kind} == set(KINDS)
    assert sum(bool(kind) for kind in kinds) >= 12
    assert sum(not kind for kind in kinds) >= 8


@pytest.mark.parametrize("side", SIDES)
def test_faults_and_drifts_are_separated(side):
    results = list(judged(*SIDES[side](), seed=7))
    figures = recall(results)
    print(side, len(results), figures)
    wrong = [(name, kinds) for name, kind, kinds in results if bool(kind) != bool(kinds)]
    assert figures["faults"] >= 0.9, wrong
    assert figures["drifts"] >= 0.9, wrong
    assert figures["kinds"] >= 0.85, results


def test_real_weeks_are_rarely_called_damaged():
    triage = Triage()
    alarms = {}
    for week in pd.date_range("2013-03-05", "2013-12-24", freq="98D"):
        rows = corpus.week_of_flights(f"{week:%Y-%m-%d}")
        profile = triage.fit(rows.reference, rows.task, rows.features)
        alarms[week] = triage.examine(profile, rows.current, rows.window, rows.task, rows.features)
    print(len(alarms), {week: defects for week, defects in alarms.items() if defects})
    assert sum(bool(defects) for defects in alarms.values()) <= 1


@pytest.mark.parametrize("start", ["2013-02-05", "2013-03-12", "2013-11-05", "2013-11-26"])
def test_the_week_of_a_storm_of_a_clock_change_and_of_a_holiday_is_clean(start):
    rows = corpus.week_of_flights(start)
    triage = Triage()
    profile = triage.fit(rows.reference, rows.task, rows.features)
    assert triage.examine(profile, rows.current, rows.window, rows.task, rows.features) == ()


def test_a_profile_survives_a_file_without_pickle_and_is_small():
    rows = corpus.week_of_flights("2013-04-09")
    triage = Triage()
    profile = triage.fit(rows.reference, rows.task, rows.features)
    file = io.BytesIO()
    np.savez(file, **profile)
    assert len(file.getvalue()) < 2**20
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        loaded = dict(arrays)
    damaged = rows.current.assign(distance=rows.current["distance"] * 1.609344)
    once = triage.examine(profile, damaged, rows.window, rows.task, rows.features)
    assert once
    assert once == triage.examine(loaded, damaged, rows.window, rows.task, rows.features)


def test_the_rows_are_not_changed_and_their_order_does_not_matter():
    before = CURRENT.copy()
    damaged = CURRENT.assign(a=CURRENT["a"] * 1000)
    assert found(CURRENT) == []
    pd.testing.assert_frame_equal(CURRENT, before)
    backwards = damaged.iloc[::-1]
    assert found(damaged) == found(backwards) == [("unit_change", "a")]


ODD = {
    "no rows": (lambda d: d[:0], [("partial_window", None)]),
    "one row": (lambda d: d[:1], [("partial_window", None)]),
    "all columns null": (
        lambda d: d.assign(a=None, b=None, c=None, d=None),
        [("schema_change", "a"), ("schema_change", "b"), ("schema_change", "c"), ("schema_change", "d")],
    ),
    "infinite": (lambda d: d.assign(a=np.inf), [("schema_change", "a")]),
    "mixed numbers": (lambda d: d.assign(a=[1, "x", None, 2.5, True] * 120), [("schema_change", "a")]),
    "mixed categories": (lambda d: d.assign(c=[1, "x", None, 2.5, b"q"] * 120), [("schema_change", "c")]),
    "no event time": (lambda d: d.assign(at=pd.NaT), [("null_burst", "at"), ("partial_window", None)]),
    "unreadable event time": (lambda d: d.assign(at="x"), [("null_burst", "at"), ("partial_window", None)]),
    "event time absent": (lambda d: d.drop(columns="at"), [("schema_change", "at")]),
    "time as text": (lambda d: d.assign(at=d["at"].astype(str)), []),
    "time without a zone": (lambda d: d.assign(at=d["at"].dt.tz_localize(None)), []),
    "nullable types": (
        lambda d: d.assign(
            a=d["a"].astype("Float64"), b=d["b"].astype("Int64"), c=d["c"].astype("category"), d=d["d"].astype("string")
        ),
        [],
    ),
    "another width": (lambda d: d.assign(a=d["a"].astype("float32"), b=d["b"].astype("uint8")), []),
    "a small new category": (lambda d: d.assign(c=d["c"].where(np.arange(600) % 30 > 0, "new")), []),
    "far in the future": (
        lambda d: d.assign(at=d["at"] + pd.Timedelta(days=9000)),
        [("time_shift", "at"), ("partial_window", None)],
    ),
    "clocks that went backwards": (
        lambda d: d.assign(at=d["at"] - pd.to_timedelta(np.where(np.arange(600) % 20, 0, 90), unit="s")),
        [],
    ),
    "huge numbers": (lambda d: d.assign(b=d["b"] * 1e308 / 5), None),
}


@pytest.mark.parametrize("case", ODD)
def test_bad_input_has_a_defined_outcome(case):
    change, expected = ODD[case]
    kinds = found(change(CURRENT))
    assert expected is None or sorted(map(str, kinds)) == sorted(map(str, expected))


@pytest.mark.parametrize("case", ODD)
def test_a_bad_reference_gives_an_outcome_too(case):
    if case == "event time absent":
        with pytest.raises(DataInvalid, match="no event time 'at'"):
            found(CURRENT, ODD[case][0](CURRENT))
        return
    found(CURRENT, ODD[case][0](CURRENT))


def test_too_few_rows_are_no_finding():
    tiny = rows_of(60, "2024-02-10", 7).assign(a=5000.0)
    assert found(tiny, triage=Triage(kinds=tuple(k for k in KINDS if k != "partial_window"))) == []
    assert found(CURRENT.assign(a=5000.0), reference=REFERENCE[:50]) == []


def clocked(start: str, days: int, hour_in_new_york: float, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    count = days * 200
    local = pd.Timestamp(start) + pd.to_timedelta(
        np.arange(count) // 200 * 24 + hour_in_new_york + rng.normal(0, 2, count).clip(-6, 6), unit="h"
    )
    at = pd.DatetimeIndex(local).tz_localize("America/New_York", ambiguous=True, nonexistent="shift_forward")
    frame = rows_of(count, seed=seed).assign(at=at.tz_convert("UTC"))
    return frame.sort_values("at", ignore_index=True)


@pytest.mark.parametrize(
    ("zone", "reference", "shift", "kinds"),
    [
        ("UTC", "2024-01-14", 0, []),  # the clocks changed on 10 March: in UTC everything is an hour earlier
        ("America/New_York", "2024-01-14", 0, []),
        ("America/New_York", "2024-01-14", 1, ["time_shift"]),
        ("UTC", "2024-05-05", 1, ["time_shift"]),  # nobody's clocks changed
        ("UTC", "2024-01-14", 4, ["time_shift"]),
        ("UTC", "2024-05-05", 3.5, ["time_shift"]),
    ],
)
def test_an_hour_is_a_fault_only_where_daylight_saving_does_not_explain_it(zone, reference, shift, kinds):
    start = pd.Timestamp(reference) + pd.Timedelta(days=56)
    before, now = clocked(reference, 56, 12, 0), clocked(f"{start:%Y-%m-%d}", 7, 12 + shift, 1)
    window = Window(
        start=start.tz_localize("UTC").to_pydatetime(),
        end=(start + pd.Timedelta(days=7, hours=5)).tz_localize("UTC").to_pydatetime(),
    )
    triage = Triage(timezone=zone, kinds=("time_shift",))
    profile = triage.fit(before, TASK, FEATURES)
    assert [d.kind for d in triage.examine(profile, now, window, TASK, FEATURES)] == kinds


def test_a_shifted_hour_column_is_found():
    rows = corpus.generated("shop", 5, 500)
    shifted = rows.current.assign(hour=(rows.current["hour"] + 6) % 24)
    triage = Triage()
    profile = triage.fit(rows.reference, rows.task, rows.features)
    assert [(d.kind, d.column) for d in triage.examine(profile, shifted, rows.window, rows.task, rows.features)] == [
        ("time_shift", "hour")
    ]


def test_a_single_source_is_named_with_what_is_wrong_there():
    rows = corpus.generated("flat", 6, 500)
    own = rows.current["sensor"] == "s3"
    damaged = rows.current.assign(pressure=rows.current["pressure"].where(~own, rows.current["pressure"] * 0.02952998))
    triage = Triage()
    profile = triage.fit(rows.reference, rows.task, rows.features)
    [defect] = triage.examine(profile, damaged, rows.window, rows.task, rows.features)
    assert (defect.kind, defect.column) == ("single_source", "sensor")
    assert "sensor is s3" in defect.text
    assert "pressure" in defect.text
    assert "33.8639" in defect.text


@pytest.mark.parametrize(
    ("sensors", "expected"),
    [
        (["s3"], [("single_source", "sensor")]),
        (["s1", "s3"], [("null_burst", "pressure")]),
        (["s0", "s1", "s2", "s3", "s4", "s5"], [("null_burst", "pressure")]),
    ],
)
def test_a_fault_is_named_once_and_as_one_of_a_source_only_where_the_others_are_unchanged(sensors, expected):
    rows = corpus.generated("flat", 6, 500)
    lost = rows.current["sensor"].isin(sensors) & (np.arange(len(rows.current)) % 2 == 0)
    damaged = rows.current.assign(pressure=rows.current["pressure"].mask(lost))
    triage = Triage()
    profile = triage.fit(rows.reference, rows.task, rows.features)
    defects = triage.examine(profile, damaged, rows.window, rows.task, rows.features)
    assert [(d.kind, d.column) for d in defects] == expected


def test_only_the_kinds_asked_for_are_looked_for_and_in_that_order():
    damaged = CURRENT.assign(a=CURRENT["a"] * 1000, c=CURRENT["c"].str.upper())
    assert found(damaged) == [("unit_change", "a"), ("enum_change", "c")]
    assert found(damaged, triage=Triage(kinds=("enum_change", "unit_change"))) == [
        ("enum_change", "c"),
        ("unit_change", "a"),
    ]
    assert found(damaged, triage=Triage(kinds=("null_burst",))) == []


def test_a_profile_of_other_columns_or_another_zone_is_refused():
    profile = Triage().fit(REFERENCE, TASK, FEATURES)
    with pytest.raises(UsageError, match="prepare it again"):
        Triage().examine(profile, CURRENT, WINDOW, TASK, Features(numeric=("a",)))
    with pytest.raises(UsageError, match="in Europe/Berlin"):
        Triage(timezone="Europe/Berlin").examine(profile, CURRENT, WINDOW, TASK, FEATURES)


def test_a_wrong_time_zone_is_refused():
    with pytest.raises(ValueError, match="is not an IANA time zone"):
        Triage(timezone="New York")


def scored(value: float | None, threshold: float = 0.2) -> DriftScore:
    return DriftScore(
        detector="ks", column="wind", statistic=value, effect=value, measure="statistic", threshold=threshold,
        reference_rows=500, current_rows=500,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reference", "season", "same"),
    [(0.5, 0.1, True), (0.5, 0.3, False), (0.5, None, False), (0.1, 0.05, False), (None, 0.1, False)],
)
def test_a_season_explains_a_drift_only_when_it_is_within_the_threshold_and_nearer(reference, season, same):
    assert same_season(scored(reference), scored(season)) is same


def test_a_season_as_far_away_as_the_reference_explains_nothing():
    assert not same_season(scored(0.5), scored(0.5, threshold=0.6))
