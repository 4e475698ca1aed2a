"""A retraining is labelled by what was realised, and a precision never says more than its counts."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from continuous_training.core.decisions import Signal
from continuous_training.core.retrainings import Precision, Retraining, pooled, precision
from continuous_training.core.scores import Estimate


def gained(value: float, half: float = 0.01, rows: int = 100) -> Estimate:
    return Estimate(metric="roc_auc", value=value, low=value - half, high=value + half, rows=rows)


UNKNOWN = Estimate(metric="roc_auc", note="no row has a known label")
GAINS = st.lists(
    st.builds(gained, st.floats(-1, 1), st.floats(0, 0.5), st.integers(1, 10_000)) | st.just(UNKNOWN), max_size=6
)


def retraining(*gains: Estimate, **changes: Any) -> Retraining:
    told = {"run_key": "a" * 64, "until": datetime(2024, 1, 1, tzinfo=UTC), "reason": "drift", "asked": True}
    return Retraining(**{**told, "promoted": True, "gains": gains, **changes})


@pytest.mark.parametrize(
    ("gains", "label"),
    [
        ([gained(0.02), gained(0.01)], "worth it"),
        ([gained(-0.02), gained(-0.01)], "harmful"),
        ([gained(0.02), gained(-0.02)], "neutral"),
        ([gained(0.005), gained(0.005)], "neutral"),
        ([gained(0.0, half=0.0)] * 2, "neutral"),
        ([gained(0.02)], None),
        ([], None),
    ],
)
def test_the_label_is_the_side_of_zero_on_which_the_pooled_interval_lies(gains: list[Estimate], label: str) -> None:
    assert retraining(*gains).label(2) == label


def test_windows_after_those_that_judge_change_nothing() -> None:
    assert retraining(gained(0.02), gained(0.02), gained(-9.0)).label(2) == "worth it"


def test_a_retraining_that_was_followed_is_judged_by_the_windows_it_had() -> None:
    assert retraining(gained(0.02)).label(4) is None
    assert retraining(gained(0.02), followed=True).label(4) == "worth it"
    assert retraining(followed=True).label(4) is None


def test_a_refused_challenger_changed_nothing() -> None:
    assert retraining(promoted=False).label(4) == "neutral"


@given(GAINS, st.randoms(use_true_random=False))
def test_pooling_stays_inside_does_not_widen_and_does_not_care_for_order(gains: list[Estimate], random: Any) -> None:
    found = pooled(gains)
    known = [gain for gain in gains if gain.value is not None]
    if found is None:
        assert not known
        return
    mixed = random.sample(gains, len(gains))
    again = pooled(mixed)
    assert again is not None
    assert (again.value, again.low, again.high) == pytest.approx((found.value, found.low, found.high))
    assert min(gain.value for gain in known) - 1e-9 <= found.value <= max(gain.value for gain in known) + 1e-9
    assert found.rows == sum(gain.rows for gain in known)
    assert found.high - found.low <= max(gain.high - gain.low for gain in known) + 1e-9


@given(st.integers(0, 200).flatmap(lambda judged: st.tuples(st.integers(0, judged), st.just(judged))))
def test_the_interval_is_wilsons(counts: tuple[int, int]) -> None:
    worth, judged = counts
    found = Precision(worth_it=worth, judged=judged)
    low, high = found.interval
    assert 0 <= low <= high <= 1
    if judged:
        expected = binomtest(worth, judged).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert found.value is not None
        assert low - 1e-9 <= found.value <= high + 1e-9
    else:
        assert (found.value, low, high) == (None, 0.0, 1.0)


def test_a_signal_answers_for_the_retrainings_that_followed_it() -> None:
    def seen(state: str = "fired", *, counts: bool = True) -> tuple[Signal, ...]:
        return (Signal(name="psi", kind="drift", state=state, text="", counts=counts),)

    good = gained(0.02)
    history = [
        retraining(good, signals=seen()),
        retraining(promoted=False, signals=seen()),
        retraining(good, signals=seen(counts=False)),
        retraining(good, signals=seen("quiet")),
        retraining(signals=seen()),
    ]
    assert precision(history, 1, "psi", followed=True) == Precision(worth_it=1, judged=2)
    assert precision(history, 1, "psi", followed=False) == Precision(worth_it=2, judged=3)
    assert precision(history, 1, "ks", followed=False) == Precision(worth_it=0, judged=0)
