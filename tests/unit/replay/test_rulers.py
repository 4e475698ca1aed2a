"""Rulers: what fixed calendars and hindsight would have done."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continuous_training.replay import rulers

SQUARES = st.integers(2, 6).flatmap(
    lambda n: st.lists(st.lists(st.floats(0, 1, width=16), min_size=n, max_size=n), min_size=n, max_size=n)
)


@given(SQUARES, st.booleans())
@settings(deadline=None, max_examples=60)
def test_the_oracle_is_the_best_of_all_sets_of_moments(matrix, greater):
    sign = 1 if greater else -1
    found = rulers.oracle(matrix, greater_is_better=greater)
    windows = range(1, len(matrix))
    assert len(found) == len(matrix)
    for most, moments in enumerate(found):
        every = [set_ for k in range(most + 1) for set_ in itertools.combinations(windows, k)]
        best = max(sign * rulers.mean(rulers.serve(matrix, chosen)) for chosen in every)
        assert len(moments) <= most
        assert sign * rulers.mean(rulers.serve(matrix, moments)) == pytest.approx(best)


def test_windows_without_a_value_are_left_out_of_the_mean():
    assert rulers.mean([1.0, None, 3.0]) == 2.0
    assert rulers.mean([None]) is None


def test_evenly_spread_moments_are_inside_and_apart():
    for windows in range(2, 30):
        for number in range(windows):
            moments = rulers.evenly(windows, number)
            assert len(moments) == number
            assert all(0 < moment < windows for moment in moments)
            assert moments == sorted(set(moments))
