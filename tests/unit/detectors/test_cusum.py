"""CUSUM."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continuous_training.detectors import CUSUM, PageHinkley
from continuous_training.detectors._cusum import alarms, largest
from river_alarms import scored

STREAMS = st.lists(st.integers(-8, 8).map(lambda n: n / 4), max_size=60)


def by_definition(z, allowance, threshold, both):
    high = low = most = 0.0
    found = []
    for row, value in enumerate(z):
        high, low = max(0.0, high + value - allowance), max(0.0, low - value - allowance)
        reached = max(high, low) if both else high
        most = max(most, reached)
        if reached > threshold:
            found.append(row)
            high = low = 0.0
    return found, most


@settings(deadline=None)
@given(STREAMS, st.sampled_from([0.0, 0.25, 0.5]), st.sampled_from([1.0, 2.0, 5.0]), st.booleans())
def test_alarms_are_those_of_the_definition(z, allowance, threshold, both):
    expected, _ = by_definition(z, allowance, threshold, both)
    direction = "both" if both else "increase"
    found = alarms(np.array(z), allowance=allowance, threshold=threshold, direction=direction)
    assert found.tolist() == expected


@pytest.mark.parametrize("both", [True, False])
def test_the_largest_sum_of_a_long_stream_is_that_of_the_definition(both):
    z = np.random.default_rng(1).normal(size=40_000)
    expected = by_definition(z, 0.25, np.inf, both)[1]
    assert largest(z, 0.25, "both" if both else "increase") == pytest.approx(expected)


def test_upwards_it_is_page_hinkley_with_the_same_numbers():
    rng = np.random.default_rng(2)
    reference, current = rng.gamma(2.0, size=3000), rng.gamma(2.2, size=2000)
    one = scored(CUSUM(allowance=0.1, threshold=50, min_rows=1), reference, current)
    other = scored(PageHinkley(delta=0.1, threshold=50, min_rows=1), reference, current)
    assert one.statistic == pytest.approx(other.statistic)


def test_a_fall_is_an_alarm_only_where_both_directions_count():
    rng = np.random.default_rng(3)
    reference, current = rng.normal(size=3000), rng.normal(-1, size=500)
    assert [scored(CUSUM(direction=d), reference, current).exceeded for d in ("increase", "both")] == [False, True]
    assert scored(CUSUM(), reference, current + 2).exceeded is True
