"""Scores are three-valued: beyond the threshold, within it, or not known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from continuous_training.core.scores import MATURED_SHARE, DriftScore, Estimate, PerformanceScore

numbers = st.floats(-1e6, 1e6)


def drift(measure: str, value: float | None, threshold: float, **other: float) -> DriftScore:
    sizes = {"reference_rows": 10, "current_rows": 10}
    return DriftScore(detector="d", measure=measure, threshold=threshold, **{measure: value}, **sizes, **other)


def performance(value: float | None, matured: float = 1.0, **limits: float) -> PerformanceScore:
    return PerformanceScore(estimate=Estimate(metric="rmse", value=value), matured=matured, **limits)


@given(numbers, numbers)
def test_a_statistic_must_not_rise_above_its_threshold(value: float, threshold: float) -> None:
    assert drift("statistic", value, threshold).exceeded is (value > threshold)


@given(numbers, numbers)
def test_a_p_value_must_not_fall_below_its_threshold(value: float, threshold: float) -> None:
    assert drift("p_value", value, threshold).exceeded is (value < threshold)


@pytest.mark.parametrize("measure", ["statistic", "p_value"])
def test_a_score_at_its_threshold_has_not_drifted(measure: str) -> None:
    assert drift(measure, 0.05, 0.05).exceeded is False


@pytest.mark.parametrize(("measure", "other"), [("statistic", "p_value"), ("p_value", "statistic")])
def test_only_the_named_number_is_compared(measure: str, other: str) -> None:
    assert drift(measure, None, 0.5, **{other: 0.9}).exceeded is None


def test_a_score_refuses_what_is_not_a_number() -> None:
    with pytest.raises(ValidationError, match="finite number"):
        drift("statistic", float("nan"), 0.1)


@given(numbers, numbers)
def test_a_metric_crosses_its_limit_on_the_named_side_only(value: float, limit: float) -> None:
    assert performance(value, below=limit).exceeded is (value < limit)
    assert performance(value, above=limit).exceeded is (value > limit)


@given(st.floats(0, 1), st.sampled_from([-1.0, 1.0]))
def test_a_metric_is_inconclusive_until_the_labels_have_matured(matured: float, value: float) -> None:
    known = {-1.0: True, 1.0: False}[value]
    assert performance(value, matured, below=0.0).exceeded is (known if matured >= MATURED_SHARE else None)


def test_an_unknown_metric_is_inconclusive() -> None:
    assert performance(None, below=0.5).exceeded is None
