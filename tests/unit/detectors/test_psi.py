"""The population stability index."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from continuous_training.core.task import Features
from continuous_training.detectors import PSI


def score(reference, current, *, kind="numeric", **options):
    features = Features(**{kind: ("x",)})
    detector = PSI(min_rows=1, **options)
    prepared = detector.fit(pd.DataFrame({"x": reference}), features)
    [found] = detector.score(prepared, pd.DataFrame({"x": current}), features)
    return found


def test_the_index_is_the_textbook_sum_with_half_a_row_more_in_each_bin():
    found = score(["a"] * 60 + ["b"] * 40, ["a"] * 30 + ["b"] * 70, kind="categorical")
    expected = (30.5 - 60.5) / 101 * np.log(30.5 / 60.5) + (70.5 - 40.5) / 101 * np.log(70.5 / 40.5)
    assert found.statistic == pytest.approx(expected)
    assert found.effect == found.statistic
    assert found.p_value is None


def test_bins_of_a_numeric_column_are_filled_equally_by_the_reference():
    prepared = PSI(bins=4).fit(pd.DataFrame({"x": np.arange(1000.0)[::-1]}), Features(numeric=("x",)))
    assert prepared["0.edges"].tolist() == [250.0, 500.0, 750.0]
    assert prepared["0.counts"].tolist() == [250, 250, 250, 250]


numbers = arrays(np.float64, st.integers(1, 80), elements=st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1.0, -1.0]))


@settings(deadline=None)
@given(numbers, numbers, st.integers(2, 100))
def test_the_index_is_never_negative_and_zero_for_the_same_rows(reference, current, bins):
    assert score(reference, current, bins=bins).statistic >= -1e-12
    assert score(reference, reference[::-1], bins=bins).statistic == 0.0


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=1), st.lists(st.sampled_from("abcdef"), min_size=1))
def test_the_index_of_categories_is_never_negative(reference, current):
    assert score(reference, current, kind="categorical").statistic >= -1e-12


@pytest.mark.parametrize("current", [5.0 + 1e-9, 4.0, 7.0, -1e300])
def test_a_constant_column_is_seen_to_move_in_either_direction(current):
    assert score([5.0] * 200, [5.0] * 200).exceeded is False
    assert score([5.0] * 200, [current] * 200).exceeded is True


def test_a_column_that_is_mostly_zero_is_seen_to_fill():
    reference = np.r_[np.zeros(950), np.ones(50)]
    assert score(reference, np.r_[np.zeros(600), np.ones(400)]).exceeded is True
    assert score(reference, np.r_[np.zeros(940), np.ones(60)]).exceeded is False


def test_a_new_category_counts():
    found = score(["a", "b"] * 100, ["a", "b", "new"] * 60, kind="categorical")
    assert found.exceeded is True


def test_chance_alone_gives_about_the_level_that_is_documented():
    rng = np.random.default_rng(5)
    found = [score(rng.random(4000), rng.random(500)).statistic for _ in range(60)]
    assert np.mean(found) == pytest.approx(9 * (1 / 4000 + 1 / 500), rel=0.2)
