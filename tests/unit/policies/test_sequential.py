"""Bounds that hold at every moment at once, by simulation and by what must always be true of them."""

import functools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuous_training.policies.sequential import _log_capital, lower_bound, rate_bounds

RUNS, LOOKS, ALPHA = 300, 400, 0.1


@functools.cache
def capital(counts, mean):
    return math.exp(_log_capital(counts, mean))


def ever_wrong(draw, mean, wrong, seed=1):
    """Return the share of runs in which a look after some value was wrong about the mean."""
    source, alarms = random.Random(seed), 0
    for _ in range(RUNS):
        counts = {}
        for number in range(1, LOOKS + 1):
            value = draw(source, counts)
            counts[value] = counts.get(value, 0) + 1
            if wrong(counts, number, mean):
                alarms += 1
                break
    return alarms / RUNS


def above(counts, _, mean):
    """Tell what `lower_bound(...) > mean` does (see the test below), without searching the bound at each look."""
    return capital(tuple(sorted(counts.items())), mean) > 1 / ALPHA


def below(counts, _, mean):
    return capital(tuple(sorted((1 - value, count) for value, count in counts.items())), 1 - mean) > 1 / ALPHA


def z_test(counts, number, mean):
    seen = counts.get(1, 0) / number
    return number > 20 and (seen - mean) / math.sqrt(mean * (1 - mean) / number) > 1.2816  # one-sided at 0.1


def chance(rate):
    return lambda source, _: int(source.random() < rate)


@pytest.mark.parametrize("rate", [0.01, 0.3])
@pytest.mark.parametrize("wrong", [above, below])
def test_a_bound_looked_at_after_every_request_is_ever_wrong_at_most_alpha_of_the_time(rate, wrong):
    assert ever_wrong(chance(rate), rate, wrong) <= ALPHA


def test_the_same_test_catches_a_test_that_does_not_allow_looking():
    assert ever_wrong(chance(0.3), 0.3, z_test) > 2 * ALPHA


def test_values_that_depend_on_those_before_are_covered_while_their_mean_is_the_same():
    def spread(source, counts):  # wide or narrow around 0.5 by what was seen: only the mean given the past is fixed
        width = 0.5 if sum(value * count for value, count in counts.items()) % 1 < 0.5 else 0.1
        return 0.5 + width * source.choice((-1, 1))

    assert ever_wrong(spread, 0.5, above) <= ALPHA


def test_harm_is_found_and_soon():
    low, _ = rate_bounds(events=50, total=1000, alpha=0.01)
    assert low > 0.025
    assert rate_bounds(500, 10_000, 0.01)[0] > 0.041


@given(counts=st.lists(st.integers(1, 500), min_size=3, max_size=3), alpha=st.floats(0.001, 0.5))
def test_a_bound_is_where_the_capital_of_the_bets_reaches_one_over_alpha(counts, alpha):
    low, seen = lower_bound((0, 0.5, 1), counts, alpha), list(zip((0, 0.5, 1), counts, strict=True))
    assert _log_capital(seen, low * 0.999) >= math.log(1 / alpha) >= _log_capital(seen, low * 1.001)


def test_less_spread_gives_closer_bounds_than_a_rate_of_the_same_mean():
    near = lower_bound((0.4, 0.6), (500, 500), 0.05)
    assert near > 0.48 > lower_bound((0, 1), (500, 500), 0.05) + 0.02


COUNT = st.integers(0, 10_000)


@given(events=COUNT, others=COUNT, more=st.integers(1, 1000), alpha=st.floats(0.001, 0.5))
def test_a_rate_lies_between_its_bounds_which_follow_it(events, others, more, alpha):
    low, high = rate_bounds(events, events + others, alpha)
    assert 0 <= low <= high <= 1
    if events + others:
        assert low - 1e-9 <= events / (events + others) <= high + 1e-9
    low_after, high_after = rate_bounds(events + more, events + others + more, alpha)
    assert low_after >= low - 1e-9
    assert high_after >= high - 1e-9
    assert rate_bounds(events, events + others, alpha / 2)[0] <= low + 1e-9


@given(counts=st.lists(COUNT, min_size=4, max_size=4), order=st.permutations(range(4)))
def test_only_the_counts_matter(counts, order):
    values = (0.1, 0.2, 0.7, 0.9)
    swapped = lower_bound([values[place] for place in order], [counts[place] for place in order], 0.05)
    assert swapped == pytest.approx(lower_bound(values, counts, 0.05))


@pytest.mark.parametrize(
    ("values", "counts", "alpha"),
    [
        ((0, 2), (1, 1), 0.1),
        ((0, 1), (1, -1), 0.1),
        ((0, 1), (1,), 0.1),
        ((0, 1), (1, 1), 0),
        ((0, 1), (1, 1), 1),
        ((0, math.nan), (1, 1), 0.1),
    ],
)
def test_what_has_no_bound_is_refused(values, counts, alpha):
    with pytest.raises(ValueError, match="must lie"):
        lower_bound(values, counts, alpha)
