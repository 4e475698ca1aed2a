"""A model is retrained for its net value when the lower bound of what is gained pays for what it costs."""

from datetime import UTC, datetime, timedelta
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from continuous_training.core.decisions import Evidence, RetrainingDecision
from continuous_training.core.history import RetrainingHistory
from continuous_training.core.scores import ShadowScore
from continuous_training.core.window import Window
from continuous_training.policies.net_value import NetValue

UNHURRIED = settings(deadline=None, max_examples=80)
END = datetime(2013, 3, 8, tzinfo=UTC)
MONEY: dict[str, Any] = {"value": 2.0, "traffic": 1000.0, "horizon": "10 days", "costs": {"compute": 150, "risk": 50}}
WORTH = 2.0 * 1000 * 10
BREAK_EVEN = 200 / WORTH


def shadow(gain: float | None, error: float | None = 0.001, *, note: str = "") -> ShadowScore:
    return ShadowScore(gain=gain, error=error, rows=500, trained_until=END - timedelta(days=7), note=note)


def decided(now: ShadowScore | None, *before: ShadowScore, rows: int = 500, **policy: Any) -> RetrainingDecision:
    window = Window(start=END - timedelta(days=7), end=END)
    evidence = Evidence(model="m", window=window, as_of=END + timedelta(days=1), rows=rows, shadow=now)
    return NetValue(**{**MONEY, **policy}).decide(evidence, RetrainingHistory(shadows=before))


def test_the_break_even_is_the_gain_that_just_pays() -> None:
    policy = NetValue(**MONEY)
    assert policy.break_even == pytest.approx(BREAK_EVEN)
    assert policy.costs.total == 200
    assert decided(shadow(BREAK_EVEN * 1.001, 1e-9)).answer == "yes"
    assert decided(shadow(BREAK_EVEN * 0.999, 1e-9)).answer == "no"


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.99])
def test_the_lower_bound_and_not_the_gain_must_pay(confidence: float) -> None:
    error = 0.01
    needed = BREAK_EVEN + NormalDist().inv_cdf(confidence) * error
    assert decided(shadow(needed * 1.001, error), confidence=confidence).answer == "yes"
    assert decided(shadow(needed * 0.999, error), confidence=confidence).answer == "no"


def test_the_interval_is_told_in_money() -> None:
    decision = decided(shadow(0.02, 0.001), confidence=0.9)
    reach = NormalDist().inv_cdf(0.9) * 0.001 * WORTH
    assert f"worth +200 in 10 days (90% bounds {200 - reach:+.4g} to {200 + reach:+.4g}" in decision.why
    assert "gain 0.02 per prediction, costs 200" in decision.why
    assert decision.reason is not None
    assert decision.reason.kind == "performance"


def test_windows_are_pooled_by_their_certainty() -> None:
    assert "gain 0.02 " in decided(shadow(0.01), shadow(0.03)).why
    assert "gain 0.012 " in decided(shadow(0.01, 0.001), shadow(0.03, 0.003)).why
    alone, together = shadow(0.014, 0.004), [shadow(0.014, 0.004)] * 3
    assert (decided(alone).answer, decided(alone, *together).answer) == ("no", "yes")


def test_only_the_newest_windows_are_pooled_and_those_without_a_gain_add_nothing() -> None:
    assert "gain 0.01 " in decided(shadow(0.01), shadow(0.03), windows=1).why
    assert "gain 0.02 " in decided(shadow(0.01), shadow(None, None), shadow(0.03)).why


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (None, "net value cannot be told: no refitted model was measured"),
        (shadow(None, None, note="one class"), "net value cannot be told: one class"),
        (shadow(0.5, None), "net value cannot be told: no refitted model was measured"),
    ],
    ids=["nothing", "no gain", "no error"],
)
def test_a_window_without_a_measured_gain_is_inconclusive_whatever_came_before(
    now: ShadowScore | None, words: str
) -> None:
    decision = decided(now, *([shadow(0.5)] if now is None or now.gain is None else []))
    assert decision.answer == "inconclusive"
    assert words in decision.why


def test_a_window_with_too_few_rows_is_inconclusive() -> None:
    assert decided(shadow(0.5), rows=29).answer == "inconclusive"


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": 0},
        {"traffic": -1},
        {"costs": {"compute": -1}},
        {"confidence": 0.5},
        {"horizon": "0 days"},
        {"windows": 0},
    ],
    ids=str,
)
def test_settings_without_a_meaning_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NetValue(**{**MONEY, **wrong})


GAINS = st.floats(-0.2, 0.2)
ERRORS = st.floats(1e-4, 0.1)
SCORES = st.lists(st.builds(shadow, GAINS, ERRORS), min_size=1, max_size=4)
MORE = st.floats(1.0, 10.0)


def asks(scores: list[ShadowScore], **policy: Any) -> bool:
    return decided(*scores, **policy).answer == "yes"


@UNHURRIED
@given(SCORES, st.floats(0, 0.2))
def test_a_larger_gain_never_turns_a_yes_into_a_no(scores: list[ShadowScore], more: float) -> None:
    larger = [score.model_copy(update={"gain": (score.gain or 0.0) + more}) for score in scores]
    assert not asks(scores) or asks(larger)


@UNHURRIED
@given(SCORES, MORE)
def test_more_traffic_value_or_time_never_turns_a_yes_into_a_no(scores: list[ShadowScore], more: float) -> None:
    for setting in ({"traffic": 1000 * more}, {"value": 2 * more}, {"horizon": timedelta(days=10) * more}):
        assert not asks(scores) or asks(scores, **setting)


@UNHURRIED
@given(SCORES, MORE, st.sampled_from(["compute", "labels", "risk"]))
def test_a_higher_cost_never_turns_a_no_into_a_yes(scores: list[ShadowScore], more: float, cost: str) -> None:
    assert asks(scores, costs={cost: 200}) or not asks(scores, costs={cost: 200 * more})


@UNHURRIED
@given(SCORES, st.floats(0.51, 0.99), st.floats(0.51, 0.99))
def test_a_higher_confidence_never_turns_a_no_into_a_yes(
    scores: list[ShadowScore], first: float, second: float
) -> None:
    low, high = sorted((first, second))
    assert asks(scores, confidence=low) or not asks(scores, confidence=high)


@UNHURRIED
@given(GAINS, ERRORS, MORE)
def test_more_noise_never_turns_a_no_into_a_yes(gain: float, error: float, more: float) -> None:
    assert asks([shadow(gain, error)]) or not asks([shadow(gain, error * more)])


@UNHURRIED
@given(SCORES)
def test_a_gain_that_costs_money_is_never_bought(scores: list[ShadowScore]) -> None:
    if all((score.gain or 0.0) <= BREAK_EVEN for score in scores):
        assert not asks(scores)
