"""KSWIN, against river's, SciPy and itself."""

import random
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from river import drift
from scipy import stats

from continuous_training.detectors import KSWIN
from continuous_training.detectors._kswin import _distances, _p_value, _samples, alarms
from river_alarms import numbers, river_alarms, scored


@settings(deadline=None, max_examples=8)
@given(
    st.integers(0, 10**6),
    st.fixed_dictionaries(
        {
            "alpha": st.sampled_from([0.005, 0.05]),
            "window_size": st.sampled_from([60, 100]),
            "stat_size": st.sampled_from([4, 10, 30]),
            "seed": st.integers(0, 100),
        }
    ),
)
def test_alarms_are_those_of_river(seed, parameters):
    values = numbers(seed, most=400)
    assert alarms(values, **parameters).tolist() == river_alarms(drift.KSWIN(**parameters), values)


def test_many_alarms_are_those_of_river():
    values = np.repeat([0.0, 1.0, 0.0, 2.0], 150) + np.random.default_rng(0).normal(size=600)
    expected = river_alarms(drift.KSWIN(seed=5), values)
    assert len(expected) >= 2
    assert alarms(values, seed=5).tolist() == expected


@pytest.mark.parametrize(("older", "size"), [(70, 30), (400, 100), (1000, 30), (10, 5), (50, 50), (277, 30), (278, 30)])
def test_samples_are_those_of_the_standard_library(older, size):
    ours, theirs = random.Random(3), random.Random(3)
    expected = [theirs.sample(range(older), size) for _ in range(40)]
    assert _samples(ours, 40, older, size).tolist() == expected
    assert ours.random() == theirs.random()


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 10**6))
def test_distances_and_p_values_are_those_of_scipy(size, distinct, seed):
    first, second = np.random.default_rng(seed).integers(0, distinct, (2, 1, size)).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where it cannot say the exact p-value
        expected = stats.ks_2samp(first[0], second[0])
    [distance] = _distances(first, second)
    assert distance == round(expected.statistic * size)
    assert _p_value(size, int(distance)) == (expected.pvalue if expected.statistic > 0.1 else 1.0)


def test_a_window_is_exceeded_where_river_finds_a_change_after_the_last_rows_of_the_reference():
    outcomes = set()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        reference, current = rng.normal(size=500), rng.normal(seed % 2, size=120)
        detector = KSWIN(p_value=1e-4, window_size=100, stat_size=30, seed=seed, direction="both")
        peer = drift.KSWIN(alpha=1e-4, window_size=100, stat_size=30, seed=seed, window=reference[-100:].tolist())
        score = scored(detector, reference, current)
        assert score.exceeded == bool(river_alarms(peer, current))
        outcomes.add(score.exceeded)
    assert outcomes == {True, False}


def test_a_fall_is_an_alarm_only_where_both_directions_count():
    rng = np.random.default_rng(3)
    reference, current = rng.normal(size=600), rng.normal(-2, size=200)
    assert [scored(KSWIN(direction=d), reference, current).exceeded for d in ("increase", "both")] == [False, True]


def test_a_reference_shorter_than_the_window_is_inconclusive_and_says_so():
    found = scored(KSWIN(), np.arange(200) % 7, np.arange(200) % 7)
    assert found.exceeded is None
    assert (
        found.note == "kswin has 200 rows of the reference since it last found a change there; at least 500 are needed"
    )


def test_there_must_be_enough_older_rows_to_draw_from():
    with pytest.raises(ValidationError, match="stat_size 60 is more than half of window_size 100"):
        KSWIN(window_size=100, stat_size=60)
