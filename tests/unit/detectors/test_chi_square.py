"""The chi-square test against SciPy's."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from continuous_training.core.task import Features
from continuous_training.detectors import ChiSquare

X = Features(categorical=("x",))


def score(reference, current, **options):
    detector = ChiSquare(min_rows=1, **options)
    prepared = detector.fit(pd.DataFrame({"x": reference}), X)
    [found] = detector.score(prepared, pd.DataFrame({"x": current}), X)
    return found


def letters(counts):
    return np.repeat([chr(97 + i) for i in range(len(counts))], counts)


counts = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 300)), min_size=2, max_size=12).filter(
    lambda pairs: any(current for _, current in pairs)
)


@settings(deadline=None)
@given(counts, st.booleans())
def test_statistic_and_p_value_are_those_of_scipy(pairs, continuity):
    table = np.array(pairs).T
    expected = chi2_contingency(table, correction=continuity)
    found = score(letters(table[0]), letters(table[1]), continuity=continuity)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-9)


def test_large_counts_agree_with_scipy_too():
    rng = np.random.default_rng(0)
    reference, current = rng.integers(0, 105, 300_000), rng.integers(0, 105, 60_000)
    table = np.stack([np.bincount(reference, minlength=105), np.bincount(current, minlength=105)])
    found, expected = score(reference, current), chi2_contingency(table, correction=False)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-9)


def test_the_effect_is_cramers_v():
    assert score(["a"] * 50, ["b"] * 50).effect == pytest.approx(1.0)
    assert score(["a", "b"] * 50, ["b", "a"] * 90).effect == 0.0


def test_categories_that_the_reference_does_not_have_count_as_one():
    reference = ["a", "b"] * 100
    several, one = score(reference, ["a", "b", "c", "d"] * 20), score(reference, ["a", "b", "c", "c"] * 20)
    table = [[100, 100, 0], [20, 20, 40]]
    assert several == one
    assert several.p_value == pytest.approx(chi2_contingency(table).pvalue, abs=1e-9)


def test_a_category_that_is_absent_now_counts_as_zero_rows():
    found = score(["a", "b", "c"] * 40, ["a", "b"] * 30)
    assert found.p_value == pytest.approx(chi2_contingency([[40, 40, 40], [30, 30, 0]]).pvalue, abs=1e-9)


def test_one_category_on_both_sides_is_no_distance():
    found = score(["a"] * 10, ["a"] * 7)
    assert (found.statistic, found.p_value, found.effect) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    "current",
    [
        pd.Series([1, 2, 2, 3] * 30),
        pd.Series([1.0, 2.0, 2.0, 3.0, None] * 30),
        pd.Series([1, 2, 2, 3, None] * 30, dtype="Int64"),
        pd.Series(["1", "2", "2", "3", None] * 30),
        pd.Series([1, 2, 2, 3] * 30, dtype="category"),
        pd.Series(pd.Categorical([1, 2, 2, 3] * 30, categories=[3, 9, 2, 1])),
        pd.Series([1, 2, 2, 3] * 30, dtype="int8"),
        pd.Series(["1", "2", "2", "3", None] * 30, dtype="string"),
    ],
    ids=["int", "float", "nullable", "text", "category", "more categories", "int8", "string"],
)
def test_a_category_is_the_same_however_it_is_stored(current):
    assert score(pd.Series([1, 2, 2, 3] * 50), current).statistic == pytest.approx(0.0, abs=1e-20)


def test_declared_categories_without_rows_do_not_count():
    declared = pd.Series(pd.Categorical(["a", "b"] * 60, categories=["z", "b", "q", "a"]))
    assert score(declared, declared.iloc[::-1]) == score(["a", "b"] * 60, ["a", "b"] * 60)


def test_far_apart_integers_are_counted_too():
    values = [-(2**63), 0, 2**63 - 1] * 40
    assert score(values, values).p_value == 1.0
