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


def test_small_gains_add_up_to_a_yes_with_the_numbers():
    policy = RegretPolicy(threshold=0.03)
    assert decided(policy, shadow(0.02)).answer == "no"
    decision = decided(policy, shadow(0.02), shadow(0.02))
    assert decision.answer == "yes"
    assert decision.reason.kind == "performance"
    assert "0.04" in decision.why
    assert "2 windows" in decision.why


def test_a_large_gain_in_one_noisy_window_is_not_enough():
    assert decided(RegretPolicy(), shadow(0.05, error=0.04)).answer == "no"
    assert decided(RegretPolicy(sigmas=0), shadow(0.05, error=0.04)).answer == "yes"


def test_a_loss_takes_back_what_was_gained():
    assert decided(RegretPolicy(), shadow(0.02), shadow(-0.05), shadow(0.02)).answer == "no"


@pytest.mark.parametrize("newest", [None, shadow(None, None, note="12 rows with a label are too few")])
def test_without_a_gain_nobody_knows(newest):
    decision = decided(RegretPolicy(), newest, shadow(0.5))
    assert decision.answer == "inconclusive"
    assert "cannot tell" in decision.why


def test_too_few_rows_decide_nothing():
    assert decided(RegretPolicy(), shadow(0.5), rows=3).answer == "inconclusive"
