"""Regret adds up what a refitted model would have saved, and fires when the sum is large and sure."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuous_training.core.decisions import Evidence
from continuous_training.core.history import RetrainingHistory
from continuous_training.core.scores import ShadowScore
from continuous_training.core.window import Window
from continuous_training.policies.regret import RegretPolicy, regret

END = datetime(2013, 3, 8, tzinfo=UTC)
GAINS = st.lists(st.floats(-1, 1), min_size=1, max_size=20)


def shadow(gain, error=0.001, note=""):
    return ShadowScore(gain=gain, error=error, rows=500, trained_until=END - timedelta(days=7), note=note)


def decided(policy, newest, *before, rows=500):
    evidence = Evidence(
        model="m", window=Window(start=END - timedelta(days=7), end=END), as_of=END, rows=rows, shadow=newest
    )
    return policy.decide(evidence, RetrainingHistory(shadows=before))


@given(GAINS)
def test_the_sum_is_that_since_it_last_fell_to_zero(gains):
    scores = [shadow(gain) for gain in gains]
    total = 0.0
    for gain in reversed(gains):
        total = max(0.0, total + gain)
    assert regret(scores).total == pytest.approx(total)


def test_it_retrains_when_the_newest_window_costs_more_than_the_average_with_the_price():
    """Three quiet windows and one of 0.03: 4 x (0.03 - 0.001) - 0.03 = 0.086; with 0.01 it is 0.026, and with 0.007 0.017."""
    quiet = (shadow(0.0), shadow(0.0), shadow(0.0))
    decision = decided(RegretPolicy(), shadow(0.03), *quiet)
    assert (decision.answer, decision.reason.kind) == ("yes", "performance")
    assert "0.03" in decision.why
    assert decided(RegretPolicy(), shadow(0.01), *quiet).answer == "yes"
    assert decided(RegretPolicy(), shadow(0.007), *quiet).answer == "no"
    assert decided(RegretPolicy(price=0.01), shadow(0.007), *quiet).answer == "yes"


def test_a_gain_that_never_grew_is_waited_with_until_it_is_many_prices():
    steady = [shadow(0.05)] * 12
    assert decided(RegretPolicy(), *steady[:7]).answer == "no"
    assert decided(RegretPolicy(), *steady[:9]).answer == "yes"
    assert decided(RegretPolicy(patience=2), steady[0]).answer == "yes"


def test_noise_retrains_nothing():
    quiet = (shadow(0.0, error=0.04),) * 5
    assert decided(RegretPolicy(), shadow(0.1, error=0.06), *quiet).answer == "no"
    assert decided(RegretPolicy(sigmas=0), shadow(0.1, error=0.06), *quiet).answer == "yes"


def test_a_loss_takes_back_what_was_gained():
    assert decided(RegretPolicy(), shadow(0.02), shadow(0.0), shadow(0.05)).answer == "no"
    assert decided(RegretPolicy(), shadow(-0.02), shadow(0.0), shadow(0.5)).answer == "yes"  # 0.48 is 24 prices
    assert decided(RegretPolicy(), shadow(0.002), shadow(-0.5), shadow(0.2)).answer == "no"


@given(slope=st.floats(0.0005, 0.02), price=st.floats(0.005, 0.2))
def test_on_a_steady_decline_the_moment_is_the_one_of_least_cost_a_window(slope, price):
    """It fires in the first window in which (regret + price) / n has risen: the window before was the best to retrain after."""
    gains = [slope * n for n in range(400)]
    policy = RegretPolicy(price=price, patience=1e9, sigmas=0)
    fired = next(
        (
            n
            for n in range(1, 400)
            if decided(policy, *(shadow(g, error=0.0) for g in reversed(gains[:n]))).answer == "yes"
        ),
        None,
    )
    costs = [(sum(gains[:n]) + price) / n for n in range(1, 400)]
    assert fired is not None
    assert costs[fired - 2] == pytest.approx(min(costs))


@pytest.mark.parametrize("newest", [None, shadow(None, None, note="12 rows with a label are too few")])
def test_without_a_gain_nobody_knows(newest):
    decision = decided(RegretPolicy(), newest, shadow(0.5))
    assert decision.answer == "inconclusive"
    assert "cannot tell" in decision.why


def test_too_few_rows_decide_nothing():
    assert decided(RegretPolicy(), shadow(0.5), rows=3).answer == "inconclusive"
