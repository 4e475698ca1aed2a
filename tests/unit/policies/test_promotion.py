"""A challenger is promoted only when it is shown to be good enough."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from continuous_training.core.comparison import Comparison, SliceComparison
from continuous_training.core.decisions import GateVerdict, Outcome
from continuous_training.core.scores import Estimate
from continuous_training.policies.promotion import PromotionPolicy

UNHURRIED = settings(deadline=None, max_examples=60)
BETTER = (0.012, 0.004, 0.020)
WORSE = (-0.03, -0.04, -0.01)
EITHER = (0.003, -0.004, 0.010)
RANK = {Outcome.FAIL: 0, Outcome.INCONCLUSIVE: 1, Outcome.PASS: 2}


def estimated(value=None, low=None, high=None, *, rows=5000, note=""):
    return Estimate(metric="roc_auc", value=value, low=low, high=high, rows=rows, note=note)


def compared(
    difference=BETTER, *, champion=(0.729, 0.72, 0.74), challenger=(0.741, 0.73, 0.75), rows=5000, greater=True, **more
):
    return Comparison(
        metric="roc_auc",
        greater_is_better=greater,
        rows=rows,
        challenger=estimated(*challenger),
        champion=None if champion is None else estimated(*champion),
        difference=None if champion is None else estimated(*difference),
        **more,
    )


def sliced(difference, *, rows=1000, value="JFK", note=""):
    return SliceComparison(
        column="origin", value=value, rows=rows, difference=estimated(*difference, rows=rows, note=note)
    )


def judged(comparison, **settings) -> GateVerdict:
    return PromotionPolicy(metric="roc_auc", **settings).judge(comparison)


def rule(verdict, name):
    return next(each for each in verdict.rules if each.name == name)


@pytest.mark.parametrize(
    ("difference", "margin", "outcome"),
    [
        (BETTER, 0.0, Outcome.PASS),
        (BETTER, 0.004, Outcome.INCONCLUSIVE),
        (BETTER, 0.02, Outcome.FAIL),
        (EITHER, 0.0, Outcome.INCONCLUSIVE),
        (EITHER, -0.005, Outcome.PASS),
        (WORSE, 0.0, Outcome.FAIL),
        (WORSE, -0.02, Outcome.INCONCLUSIVE),
        (WORSE, -0.05, Outcome.PASS),
        ((0.0, 0.0, 0.0), 0.0, Outcome.FAIL),
        ((0.0, 0.0, 0.0), -0.001, Outcome.PASS),
        ((None, None, None), 0.0, Outcome.INCONCLUSIVE),
        ((0.4, None, None), 0.0, Outcome.INCONCLUSIVE),
    ],
)
def test_the_whole_interval_of_the_difference_must_lie_above_the_margin(difference, margin, outcome):
    verdict = judged(compared(difference), margin=margin)
    assert verdict.outcome is outcome
    assert rule(verdict, "champion").outcome is outcome


def test_an_identical_challenger_is_refused_in_words_a_person_understands():
    verdict = judged(compared((0.0, 0.0, 0.0)))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.text.startswith(
        "Do not promote the challenger: the challenger's roc_auc is 0.741, the champion's 0.729"
    )
    assert "so it is shown not to be better" in verdict.text


def test_a_pass_says_by_how_much_and_how_sure():
    text = judged(compared()).text
    assert text == (
        "Promote the challenger: the challenger's roc_auc is 0.741, the champion's 0.729: 0.012 better (between 0.004 and 0.02 "
        "at 95 % confidence), so it is shown to be better."
    )


@pytest.mark.parametrize(
    ("margin", "words"),
    [(0.0, "to be better"), (0.001, "to be better by more than 0.001"), (-0.01, "to be at most 0.01 worse")],
)
def test_the_sentence_names_the_margin(margin, words):
    assert words in judged(compared(), margin=margin).text


def test_too_few_rows_are_inconclusive_however_good_the_challenger():
    verdict = judged(compared(rows=499))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "499 hold-out rows" in verdict.text
    assert rule(verdict, "rows").limit == 500
    assert judged(compared(rows=500)).outcome is Outcome.PASS


def test_a_failed_rule_outweighs_an_inconclusive_one():
    assert judged(compared(WORSE, rows=10)).outcome is Outcome.FAIL


def test_the_first_challenger_needs_no_champion():
    verdict = judged(compared(champion=None), negative_flips=0.01)
    assert verdict.outcome is Outcome.PASS
    assert "no champion yet" in verdict.text


def test_the_first_challenger_is_not_promoted_unmeasured():
    verdict = judged(compared(champion=None, challenger=(None, None, None)))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "could not be measured" in verdict.text


@pytest.mark.parametrize("champion", [None, (0.729, 0.72, 0.74)])
@pytest.mark.parametrize(
    ("floor", "outcome"),
    [
        (0.70, Outcome.PASS),
        (0.73, Outcome.PASS),
        (0.74, Outcome.INCONCLUSIVE),
        (0.75, Outcome.INCONCLUSIVE),
        (0.76, Outcome.FAIL),
    ],
)
def test_the_floor_applies_with_and_without_a_champion(floor, outcome, champion):
    verdict = judged(compared(champion=champion), floor=floor)
    assert verdict.outcome is outcome
    assert rule(verdict, "floor").limit == floor


@pytest.mark.parametrize(
    ("floor", "outcome"), [(0.76, Outcome.PASS), (0.74, Outcome.INCONCLUSIVE), (0.72, Outcome.FAIL)]
)
def test_the_floor_of_an_error_is_a_ceiling(floor, outcome):
    verdict = PromotionPolicy(metric="log_loss", floor=floor).judge(compared(greater=False))
    assert rule(verdict, "floor").outcome is outcome
    assert f"at most {floor:g}" in rule(verdict, "floor").text


def test_a_floor_without_an_interval_is_inconclusive():
    assert judged(compared(challenger=(0.74, None, None)), floor=0.1).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("part", "outcome", "words"),
    [
        (sliced((-0.05, -0.07, -0.03)), Outcome.FAIL, "shown to be more than 0.02 worse"),
        (sliced((-0.05, -0.07, -0.01)), Outcome.PASS, "not shown to be more than 0.02 worse"),
        (sliced((-0.05, -0.07, -0.02)), Outcome.PASS, "not shown"),
        (sliced((-0.5, -0.7, -0.3), rows=300), Outcome.FAIL, "shown to be more than 0.02 worse"),
        (sliced((-0.5, -0.7, -0.3), rows=299), Outcome.PASS, "not judged, which needs 300 rows"),
        (sliced((None, None, None), note="only one class occurs in 1000 rows"), Outcome.PASS, "only one class"),
    ],
)
def test_a_slice_fails_only_when_it_is_shown_to_be_worse(part, outcome, words):
    verdict = judged(compared(slices=(part,)), slices=("origin",))
    assert verdict.outcome is outcome
    assert rule(verdict, "slice origin=JFK").outcome is outcome
    assert words in rule(verdict, "slice origin=JFK").text


def test_the_verdict_names_the_slice_that_decided():
    verdict = judged(compared(slices=(sliced(BETTER, value="EWR"), sliced((-0.05, -0.07, -0.03)))))
    assert "where origin is JFK (1,000 rows), the challenger's roc_auc is 0.05 worse" in verdict.text
    assert [each.name for each in verdict.rules] == ["rows", "champion", "slice origin=EWR", "slice origin=JFK"]


@pytest.mark.parametrize(
    ("rate", "outcome"),
    [(0.009, Outcome.PASS), (0.01, Outcome.PASS), (0.011, Outcome.FAIL), (None, Outcome.INCONCLUSIVE)],
)
def test_newly_wrong_answers_have_a_limit(rate, outcome):
    assert judged(compared(negative_flip_rate=rate), negative_flips=0.01).outcome is outcome


def test_without_a_limit_newly_wrong_answers_are_no_rule():
    assert judged(compared(negative_flip_rate=0.5)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "wrong",
    [
        {"at_least": "previous"},
        {"confidence": 1.0},
        {"resamples": 10},
        {"margin": float("nan")},
        {"slice_drop": -0.1},
        {"negative_flips": 2},
        {"approval": "sometimes"},
        {"floors": 1},
    ],
)
def test_settings_without_a_meaning_are_refused(wrong):
    with pytest.raises(ValidationError):
        PromotionPolicy(**{"metric": "roc_auc", **wrong})


def test_every_setting_is_described():
    fields = PromotionPolicy.model_json_schema()["properties"]
    assert [name for name, field in fields.items() if not field.get("description")] == []


numbers = st.floats(-1, 1, allow_nan=False)
intervals = st.lists(numbers, min_size=3, max_size=3).map(sorted).map(lambda three: (three[1], three[0], three[2]))
maybe = st.one_of(intervals, st.just((None, None, None)))


@UNHURRIED
@given(intervals, st.floats(0, 1), numbers, st.sampled_from([0.0, 0.1]))
def test_a_better_challenger_never_gets_a_worse_verdict(difference, more, margin, drop):
    settings = {"margin": margin, "slice_drop": drop}
    lifted = tuple(number + more for number in difference)
    before = judged(compared(difference, slices=(sliced(difference),)), **settings)
    after = judged(compared(lifted, slices=(sliced(lifted),)), **settings)
    assert RANK[after.outcome] >= RANK[before.outcome]


@UNHURRIED
@given(intervals, numbers, st.floats(0, 1))
def test_a_stricter_margin_never_gives_a_better_verdict(difference, margin, more):
    loose = judged(compared(difference), margin=margin)
    strict = judged(compared(difference), margin=margin + more)
    assert RANK[strict.outcome] <= RANK[loose.outcome]


@UNHURRIED
@given(maybe, maybe, maybe, st.integers(0, 1000), st.one_of(st.none(), st.floats(0, 1)), st.one_of(st.none(), numbers))
def test_the_verdict_is_the_worst_of_its_rules(difference, challenger, part, rows, rate, floor):
    comparison = compared(difference, challenger=challenger, rows=rows, slices=(sliced(part),), negative_flip_rate=rate)
    verdict = judged(comparison, floor=floor, negative_flips=0.1)
    assert RANK[verdict.outcome] == min(RANK[each.outcome] for each in verdict.rules)
    assert GateVerdict.model_validate_json(verdict.model_dump_json()) == verdict
    decisive = [each for each in verdict.rules if each.outcome is verdict.outcome and each.text in verdict.text]
    assert decisive
    assert judged(comparison, floor=floor, negative_flips=0.1) == verdict


@pytest.mark.parametrize(
    ("metric", "value", "outcome"),
    [
        ("roc_auc", 0.80, Outcome.PASS),
        ("roc_auc", 0.735, Outcome.PASS),
        ("roc_auc", 0.72, Outcome.FAIL),
        ("log_loss", 0.70, Outcome.PASS),
        ("log_loss", 0.76, Outcome.FAIL),
        ("roc_auc", None, Outcome.INCONCLUSIVE),
    ],
)
def test_a_refit_that_is_worse_on_rows_it_has_learned_from_is_not_promoted(metric, value, outcome):
    comparison = compared(greater=metric == "roc_auc", refitted=estimated(value, note="not finite"))
    verdict = PromotionPolicy(metric=metric).judge(comparison)
    assert rule(verdict, "refit").outcome is outcome
    assert verdict.outcome is outcome


@pytest.mark.parametrize(("value", "outcome"), [(0.75, Outcome.PASS), (0.74, Outcome.FAIL)])
def test_a_refit_of_a_challenger_without_an_interval_is_held_against_its_value(value, outcome):
    comparison = compared(champion=None, challenger=(0.741, None, None), refitted=estimated(value))
    assert rule(judged(comparison), "refit").outcome is outcome
