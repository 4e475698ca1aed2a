"""Distances from counts between marks of the reference, against those from all values."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from continuous_training.core.task import Features
from continuous_training.detectors import KS, Wasserstein, _marks

X = Features(numeric=("x",))
numbers = arrays(np.float64, st.integers(2, 60), elements=st.floats(-1e3, 1e3) | st.sampled_from([0.0, 1.0, 2.0]))


def in_parts(detector, reference, *parts):
    prepared = detector.fit(pd.DataFrame({"x": reference}), X)
    tallies = [detector.tally(prepared, pd.DataFrame({"x": part}), X) for part in parts]
    [found] = detector.measure(prepared, sum(tallies[1:], tallies[0]), X)
    return found


@settings(deadline=None)
@given(numbers, numbers, numbers)
def test_the_kolmogorov_smirnov_gap_is_exact(reference, first, second):
    expected = stats.ks_2samp(reference, np.concatenate([first, second]), method="asymp")
    found = in_parts(KS(min_rows=1), reference, first, second)
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("draw", ["normal", "lognormal", "ties"])
def test_with_fewer_marks_than_values_it_is_off_by_one_reference_place_at_most(draw, monkeypatch):
    monkeypatch.setattr(_marks, "MOST", 1000)
    rng = np.random.default_rng(3)
    make = {
        "normal": rng.normal,
        "lognormal": lambda size: rng.lognormal(sigma=2, size=size),
        "ties": lambda size: np.where(rng.random(size) < 0.4, 0.5, rng.random(size)),
    }[draw]
    reference, current = make(size=100_000), make(size=30_000) * 1.02
    found = in_parts(KS(), reference, current[:1000], current[1000:])
    exact = stats.ks_2samp(reference, current, method="asymp").statistic
    assert exact - 1 / 499 <= found.statistic <= exact + 1e-12
    near = in_parts(Wasserstein(), reference, current[:1000], current[1000:]).statistic
    assert near == pytest.approx(stats.wasserstein_distance(reference, current) / reference.std(), rel=0.05)


@settings(deadline=None)
@given(numbers.filter(lambda values: values.std() > 1e-3), numbers)
def test_the_wasserstein_distance_is_off_by_what_lies_between_marks_at_most(reference, current):
    found = in_parts(Wasserstein(min_rows=1), reference, current).statistic * reference.std()
    exact = stats.wasserstein_distance(reference, current)
    marks = np.unique(reference)
    inside = [np.mean((low < current) & (current < high)) for low, high in pairwise(marks)]
    assert abs(found - exact) <= np.diff(marks) @ inside + 1e-6
    assert found >= abs(reference.mean() - current.mean()) - 1e-6


def test_values_far_from_all_marks_count_with_their_distance():
    reference = np.random.default_rng(0).normal(size=5000)
    for shift in (-1e6, 50.0, 1e6):
        found = in_parts(Wasserstein(), reference, reference[:2000] + shift, reference[2000:] + shift)
        assert found.statistic == pytest.approx(abs(shift) / reference.std(), rel=1e-9)


def test_numbers_too_large_to_add_up_are_inconclusive_and_do_not_fail():
    reference = np.random.default_rng(0).normal(size=500)
    found = in_parts(Wasserstein(), reference, np.full(200, 1.5e308), np.full(200, 1.5e308))
    assert found.exceeded is None
    assert "too large" in found.note
