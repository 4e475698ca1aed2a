"""The Kolmogorov-Smirnov test against SciPy's."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from continuous_training.core.task import Features
from continuous_training.detectors import KS, _ks

X = Features(numeric=("x",))


def score(reference, current, detector=None):
    detector = detector or KS(min_rows=1)
    prepared = detector.fit(pd.DataFrame({"x": reference}), X)
    [found] = detector.score(prepared, pd.DataFrame({"x": current}), X)
    return found


def samples(shape: str, seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return {
        "normal": lambda: rng.normal(size=count),
        "ties": lambda: rng.integers(0, 24, count).astype(float),
        "mostly zero": lambda: rng.poisson(0.1, count) * rng.random(count).round(2),
        "heavy tails": lambda: rng.standard_cauchy(count),
        "wide": lambda: np.exp(rng.normal(scale=100, size=count)),
        "epoch seconds": lambda: 1.3e18 + rng.integers(0, 10**6, count) * 1e9,
        "skewed": lambda: np.exp(rng.normal(scale=3, size=count)),
        "a third zero": lambda: rng.exponential(size=count) * (rng.random(count) > 1 / 3),
        "few and far": lambda: rng.choice([-8e307, 0.0, 8e307], count),
    }[shape]()


SHAPES = [
    "normal",
    "ties",
    "mostly zero",
    "heavy tails",
    "wide",
    "epoch seconds",
    "skewed",
    "a third zero",
    "few and far",
]


@pytest.mark.parametrize("shift", [0.0, 0.003, 0.02, 0.2, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sizes", [(30_000, 12_345), (700, 20_000), (10_001, 1), (150, 150), (1000, 311)])
def test_statistic_and_p_value_are_those_of_scipy(sizes, shape, shift):
    reference, current = samples(shape, 0, sizes[0]), samples(shape, 1, sizes[1])
    current = current + shift * np.quantile(np.abs(current), 0.5)
    found, expected = score(reference, current), stats.ks_2samp(reference, current)
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-9)
    assert found.effect == found.statistic


@pytest.mark.parametrize("shape", SHAPES)
def test_a_window_of_several_blocks_is_measured_like_one_of_few_rows(shape):
    reference, current = samples(shape, 0, 20_000), samples(shape, 1, 300_000)
    found = score(reference, current, KS(method="asymptotic"))
    assert found.statistic == pytest.approx(stats.ks_2samp(reference, current, method="asymp").statistic, abs=1e-12)


@pytest.mark.parametrize("shape", ["normal", "ties", "heavy tails", "skewed", "a third zero"])
def test_no_cell_holds_many_rows_unless_they_have_one_value(shape):
    part = _ks.prepare(samples(shape, 0, 100_000))
    assert np.diff(part["below"])[np.diff(part["edges"]) > 1].max(initial=0.0) < 0.002


@pytest.mark.parametrize("sizes", [(30_000, 12_345), (400, 300), (200, 9)])
@pytest.mark.parametrize("shift", [0.0, 0.05, 0.5, 9.0])
def test_the_asymptotic_method_is_that_of_scipy_at_any_size(sizes, shift):
    reference, current = samples("normal", 0, sizes[0]), samples("normal", 1, sizes[1]) + shift
    found = score(reference, current, KS(min_rows=1, method="asymptotic"))
    assert found.p_value == pytest.approx(stats.ks_2samp(reference, current, method="asymp").pvalue, abs=1e-9)


finite = st.floats(allow_nan=False, allow_infinity=False)
few = st.sampled_from([-1.0, 0.0, -0.0, 1.0, 1.5])
samples_of = st.one_of(
    arrays(np.float64, st.integers(1, 60), elements=finite), arrays(np.float64, st.integers(1, 60), elements=few)
)


@settings(deadline=None)
@given(samples_of, samples_of)
def test_the_largest_gap_is_that_over_all_points_for_any_numbers(reference, current):
    both = np.concatenate([reference, current])
    gaps = [abs((reference <= x).mean() - (current <= x).mean()) for x in both]
    assert _ks.largest_gap(_ks.prepare(reference), current) == pytest.approx(max(gaps), abs=1e-12)


@settings(deadline=None)
@given(samples_of, samples_of)
def test_reference_and_current_may_change_places(reference, current):
    one, other = score(reference, current), score(current, reference)
    assert one.statistic == pytest.approx(other.statistic, abs=1e-12)
    assert one.p_value == pytest.approx(other.p_value, abs=1e-9)


def test_each_column_is_compared_with_its_share_of_the_p_value():
    features = Features(numeric=("x", "y", "z", "w"))
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(500, 4)), columns=["x", "y", "z", "w"])
    detector = KS(p_value=0.02)
    scores = detector.score(detector.fit(frame, features), frame.assign(y=None), features)
    assert [s.threshold for s in scores] == [0.005] * 4


def test_one_change_in_twenty_columns_without_drift_is_reported_about_as_often_as_asked():
    names = tuple(f"x{i}" for i in range(20))
    features = Features(numeric=names)
    rng = np.random.default_rng(11)
    detector = KS(p_value=0.2)
    prepared = detector.fit(pd.DataFrame(rng.normal(size=(12_000, 20)), columns=names), features)
    alarms = [
        any(
            s.exceeded
            for s in detector.score(prepared, pd.DataFrame(rng.normal(size=(300, 20)), columns=names), features)
        )
        for _ in range(100)
    ]
    assert 8 <= sum(alarms) <= 32
