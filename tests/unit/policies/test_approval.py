"""Which promotions a person must approve."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

import small_model
from continuous_training.core.comparison import Comparison, SliceComparison
from continuous_training.core.scores import Estimate
from continuous_training.policies.approval import ALWAYS, Approval, ApprovalRules

BETTER = Estimate(metric="roc_auc", value=0.03, low=0.01, high=0.05, rows=1000)
COMPARED = Comparison(
    metric="roc_auc",
    rows=1000,
    challenger=Estimate(metric="roc_auc", value=0.83, rows=1000),
    champion=Estimate(metric="roc_auc", value=0.80, rows=1000),
    difference=BETTER,
    slices=(
        SliceComparison(column="origin", value="JFK", rows=400, difference=BETTER.model_copy(update={"value": -0.004})),
        SliceComparison(column="origin", value="LGA", rows=200, difference=BETTER.model_copy(update={"value": -0.2})),
    ),
    negative_flip_rate=0.04,
)
FIRST = COMPARED.model_copy(update={"champion": None, "difference": None, "slices": (), "negative_flip_rate": None})


def reasons(comparison=COMPARED, *, forced=False, **rules):
    return Approval(when=rules).reasons(comparison, slice_rows=300, forced=forced)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"difference_below": 0.04}, ["roc_auc is better by 0.03, less than 0.04"]),
        ({"difference_below": 0.03}, []),
        ({"worse_slices": True}, ["worse where origin is JFK: -0.004"]),
        ({"negative_flips_above": 0.03}, ["newly wrong in 4.00% of the rows, more than 3.00%"]),
        ({"negative_flips_above": 0.04}, []),
        ({"first": True, "forced": True}, []),
        ({"difference_below": 0.04, "worse_slices": True, "negative_flips_above": 0.03, "first": True}, None),
    ],
)
def test_each_rule_that_applies_is_a_reason_with_its_number(rules, said):
    found = reasons(**rules)
    assert found == said if said is not None else len(found) == 3


def test_a_first_champion_is_asked_for_by_its_own_rule_alone():
    assert reasons(FIRST, first=True) == ["there is no champion yet"]
    assert reasons(FIRST, difference_below=1.0, worse_slices=True, negative_flips_above=0.0) == []


def test_what_is_forced_is_asked_for_where_that_is_a_rule():
    rules = ApprovalRules(forced=True)
    assert rules.reasons(COMPARED, slice_rows=1, forced=False) == []
    assert "by force" in rules.reasons(FIRST, slice_rows=1, forced=True)[0]
    assert reasons(forced=True, first=True) == []


@pytest.mark.parametrize("rules", [{"difference_below": 0.01}, {"negative_flips_above": 0.5}])
def test_what_could_not_be_measured_asks_too(rules):
    unknown = COMPARED.model_copy(update={"difference": None, "negative_flip_rate": None})
    [said] = reasons(unknown, **rules)
    assert "could not be measured" in said


def test_a_slice_that_could_not_be_measured_asks_too_where_it_has_enough_rows():
    unknown = Estimate(metric="roc_auc", note="one class only")
    slices = tuple(
        SliceComparison(column="origin", value=value, rows=rows, difference=unknown)
        for value, rows in (("JFK", 400), ("LGA", 200))
    )
    found = reasons(COMPARED.model_copy(update={"slices": slices}), worse_slices=True)
    assert found == ["whether it is worse where origin is JFK could not be measured (one class only)"]


def test_always_is_a_reason_of_its_own():
    assert Approval().reasons(FIRST, slice_rows=1, forced=False) == [ALWAYS]


@pytest.mark.parametrize(
    ("approval", "asks"),
    [
        ("never", None),
        ("always", Approval()),
        (
            {"when": {"first": True}, "approvers": ["ann"], "timeout": "2 days"},
            Approval(when={"first": True}, approvers=("ann",), timeout=timedelta(days=2)),
        ),
    ],
)
def test_a_model_file_says_it_in_a_word_or_in_full(approval, asks):
    promotion = small_model.spec(promotion={"metric": "roc_auc", "approval": approval}).promotion
    assert promotion.asks == asks


@pytest.mark.parametrize(
    ("approval", "said"),
    [
        ({"when": {}}, "names no rule"),
        ({"when": {"first": False}}, "names no rule"),
        ({"when": {"frist": True}}, "frist"),
        ({"timeout": "0 days"}, "greater than 0"),
        ({"approvers": [""]}, "at least 1 character"),
    ],
)
def test_a_block_that_asks_for_nothing_is_refused(approval, said):
    with pytest.raises(ValidationError, match=said):
        small_model.spec(promotion={"metric": "roc_auc", "approval": approval})
