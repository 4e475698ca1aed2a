"""The share of missing values."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, fisher_exact

from continuous_training.core.task import Features
from continuous_training.detectors import Missing

X = Features(numeric=("x",))


def column(present, absent):
    return [1.0] * present + [math.nan] * absent


def score(reference, current, **options):
    detector = Missing(**options)
    prepared = detector.fit(pd.DataFrame({"x": reference}), X)
    [found] = detector.score(prepared, pd.DataFrame({"x": current}), X)
    return found


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 400), st.integers(0, 400), st.integers(0, 400), st.integers(0, 400))
def test_the_p_value_is_scipys_and_the_effect_the_difference_of_the_shares(a, b, c, d):
    found = score(column(a, b), column(c, d + 1), min_rows=1)
    table = np.array([[a, b], [c, d + 1]])
    expected = chi2_contingency(table, correction=False) if table.sum(axis=0).all() else None
    p_value = 1.0 if expected is None else expected.pvalue
    if expected is not None and expected.expected_freq.min() < 5:
        p_value = fisher_exact(table).pvalue
    assert found.p_value == pytest.approx(p_value, abs=1e-9)
    assert found.effect == pytest.approx((d + 1) / (c + d + 1) - b / (a + b))


def test_one_missing_value_where_there_was_none_is_no_alarm():
    found = score(column(100_000, 0), column(199, 1))
    assert found.exceeded is False


def test_a_million_rows_do_not_make_a_tenth_of_a_percent_an_alarm():
    reference, current = column(300_000, 0), column(299_100, 900)
    assert score(reference, current).p_value < 1e-9
    assert score(reference, current).exceeded is False
    assert score(reference, current, minimum_effect=0).exceeded is True


@pytest.mark.parametrize("gone", [None, math.nan, pd.NA, math.inf])
def test_missing_is_none_nan_na_and_infinity(gone):
    frames = [pd.Series([1.5, gone] * 100, dtype="Float64" if gone is pd.NA else "float64")]
    for series in frames:
        assert score(column(200, 0), series).effect == 0.5


def test_fewer_values_missing_is_a_change_too():
    found = score(column(100, 100), column(200, 0))
    assert (found.effect, found.exceeded) == (-0.5, True)


def test_text_and_times_have_missing_values_as_well():
    features = Features(categorical=("c",))
    detector = Missing()
    prepared = detector.fit(pd.DataFrame({"c": ["a", "b"] * 100}), features)
    [found] = detector.score(prepared, pd.DataFrame({"c": ["a", None] * 100}), features)
    assert found.exceeded is True
