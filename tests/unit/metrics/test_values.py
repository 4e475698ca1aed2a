"""Declared metrics have the values that a person computes by hand, and those of scikit-learn where it has them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from continuous_training._performance import Truth
from continuous_training.metrics import BUILT_IN, Cost, FBeta, PrecisionAt, QuantileLoss, RecallAt, Within

UNHURRIED = settings(deadline=None, max_examples=60)
LABELS = hnp.arrays(float, 20, elements=st.sampled_from([0.0, 1.0]))
SCORES = hnp.arrays(float, 20, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]))
AMOUNTS = st.floats(-50, 50, allow_subnormal=False)


def measured(metric, y, prediction) -> float:
    y, prediction = np.asarray(y, dtype=float), np.asarray(prediction, dtype=float)
    if metric.task_kind == "classification":
        prediction = np.column_stack([1 - prediction, prediction])
    return metric.statistic(Truth(y), prediction)(np.ones(len(y)))


def cost(**amounts):
    return Cost(name="m", **amounts)


@pytest.mark.parametrize(
    ("amounts", "threshold"),
    [
        ({"false_positive": 1, "false_negative": 1}, 0.5),
        ({"false_positive": 1, "false_negative": 9}, 0.1),
        ({"false_positive": 5, "true_positive": 5, "false_negative": 100}, 0.05),
        ({"false_positive": 10, "true_positive": -30, "false_negative": 0}, 0.25),
        ({"false_positive": 3, "true_negative": -1, "false_negative": 4}, 0.5),
        ({"false_positive": 1, "false_negative": 9, "threshold": 0.7}, 0.7),
    ],
)
def test_the_threshold_of_a_cost_makes_the_expected_cost_least(amounts, threshold):
    assert cost(**amounts).decides_at == pytest.approx(threshold)


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ({"false_positive": 1, "false_negative": 1}, (1 + 1) / 5),  # 0.7 was no, 0.4 was yes
        ({"false_positive": 1, "false_negative": 9}, (1 + 1) / 5),  # above 0.1: 0.7 and 0.2 were no
        ({"false_positive": 1, "false_negative": 9, "threshold": 0.8}, (9 + 0) / 5),
        ({"true_positive": -30, "false_positive": 10, "false_negative": 0, "threshold": 0.5}, (10 - 30) / 5),
        ({"true_negative": -2, "false_positive": 1, "false_negative": 9, "threshold": 0.5}, (1 + 9 - 4) / 5),
        ({"false_positive": 1, "false_negative": 9, "threshold": 0.9}, (9 + 9) / 5),  # 0.9 is not above 0.9
    ],
)
def test_a_cost_is_the_mean_over_the_decisions(amounts, expected):
    assert measured(cost(**amounts), [0, 0, 0, 1, 1], [0.1, 0.2, 0.7, 0.4, 0.9]) == pytest.approx(expected)


@UNHURRIED
@given(LABELS, SCORES, AMOUNTS, AMOUNTS, st.floats(0.5, 50), st.floats(0.5, 50), st.floats(0.1, 100))
def test_no_prediction_costs_less_than_a_perfect_one_and_money_may_be_counted_in_cents(
    y, score, hit, quiet, more, most, scale
):
    amounts = {
        "true_positive": hit,
        "true_negative": quiet,
        "false_negative": hit + more,
        "false_positive": quiet + most,
    }
    metric = cost(**amounts)
    perfect = measured(metric, y, y)
    assert perfect == pytest.approx(np.where(y == 1, hit, quiet).mean())
    assert measured(metric, y, score) >= perfect - 1e-9
    counted = cost(**{name: scale * amount for name, amount in amounts.items()}, threshold=metric.decides_at)
    assert measured(counted, y, score) == pytest.approx(scale * measured(metric, y, score), abs=1e-9)


@pytest.mark.parametrize("fp", [0.2, 1.0, 4.0])
def test_no_other_threshold_costs_less_when_probabilities_are_right(fp):
    score = np.repeat(np.arange(1, 20) / 20, 20)
    y = np.concatenate([np.arange(20) < round(20 * p) for p in np.arange(1, 20) / 20]).astype(float)
    least = measured(cost(false_positive=fp, false_negative=1), y, score)
    others = [
        measured(cost(false_positive=fp, false_negative=1, threshold=t), y, score) for t in np.arange(0.025, 1, 0.05)
    ]
    assert least == pytest.approx(min(others))


@UNHURRIED
@given(LABELS, SCORES, st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0]), st.sampled_from([0.1, 0.3, 0.5]))
def test_f_beta_is_that_of_scikit_learn(y, score, beta, threshold):
    found = measured(FBeta(name="m", beta=beta, threshold=threshold), y, score)
    if not y.any() and not (score > threshold).any():
        assert np.isnan(found)
    else:
        assert found == pytest.approx(sk.fbeta_score(y, score > threshold, beta=beta, zero_division=0))
    if (beta, threshold) == (1.0, 0.5):
        assert found == pytest.approx(measured(BUILT_IN["f1"], y, score), nan_ok=True)


@pytest.mark.parametrize(
    ("top", "precision", "recall"),
    [
        (0.1, 1.0, 1 / 3),  # the highest row
        (0.2, 0.5, 1 / 3),
        (0.25, 1.5 / 2.5, 1.5 / 3),  # two rows and half of the third
        (0.3, 2 / 3, 2 / 3),
        (0.4, (2 + 1 / 4) / 4, 2.25 / 3),  # one of four rows with the same score, one of them positive
        (0.7, 3 / 7, 1.0),
        (0.05, 1.0, 1 / 6),
    ],
)
def test_the_top_is_counted_in_rows_and_parts_of_rows(top, precision, recall):
    y = [1, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    score = [0.9, 0.8, 0.7, 0.5, 0.5, 0.5, 0.5, 0.2, 0.1, 0.0]
    assert measured(PrecisionAt(name="m", top=top), y, score) == pytest.approx(precision)
    assert measured(RecallAt(name="m", top=top), y, score) == pytest.approx(recall)


def test_rows_of_one_score_count_as_the_mean_over_their_orders():
    y, top = [1, 1, 0, 0, 1], 0.4
    orders = [sum(order[:2]) / 2 for order in itertools.permutations(y)]
    assert measured(PrecisionAt(name="m", top=top), y, np.full(5, 0.5)) == pytest.approx(np.mean(orders))


@UNHURRIED
@given(LABELS, SCORES, st.floats(0.01, 0.99))
def test_precision_and_recall_at_the_top_tell_the_same_found_rows(y, score, top):
    precision, recall = (measured(kind(name="m", top=top), y, score) for kind in (PrecisionAt, RecallAt))
    assert 0 <= precision <= 1 + 1e-12
    if y.any():
        assert precision * top * len(y) == pytest.approx(recall * y.sum())
        perfect = measured(PrecisionAt(name="m", top=top), y, y)
        assert precision <= perfect + 1e-9 == pytest.approx(min(1, y.mean() / top) + 1e-9)
    else:
        assert np.isnan(recall)


@UNHURRIED
@given(
    hnp.arrays(float, 20, elements=st.floats(-1e3, 1e3)),
    hnp.arrays(float, 20, elements=st.floats(-1e3, 1e3)),
    st.floats(0.01, 0.99),
    st.floats(0.1, 10),
)
def test_the_quantile_loss_is_that_of_scikit_learn_and_grows_with_its_unit(y, prediction, quantile, scale):
    metric = QuantileLoss(name="m", quantile=quantile)
    found = measured(metric, y, prediction)
    assert found == pytest.approx(sk.mean_pinball_loss(y, prediction, alpha=quantile))
    assert measured(metric, scale * y, scale * prediction) == pytest.approx(scale * found)
    median = QuantileLoss(name="m", quantile=0.5)
    assert 2 * measured(median, y, prediction) == pytest.approx(measured(BUILT_IN["mae"], y, prediction))


@pytest.mark.parametrize(("tolerance", "share"), [(0, 0.2), (0.5, 0.4), (1, 0.6), (1.9, 0.8), (2, 1.0), (9, 1.0)])
def test_within_counts_the_rows_that_are_close_enough(tolerance, share):
    assert measured(Within(name="m", tolerance=tolerance), [1, 2, 3, 4, 5], [1, 2.5, 2, 2.25, 7]) == share
