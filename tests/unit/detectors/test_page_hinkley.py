"""The Page-Hinkley test."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from continuous_training.core.task import Features
from continuous_training.detectors import PageHinkley
from continuous_training.detectors import _page_hinkley_moving as maths
from continuous_training.detectors._page_hinkley import excess
from river_alarms import numbers, river_alarms

X = Features(numeric=("x",))


def score(reference, current, **options):
    detector = PageHinkley(**options)
    [found] = detector.score(detector.fit(pd.DataFrame(reference), X), pd.DataFrame(current), X)
    return found


def errors(seed: int, count: int, mean: float = 0.3, deviation: float = 0.2) -> dict[str, np.ndarray]:
    return {"error": np.random.default_rng(seed).normal(mean, deviation, count)}


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), max_size=50), st.floats(0, 1), st.floats(0.5, 1))
def test_the_excess_is_that_of_the_definition(z, delta, alpha):
    total = lowest = 0.0
    expected = [0.0]
    for value in z:
        total = alpha * total + value - delta
        lowest = min(lowest, total)
        expected.append(total - lowest)
    assert excess(np.array(z), delta, alpha) == pytest.approx(expected, abs=1e-9)


def test_the_statistic_is_in_standard_deviations_of_the_reference():
    plain, scaled = (score({"error": r * f}, {"error": c * f}) for f in (1, 40) for r, c in [(_two(), _two(0.5))])
    assert plain.statistic == pytest.approx(scaled.statistic)
    assert plain.effect == pytest.approx(2.5)
    assert plain.statistic == pytest.approx(1000 * (2.5 - 0.1))


def _two(shift: float = 0.0) -> np.ndarray:
    return np.array([0.1, 0.5] * 500) + shift


def test_an_increase_late_in_the_window_is_found():
    current = {"error": np.r_[errors(1, 5000)["error"], errors(2, 400, mean=0.36)["error"]]}
    assert score(errors(0, 20_000), errors(1, 5000)).exceeded is False
    assert score(errors(0, 20_000), current).exceeded is True


def test_a_decrease_is_not_an_alarm():
    found = score(errors(0, 5000), errors(1, 5000, mean=0.1))
    assert found.exceeded is False
    assert found.effect == pytest.approx(-1.0, abs=0.1)


def test_the_order_of_rows_matters():
    calm, storm = errors(1, 2000, mean=0.24)["error"], errors(2, 300, mean=0.36)["error"]
    mixed = np.random.default_rng(0).permutation(np.r_[calm, storm])
    assert score(errors(0, 5000), {"error": np.r_[calm, storm]}).exceeded is True
    assert score(errors(0, 5000), {"error": mixed}).exceeded is False


def test_rows_before_min_rows_feed_the_sum_but_are_not_judged():
    spike = {"error": np.r_[np.full(50, 1.5), np.full(450, 0.0)]}
    assert score(errors(0, 5000), spike, min_rows=30).exceeded is True
    assert score(errors(0, 5000), spike, min_rows=450).exceeded is False


def test_windows_without_change_are_rarely_beyond_the_default_threshold():
    rng = np.random.default_rng(8)
    detector = PageHinkley()
    prepared = detector.fit(pd.DataFrame({"error": rng.gamma(2.0, size=100_000)}), X)
    windows = [pd.DataFrame({"error": rng.gamma(2.0, size=6500)}) for _ in range(60)]
    assert sum(bool(s.exceeded) for window in windows for s in detector.score(prepared, window, X)) <= 2


@pytest.mark.parametrize(
    ("reference", "current", "note"),
    [
        (errors(0, 500), {"x": [1.0] * 500}, "current window has no column error; it is there once labels are known"),
        ({"x": [1.0] * 500}, errors(0, 500), "the reference has no values of error"),
        (errors(0, 500), {"error": [math.nan] * 500}, "the current window has 0 rows with a value; at least 100"),
        (errors(0, 50), errors(0, 500), "the reference window has 50 rows with a value"),
        ({"error": [0.1] * 500}, errors(0, 500), "constant in the reference"),
        (errors(0, 500), {"error": [1.7e308, -1.7e308] * 300}, "too large to add up"),
    ],
)
def test_what_cannot_be_measured_is_inconclusive_and_says_why(reference, current, note):
    found = score(reference, current)
    assert found.exceeded is None
    assert note in found.note


def test_any_column_may_be_the_signal():
    found = score({"loss": _two()}, {"loss": _two(1.0)}, signal="loss")
    assert (found.column, found.exceeded) == ("loss", True)


def test_rows_with_a_missing_signal_are_left_out():
    holes = {"error": np.where(np.arange(2000) % 2, _two(0.5).repeat(2), math.nan)}
    assert score({"error": _two()}, holes).current_rows == 1000


FORMS = st.fixed_dictionaries(
    {
        "min_instances": st.sampled_from([1, 30, 100]),
        "delta": st.sampled_from([0.0, 0.005, 0.25]),
        "threshold": st.sampled_from([5.0, 20.0, 50.0]),
        "alpha": st.sampled_from([1.0, 0.9999, 0.9]),
        "mode": st.sampled_from(["up", "down", "both"]),
    }
)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), FORMS)
def test_alarms_of_the_form_with_a_moving_mean_are_those_of_river(seed, form):
    values = numbers(seed)
    assert maths.alarms(values, **form).tolist() == river_alarms(drift.PageHinkley(**form), values)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([0.0, 1.0, 4.0]), max_size=60), FORMS)
def test_short_streams_full_of_ties_give_the_alarms_of_river(values, form):
    form |= {"min_instances": 1, "threshold": form["threshold"] / 5}
    assert maths.alarms(np.array(values), **form).tolist() == river_alarms(drift.PageHinkley(**form), values)


def test_rows_where_rounding_decides_are_gone_over_one_by_one(monkeypatch):
    values = np.concatenate([numbers(seed) for seed in range(8)])
    expected = river_alarms(drift.PageHinkley(), values)
    assert len(expected) > 10
    assert maths.alarms(values).tolist() == expected
    monkeypatch.setattr(maths, "_ROUNDING", 10.0)
    assert maths.alarms(values).tolist() == expected
