"""How far apart groups are is measured with intervals that hold for all of them at once."""

from typing import Any

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

from continuous_training.core.fairness import OTHER, Disparity, Group
from continuous_training.fairness import measure, paired
from continuous_training.metrics import BUILT_IN
from continuous_training.policies.fairness import FairnessPolicy

BOTH = {"demographic_parity": 0.0, "equalised_odds": 0.0}


def people(rows: int, *, gap: float = 0.0, groups: int = 3, seed: int = 1) -> tuple[Any, Any, Any]:
    """Return labels, probabilities and groups; `gap` is added to what group 1 is given."""
    random = np.random.default_rng(seed)
    group = random.integers(0, groups, rows)
    y = (random.random(rows) < 0.4).astype(float)
    yes = np.clip(0.35 + 0.3 * y + gap * (group == 1) + 0.2 * random.normal(size=rows), 0.01, 0.99)
    return y, np.column_stack([1 - yes, yes]), group.astype(str)


def measured(
    y: Any,
    prediction: Any,
    group: Any,
    metric: str = "accuracy",
    confidence: float = 0.95,
    resamples: int = 100,
    **more: Any,
) -> tuple[tuple[Group, ...], dict[str, Disparity]]:
    ranked = more.pop("ranked", None)
    policy = FairnessPolicy(sensitive=("g",), **more)
    groups, disparities = measure(
        policy,
        BUILT_IN[metric],
        y,
        prediction,
        {"g": np.asarray(group, dtype=object)},
        model="challenger",
        ranked=ranked,
        confidence=confidence,
        resamples=resamples,
        seed=7,
    )
    return groups, {each.measure: each for each in disparities}


def test_the_differences_are_those_of_fairlearn() -> None:
    y, prediction, group = people(3000, gap=0.1)
    _, found = measured(y, prediction, group, **BOTH)
    decided = prediction.argmax(axis=1)
    for name, theirs in (
        ("demographic_parity", demographic_parity_difference(y, decided, sensitive_features=group)),
        ("equalised_odds", equalized_odds_difference(y, decided, sensitive_features=group)),
    ):
        estimate = found[name].estimate
        assert estimate.value == pytest.approx(theirs)
        assert 0 <= estimate.low < estimate.value < estimate.high <= 1
        assert found[name].exceeded
    assert "selection rate" in found["demographic_parity"].text
    assert "where it is 1" in found["demographic_parity"].text


@pytest.mark.parametrize("groups", [2, 6])
def test_groups_that_are_alike_raise_no_more_false_alarms_than_the_confidence_says(groups: int) -> None:
    trials, confidence = 100, 0.9
    alarms = dict.fromkeys(("demographic_parity", "equalised_odds", "worst_group"), 0)
    for seed in range(trials):
        y, prediction, group = people(600, groups=groups, seed=seed)
        limit = {"metric": "accuracy", "below": 0.773}  # what every group truly has
        _, found = measured(y, prediction, group, confidence=confidence, worst_group=limit, rows=50, **BOTH)
        for name, disparity in found.items():
            alarms[name] += bool(disparity.exceeded)
    # Three standard deviations above what a rate of 10 % makes of so many trials.
    assert all(count <= trials * 0.1 + 3 * (trials * 0.09) ** 0.5 for count in alarms.values()), alarms


def test_a_planted_disparity_is_shown() -> None:
    limits = {"worst_group": {"metric": "accuracy", "below": 0.74}, "demographic_parity": 0.1, "equalised_odds": 0.1}
    for seed in range(10):
        y, prediction, group = people(3000, gap=0.3, seed=seed)
        _, found = measured(y, prediction, group, **limits)
        assert {name: each.exceeded for name, each in found.items()} == dict.fromkeys(limits, True)
        assert found["worst_group"].text.endswith("where it is 1")


def test_a_limit_is_kept_only_when_the_whole_interval_is_within() -> None:
    y, prediction, group = people(3000, gap=0.15)
    number = measured(y, prediction, group, demographic_parity=0.0)[1]["demographic_parity"].estimate
    for limit, exceeded, kept in (
        (number.low - 0.001, True, False),
        (number.value, False, False),
        (number.high + 0.001, False, True),
    ):
        found = measured(y, prediction, group, demographic_parity=limit)[1]["demographic_parity"]
        assert (found.exceeded, found.kept) == (exceeded, kept)


def test_each_group_has_its_numbers_small_ones_are_not_judged_and_the_rest_is_one() -> None:
    y, prediction, _ = people(2000)
    group = np.array(["a"] * 900 + ["b"] * 800 + ["c"] * 60 + [None] * 50 + [f"v{n}" for n in range(190)], dtype=object)
    groups, found = measured(y, prediction, group, groups=4, rows=100, demographic_parity=0.5)
    assert [(each.value, each.rows, each.judged) for each in groups] == [
        ("a", 900, True),
        ("b", 800, True),
        ("c", 60, False),
        ("(missing)", 50, False),
        (OTHER, 190, True),
    ]
    score = groups[0].challenger
    decided = prediction[:900].argmax(axis=1)
    assert score.metric.value == pytest.approx((decided == y[:900]).mean())
    assert score.selection_rate.value == pytest.approx(decided.mean())
    assert score.true_positive_rate.value == pytest.approx(decided[y[:900] == 1].mean())
    assert score.false_positive_rate.value == pytest.approx(decided[y[:900] == 0].mean())
    assert score.false_positive_rate.low < score.false_positive_rate.value < score.false_positive_rate.high
    assert found["demographic_parity"].estimate.rows == 1890
    assert groups[0].champion is None
    assert paired(groups, [each.model_copy(update={"champion": score}) for each in groups])[0].champion == score


def test_rows_without_a_label_are_left_out() -> None:
    y, prediction, group = people(1000)
    unknown = np.append(y, [np.nan] * 100)
    more = np.vstack([prediction, [[0.0, 1.0]] * 100])
    assert measured(unknown, more, np.append(group, ["0"] * 100), **BOTH) == measured(y, prediction, group, **BOTH)


def test_what_never_happened_in_few_rows_is_not_sure_never_to_happen() -> None:
    y = np.tile([0.0, 1.0], 60)
    prediction = np.tile([[0.9, 0.1]], (120, 1))
    _, found = measured(y, prediction, ["a", "a", "b", "b"] * 30, rows=50, demographic_parity=0.05)
    estimate = found["demographic_parity"].estimate
    assert (estimate.value, estimate.low) == (0, 0)
    assert 0.05 < estimate.high < 0.2
    assert found["demographic_parity"].kept is False


def test_a_rate_of_a_group_that_never_happened_has_an_interval_that_says_so() -> None:
    y, prediction, group = people(90, groups=1)
    prediction[:] = [0.9, 0.1]
    [told], _ = measured(y, prediction, group, rows=20)
    assert told.challenger is not None
    selected = told.challenger.selection_rate
    assert selected is not None
    assert (selected.value, selected.low) == (0.0, 0.0)
    assert selected.high == pytest.approx(0.0409, abs=1e-4)  # Wilson's bound of 0 in 90


def test_without_two_groups_there_is_nothing_to_compare() -> None:
    y, prediction, group = people(300)
    _, found = measured(
        y, prediction, ["a"] * 250 + ["b"] * 50, worst_group={"metric": "accuracy", "below": 0.6}, **BOTH
    )
    assert found["worst_group"].kept
    for name in BOTH:
        assert found[name].exceeded is None
        assert "fewer than two groups have 100 labelled rows" in found[name].estimate.note
    nobody = measured(y[:0], prediction[:0], group[:0], worst_group={"metric": "accuracy", "below": 0.6}, **BOTH)
    assert nobody[0] == ()
    assert all(each.exceeded is None for each in nobody[1].values())


def test_the_rates_are_for_two_classes() -> None:
    y, _, group = people(600)
    three = np.random.default_rng(1).dirichlet([1, 1, 1], 600)
    groups, found = measured(y, three, group, worst_group={"metric": "accuracy", "below": 0.1}, **BOTH)
    assert groups[0].challenger.selection_rate is None
    assert found["worst_group"].kept
    assert found["equalised_odds"].estimate.note == "it is for two classes"


def test_of_values_and_rankings_the_worst_group_is_measured() -> None:
    random = np.random.default_rng(3)
    y, group = random.normal(size=2000), np.array(["a", "b"] * 1000)
    _, found = measured(
        y, y + np.where(group == "b", 2.0, 0.5), group, "mae", worst_group={"metric": "mae", "above": 1.0}
    )
    assert found["worst_group"].exceeded
    assert found["worst_group"].estimate.value == pytest.approx(2.0)
    assert "where it is b" in found["worst_group"].text
    sessions, relevance = np.repeat(np.arange(400), 5), np.tile([1.0, 0, 0, 0, 0], 400)
    by_session = np.where(np.arange(400) % 2, "odd", "even")[sessions]
    score = np.where(by_session == "odd", relevance, random.random(2000))
    _, found = measured(
        relevance, score, by_session, "ndcg_at_10", ranked=sessions, worst_group={"metric": "ndcg_at_10", "below": 0.9}
    )
    assert found["worst_group"].exceeded
    assert "where it is even" in found["worst_group"].text
