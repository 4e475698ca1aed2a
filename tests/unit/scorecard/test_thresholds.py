"""A threshold is suggested when it tells the windows after which a retraining pays better than the present one does."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import small_model
from continuous_training.core.decisions import Evidence
from continuous_training.core.scores import DriftScore, Estimate, PerformanceScore
from continuous_training.core.window import Window
from continuous_training.scorecard import Suggestion, policy_file, suggest
from continuous_training.spec import ModelSpec

END = datetime(2024, 3, 1, tzinfo=UTC)
DRIFT = {"kind": "psi", "columns": ["wind"], "threshold": 0.2}
RULE = {"name": "low", "metric": "roc_auc", "below": 0.7}


def seen(*drift: DriftScore, quality: float | None = None) -> Evidence:
    score = PerformanceScore(estimate=Estimate(metric="roc_auc", value=quality), rule="low", matured=1.0, below=0.7)
    window = Window(start=END - timedelta(days=7), end=END)
    return Evidence(model="m", window=window, as_of=END, rows=500, drift=drift, performance=(score,))


def psi(value: float | None, **changes: Any) -> DriftScore:
    told = {"detector": "psi", "column": "wind", "measure": "statistic", "threshold": 0.2, "statistic": value}
    return DriftScore(reference_rows=1000, current_rows=500, **{**told, **changes})


def suggested(values: Sequence[tuple[float | None, bool]], spec: ModelSpec) -> Suggestion:
    return suggest(spec, [(seen(psi(value)), worth) for value, worth in values])[0]


SPEC = small_model.spec(drift=[DRIFT], performance=[RULE])
APART = [(0.30 + number / 100, False) for number in range(6)] + [(0.60 + number / 100, True) for number in range(6)]


def test_a_threshold_between_the_two_kinds_of_windows_is_found() -> None:
    found = suggested(APART, SPEC)
    assert (found.present, found.present_skill, found.skill) == (0.2, 0.0, 1.0)
    assert found.suggested == pytest.approx(0.475)


def test_a_present_threshold_that_is_as_good_stays() -> None:
    found = suggested([(value - 0.2, worth) for value, worth in APART], SPEC)
    assert (found.suggested, found.skill) == (None, 1.0)
    assert "no other threshold" in found.note


def test_of_thresholds_that_are_as_good_the_nearest_is_taken() -> None:
    # a limit of 0.4 finds all good windows and a third of the others, one of 0.6 two thirds of them and no other
    values = [(0.3, False)] * 6 + [(0.5, True)] * 3 + [(0.5, False)] * 3 + [(0.7, True)] * 6
    found = suggested(values, SPEC)
    assert found.skill == pytest.approx(2 / 3)
    assert found.suggested == pytest.approx(0.4)


def test_too_little_history_is_said_with_its_counts() -> None:
    found = suggested([*APART[:6], *APART[6:10], (None, True)], SPEC)
    assert found.suggested is None
    assert "in 4 windows after which a retraining pays and in 6 others, and 5 of each are needed" in found.note


def test_a_p_value_is_suggested_in_units_of_the_setting_whatever_the_correction_made_of_it() -> None:
    spec = small_model.spec(drift=[{"kind": "ks", "columns": ["wind"], "p_value": 0.01}])

    def ks(p_value: float) -> DriftScore:
        return psi(None, detector="ks", measure="p_value", p_value=p_value, threshold=0.01 / 4)

    values = [(0.002, False)] * 6 + [(0.0002, True)] * 6
    [found] = suggest(spec, [(seen(ks(value)), worth) for value, worth in values])
    assert found.suggested == pytest.approx(4 * 0.0011)
    [found] = suggest(spec, [(seen(ks(value)), worth) for value, worth in [(0.9, False)] * 6 + [(0.7, True)] * 6])
    assert found.suggested is None


def test_effects_under_the_least_that_counts_are_left_out() -> None:
    values = [(seen(psi(value, minimum_effect=0.1, effect=0.01)), worth) for value, worth in APART]
    assert "in 0 windows" in suggest(SPEC, values)[0].note


def test_drift_that_a_season_explains_is_left_out() -> None:
    values = [(seen(psi(value, season=0.01, seasonal=True)), worth) for value, worth in APART]
    assert "in 0 windows" in suggest(SPEC, values)[0].note


def test_a_performance_rule_gets_a_limit_on_its_own_side() -> None:
    spec = small_model.spec(drift=[], performance=[RULE])
    values = [(0.9, False)] * 5 + [(0.8, True)] * 5
    [found] = suggest(spec, [(seen(quality=value), worth) for value, worth in values])
    assert (found.signal, found.suggested) == ("low", 0.85)


def test_detectors_without_one_threshold_or_a_name_of_their_own_are_told_apart() -> None:
    joint = {"kind": "ks", "correction": "benjamini_hochberg"}
    spec = small_model.spec(drift=[joint, DRIFT, {**DRIFT, "columns": ["carrier"]}])
    assert [one.note for one in suggest(spec, [])] == [
        "its limit is not one number",
        "two detectors have this name; give each its own",
        "two detectors have this name; give each its own",
    ]


def test_the_policy_file_is_the_model_file_with_the_new_thresholds() -> None:
    found = [Suggestion(signal="psi", suggested=0.5), Suggestion(signal="low", suggested=0.6)]
    parts = policy_file(SPEC, found)
    changed = ModelSpec.model_validate(SPEC.model_dump() | parts)
    assert [one.model_dump(exclude_defaults=True) for one in changed.drift] == [
        {"columns": ("wind",), "threshold": 0.5},
    ]
    assert changed.performance[0] == SPEC.performance[0].model_copy(update={"below": 0.6})
    assert "retraining" not in parts
    assert policy_file(SPEC, []) == {}


def test_a_signal_whose_best_threshold_may_be_chance_had_better_be_advice() -> None:
    mixed = [(number / 10, number % 2 == 0) for number in range(12)]
    found = suggested(mixed, SPEC)
    assert (found.suggested, found.advise) == (None, True)
    assert found.chance > 0.1
    assert suggested(APART, SPEC).chance < 0.01
    upside_down = [(-value, worth) for value, worth in APART]
    assert suggested(upside_down, SPEC).advise


def test_advice_goes_into_the_policy_unless_it_would_leave_no_signal_or_break_a_group() -> None:
    noisy, low = Suggestion(signal="psi", advise=True), Suggestion(signal="low")
    spec = small_model.spec(drift=[DRIFT], performance=[RULE], retraining={"kind": "signals", "cooldown": "7 days"})
    parts = policy_file(spec, [noisy, low])
    assert parts["retraining"] == {"kind": "signals", "cooldown": "7 days", "advise": ["psi"]}
    assert ModelSpec.model_validate(spec.model_dump() | parts).retraining.advise == ("psi",)
    assert policy_file(spec, [noisy, low.model_copy(update={"advise": True})]) == {}
    grouped = small_model.spec(
        drift=[DRIFT], performance=[RULE], retraining={"kind": "signals", "when": [["psi", "low"]]}
    )
    assert policy_file(grouped, [noisy, low]) == {}


def test_a_rule_that_the_policy_calls_by_its_limit_keeps_it() -> None:
    rule = {"metric": "roc_auc", "below": 0.7}
    spec = small_model.spec(
        drift=[], performance=[rule], retraining={"kind": "signals", "advise": ["roc_auc below 0.7"]}
    )
    assert suggest(spec, [])[0].note == "the policy calls it by its limit; give it a name first"


@given(st.lists(st.tuples(st.floats(0.001, 10), st.booleans()), max_size=30), st.randoms(use_true_random=False))
def test_a_suggestion_is_never_worse_and_does_not_care_for_order(values: list[tuple[float, bool]], random: Any) -> None:
    found = suggested(values, SPEC)
    assert suggested(random.sample(values, len(values)), SPEC) == found
    if found.suggested is not None:
        assert found.skill > found.present_skill
        fired = [worth for value, worth in values if value > found.suggested]
        good = sum(worth for _, worth in values)
        skill = sum(fired) / good - (len(fired) - sum(fired)) / (len(values) - good)
        assert skill == pytest.approx(found.skill)
