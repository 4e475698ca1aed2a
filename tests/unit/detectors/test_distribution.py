"""Wasserstein and energy distance against SciPy's."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from continuous_training.core.task import Features
from continuous_training.detectors import Energy, Wasserstein

X = Features(numeric=("x",))


def score(detector, reference, current):
    prepared = detector.fit(pd.DataFrame({"x": reference}), X)
    [found] = detector.score(prepared, pd.DataFrame({"x": current}), X)
    return found


numbers = arrays(np.float64, st.integers(2, 50), elements=st.floats(-1e3, 1e3) | st.sampled_from([0.0, 1.0, 2.0]))
varied = numbers.filter(lambda values: values.std() > 1e-3)


@settings(deadline=None)
@given(varied, numbers)
def test_the_wasserstein_distance_is_scipys_in_standard_deviations(reference, current):
    expected = stats.wasserstein_distance(reference, current) / reference.std()
    assert score(Wasserstein(min_rows=1), reference, current).statistic == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(varied, numbers)
def test_the_energy_distance_is_scipys_of_the_divided_values(reference, current):
    unit = reference.std()
    # both differ from zero by the root of what rounding leaves
    expected = stats.energy_distance(reference / unit, current / unit)
    assert score(Energy(min_rows=1), reference, current).statistic == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_million_rows_agree_with_scipy_too():
    rng = np.random.default_rng(0)
    reference, current = rng.gamma(2, size=200_000), rng.gamma(2.1, size=50_000)
    found = score(Wasserstein(unit="iqr"), reference, current)
    low, high = np.quantile(reference, [0.25, 0.75], method="inverted_cdf")
    assert found.statistic == pytest.approx(stats.wasserstein_distance(reference, current) / (high - low), rel=1e-9)


@pytest.mark.parametrize("unit", ["std", "iqr"])
def test_a_threshold_means_the_same_for_any_scale(unit):
    rng = np.random.default_rng(1)
    reference, current = rng.normal(size=2000), rng.normal(0.4, size=2000)
    plain = score(Wasserstein(unit=unit), reference, current)
    scaled = score(Wasserstein(unit=unit), 1000 * reference + 7, 1000 * current + 7)
    assert plain.statistic == pytest.approx(scaled.statistic)
    assert score(Energy(), reference, current).statistic == pytest.approx(
        score(Energy(), reference * 9, current * 9).statistic
    )


def test_a_shift_by_one_standard_deviation_is_one():
    values = np.random.default_rng(2).normal(size=1000)
    assert score(Wasserstein(), values, values + values.std()).statistic == pytest.approx(1.0)


@pytest.mark.parametrize("detector", [Wasserstein(), Wasserstein(unit="iqr"), Energy()])
@pytest.mark.parametrize(
    ("reference", "current", "note"),
    [
        ([5.0] * 200, [6.0] * 200, "no spread in the reference"),
        ([1.7e308, -1.7e308] * 200, [1.0, 2.0] * 100, "too large"),
    ],
)
def test_what_has_no_unit_is_inconclusive_and_says_why(detector, reference, current, note):
    found = score(detector, reference, current)
    assert found.exceeded is None
    assert note in found.note


@pytest.mark.parametrize("detector", [Wasserstein(), Energy()])
def test_windows_of_the_fewest_rows_without_drift_are_rarely_beyond_the_threshold(detector):
    rng = np.random.default_rng(3)
    found = [score(detector, rng.normal(size=3000), rng.normal(size=200)).exceeded for _ in range(60)]
    assert sum(found) <= 3
