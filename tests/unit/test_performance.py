"""Metrics agree with scikit-learn, intervals hold what they promise, and nothing makes them crash."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from continuous_training import performance
from continuous_training.core.errors import UsageError
from continuous_training.core.quality import GREATER_IS_BETTER, METRICS
from continuous_training.core.scores import Estimate
from continuous_training.metrics import BUILT_IN

UNHURRIED = settings(deadline=None, max_examples=60)
SAMPLING = {"confidence": 0.95, "resamples": 100, "seed": 7}
BINARY_REFERENCE = {
    "roc_auc": lambda y, p: sk.roc_auc_score(y, p[:, 1]),
    "average_precision": lambda y, p: sk.average_precision_score(y, p[:, 1]),
    "log_loss": lambda y, p: sk.log_loss(y, p, labels=[0, 1]),
    "brier": lambda y, p: sk.brier_score_loss(y, p[:, 1]),
    "accuracy": lambda y, p: sk.accuracy_score(y, p.argmax(axis=1)),
    "f1": lambda y, p: sk.f1_score(y, p.argmax(axis=1)),
}
MANY_REFERENCE = {
    "roc_auc": lambda y, p: sk.roc_auc_score(y, p, multi_class="ovr", average="macro"),
    "average_precision": lambda y, p: sk.average_precision_score(y, p, average="macro"),
    "log_loss": sk.log_loss,
    "brier": sk.brier_score_loss,
    "accuracy": lambda y, p: sk.accuracy_score(y, p.argmax(axis=1)),
    "f1": lambda y, p: sk.f1_score(y, p.argmax(axis=1), average="macro"),
}
VALUE_REFERENCE = {"rmse": sk.root_mean_squared_error, "mae": sk.mean_absolute_error, "r2": sk.r2_score}


def probabilities(score):
    return np.column_stack([1 - score, score])


def binary(rows=400, *, seed=0, strength=0.3, decimals=None):
    random = np.random.default_rng(seed)
    y = (random.random(rows) < 0.3).astype(float)
    score = np.clip(strength * y + (1 - strength) * random.random(rows), 0, 1)
    return y, probabilities(score if decimals is None else score.round(decimals))


def many(rows=400, classes=4, *, seed=0, coarse=False):
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, rows).astype(float)
    raw = random.random((rows, classes)) + np.eye(classes)[y.astype(int)]
    prediction = raw / raw.sum(axis=1, keepdims=True)
    if coarse:  # many equal scores
        prediction = np.floor(8 * prediction) / 8
        prediction[:, -1] = 1 - prediction[:, :-1].sum(axis=1)
    return y, prediction


def values(rows=400, *, seed=0, noise=1.0):
    random = np.random.default_rng(seed)
    y = random.normal(20, 5, rows)
    return y, y + random.normal(0, noise, rows)


def measured(metric, y, prediction, **changed) -> Estimate:
    return performance.estimate(
        BUILT_IN[metric], np.asarray(y, dtype=float), np.asarray(prediction), **{**SAMPLING, **changed}
    )


def compared(metric, y, challenger, champion, *, slices=None, all_metrics=(), **changed):
    return performance.compare(
        BUILT_IN[metric],
        y,
        challenger,
        champion,
        slices=slices or {},
        all_metrics=[BUILT_IN[name] for name in all_metrics],
        **{**SAMPLING, **changed},
    )


# Values


@pytest.mark.parametrize("metric", METRICS["classification"])
@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("seed", range(3))
def test_two_class_metrics_agree_with_scikit_learn(metric, decimals, seed):
    y, prediction = binary(seed=seed, decimals=decimals)
    assert measured(metric, y, prediction).value == pytest.approx(BINARY_REFERENCE[metric](y, prediction), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS["classification"])
@pytest.mark.parametrize("coarse", [False, True])
def test_many_class_metrics_agree_with_scikit_learn(metric, coarse):
    y, prediction = many(coarse=coarse)
    assert measured(metric, y, prediction).value == pytest.approx(MANY_REFERENCE[metric](y, prediction), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS["regression"])
def test_metrics_of_values_agree_with_scikit_learn(metric):
    y, prediction = values()
    assert measured(metric, y, prediction).value == pytest.approx(VALUE_REFERENCE[metric](y, prediction), abs=1e-12)


def test_certain_and_wrong_predictions_have_a_finite_log_loss():
    y = np.array([0.0, 1.0] * 20)
    expected = sk.log_loss(y, probabilities(1 - y), labels=[0, 1])
    assert measured("log_loss", y, probabilities(1 - y)).value == pytest.approx(expected, abs=1e-12)


@UNHURRIED
@given(
    hnp.arrays(float, 30, elements=st.sampled_from([0.0, 1.0])),
    hnp.arrays(float, 30, elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
)
def test_ranks_with_many_equal_scores_agree_with_scikit_learn(y, score):
    y[:2] = [0.0, 1.0]
    for metric in ("roc_auc", "average_precision"):
        found = measured(metric, y, probabilities(score), resamples=1).value
        assert found == pytest.approx(BINARY_REFERENCE[metric](y, probabilities(score)), abs=1e-12)


def test_every_metric_has_a_direction_and_belongs_to_one_kind_of_task():
    assert sorted(GREATER_IS_BETTER) == sorted(metric for kind in METRICS.values() for metric in kind)
    y, good = binary(strength=0.8)
    for metric in METRICS["classification"]:
        difference = measured(metric, y, good).value - measured(metric, y, binary(strength=0.2)[1]).value
        assert (difference > 0) == GREATER_IS_BETTER[metric]
    y, good = values(noise=0.5)
    for metric in METRICS["regression"]:
        difference = measured(metric, y, good).value - measured(metric, y, values(noise=3.0)[1]).value
        assert (difference > 0) == GREATER_IS_BETTER[metric]


# What cannot be measured


def test_rows_without_a_label_are_left_out():
    y, prediction = binary()
    unknown = y.copy()
    unknown[::3] = np.nan
    found, known = measured("roc_auc", unknown, prediction), np.isfinite(unknown)
    assert found == measured("roc_auc", y[known], prediction[known])
    assert found.rows == known.sum()


@pytest.mark.parametrize("metric", [*METRICS["classification"], *METRICS["regression"]])
def test_without_any_label_there_is_no_value_and_a_note(metric):
    prediction = binary()[1] if metric in METRICS["classification"] else values()[1]
    assert measured(metric, np.full(400, np.nan), prediction) == Estimate(
        metric=metric, note="no row has a known label"
    )


@pytest.mark.parametrize("metric", METRICS["classification"])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_has_no_ranking_and_is_no_crash(metric, label):
    found = measured(metric, np.full(400, label), binary()[1])
    if metric in {"roc_auc", "average_precision"}:
        assert (found.value, found.low, found.note) == (None, None, "only one class occurs in 400 rows")
    else:
        assert found.value is not None


def test_f1_without_the_class_in_question_is_not_defined():
    assert measured("f1", np.zeros(50), probabilities(np.zeros(50))).note == (
        "neither a label nor a prediction is the second class in 50 rows"
    )


def test_r2_of_a_constant_label_is_not_defined():
    assert measured("r2", np.full(50, 0.1), np.linspace(0, 1, 50)).note == "the label is the same in all of 50 rows"


def test_resamples_of_a_constant_label_have_no_r2():
    y = np.zeros(300)
    y[150] = 1.0
    found = measured("r2", y, y + 0.1)
    assert "resamples, which were left out" in found.note
    assert found.low > -1000


def test_many_classes_are_averaged_over_those_that_occur():
    y, prediction = many(classes=3)
    two = y < 2
    expected = np.mean([sk.roc_auc_score(y[two] == number, prediction[two, number]) for number in (0, 1)])
    assert measured("roc_auc", y[two], prediction[two]).value == pytest.approx(expected, abs=1e-12)


def test_a_constant_prediction_is_measured():
    assert measured("roc_auc", binary()[0], probabilities(np.full(400, 0.5))).value == 0.5
    assert measured("r2", values()[0], np.zeros(400)).value < 0


def test_few_rows_have_a_value_but_no_interval():
    y, prediction = binary(19)
    found = measured("accuracy", y, prediction)
    assert found.value is not None
    assert (found.low, found.high, found.note) == (None, None, "19 rows are too few for an interval, which needs 20")
    assert measured("accuracy", *binary(20)).low is not None
    assert measured("rmse", [1.0], [2.0]).value == 1.0


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_prediction_that_is_no_number_is_told_not_measured(wrong):
    y, prediction = binary()
    prediction[3:5, 1] = wrong
    found = measured("roc_auc", y, prediction)
    assert (found.value, found.note) == (None, "the prediction is not a finite number in 2 of 400 rows")


def test_a_prediction_too_large_to_square_is_told_not_measured():
    assert measured("rmse", np.zeros(50), np.full(50, 1e200)).note == "not a finite number in 50 rows"


def test_resamples_without_the_rare_class_are_left_out_and_counted():
    y = np.zeros(60)
    y[30] = 1.0
    found = measured("roc_auc", y, probabilities(np.linspace(0, 1, 60)))
    assert found.low is not None
    assert "resamples, which were left out" in found.note


def test_too_many_undefined_resamples_leave_no_interval():
    y = np.zeros(300)
    y[0] = 1.0  # a block reaches the first row only from its first position
    found = measured("roc_auc", y, probabilities(np.linspace(1, 0, 300)))
    assert found.value == 1.0
    assert (found.low, found.note.endswith("too many for an interval")) == (None, True)


def test_a_class_the_model_does_not_know_counts_as_wrong():
    y, prediction = np.array([0.0, 1.0, 2.0] * 20), probabilities(np.array([0.0, 1.0, 1.0] * 20))
    assert measured("accuracy", y, prediction).value == pytest.approx(2 / 3)
    assert measured("log_loss", y, prediction).value == pytest.approx(-math.log(np.finfo(float).eps) / 3)
    assert performance.row_errors(y, prediction, "classification")[:3].tolist() == [0.0, 0.0, 1.0]


def test_a_model_of_one_class_is_no_crash():
    for metric in METRICS["classification"]:
        assert measured(metric, np.zeros(50), np.ones((50, 1))).rows == 50


@pytest.mark.parametrize(
    ("metric", "shape"), [("roc_auc", (400,)), ("rmse", (400, 2)), ("roc_auc", (399, 2)), ("mae", (401,))]
)
def test_shapes_that_do_not_fit_are_refused_with_what_is_needed(metric, shape):
    with pytest.raises(UsageError, match=r"cannot be measured on labels of shape \(400,\).*it needs labels"):
        measured(metric, binary()[0], np.ones(shape))


labels = st.sampled_from([0.0, 1.0, 2.0, math.nan])


@UNHURRIED
@given(
    st.integers(0, 60).flatmap(lambda n: hnp.arrays(float, n, elements=labels)), st.integers(1, 4), st.integers(0, 99)
)
def test_no_labels_and_no_classes_make_a_comparison_crash(y, classes, seed):
    random = np.random.default_rng(seed)
    challenger = random.dirichlet(np.ones(classes), len(y))
    champion = random.dirichlet(np.ones(classes), len(y))
    for metric in METRICS["classification"]:
        found = compared(
            metric,
            y,
            challenger,
            champion,
            slices={"c": random.integers(0, 3, len(y))},
            all_metrics=METRICS["classification"],
        )
        assert found.rows == np.isfinite(y).sum()
        assert (found.difference.low is None) == (found.difference.high is None)


# Intervals


def test_the_same_seed_gives_the_same_comparison_and_another_seed_another():
    y, challenger = binary()
    champion = binary(seed=1, strength=0.1)[1]
    slices = {"origin": np.array(["JFK", "EWR"])[np.arange(400) % 2]}
    first = compared("roc_auc", y, challenger, champion, slices=slices)
    assert first == compared("roc_auc", y, challenger, champion, slices=slices)
    assert first.difference.low != compared("roc_auc", y, challenger, champion, seed=8).difference.low


def autocorrelated(random, rows, *, memory):
    """Return values of mean 0 and variance 1 whose neighbours are correlated by `memory`."""
    steps = random.normal(size=rows) * math.sqrt(1 - memory**2)
    steps[0] /= math.sqrt(1 - memory**2)
    out = np.empty(rows)
    out[0] = steps[0]
    for row in range(1, rows):
        out[row] = memory * out[row - 1] + steps[row]
    return out


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_the_interval_of_a_mean_error_covers_the_truth_as_often_as_it_says(memory):
    random = np.random.default_rng(1)
    truth = math.sqrt(2 / math.pi)
    covered = 0
    for seed in range(200):
        error = autocorrelated(random, 500, memory=memory)
        found = measured("mae", np.zeros(500), error, resamples=150, seed=seed)
        covered += found.low <= truth <= found.high
    assert 0.88 <= covered / 200 <= 1.0


def test_the_interval_of_the_difference_covers_the_true_difference_of_areas():
    random = np.random.default_rng(2)
    areas = [0.5 * (1 + math.erf(shift / 2)) for shift in (1.0, 0.8)]
    covered = 0
    for seed in range(200):
        y = (random.random(500) < 0.4).astype(float)
        shared = random.normal(size=500)
        new, old = (
            probabilities(1 / (1 + np.exp(-(shift * y + 0.6 * shared + 0.8 * random.normal(size=500)))))
            for shift in (1.0, 0.8)
        )
        difference = compared("roc_auc", y, new, old, resamples=150, seed=seed).difference
        covered += difference.low <= areas[0] - areas[1] <= difference.high
    assert 0.88 <= covered / 200 <= 1.0


def test_rows_that_resemble_their_neighbours_get_a_wider_interval():
    error = autocorrelated(np.random.default_rng(3), 3000, memory=0.9)
    ordered = measured("mae", np.zeros(3000), error, resamples=300)
    shuffled = measured("mae", np.zeros(3000), np.random.default_rng(4).permutation(error), resamples=300)
    assert ordered.high - ordered.low > 1.5 * (shuffled.high - shuffled.low)


def test_a_higher_confidence_gives_a_wider_interval():
    y, prediction = binary()
    narrow, wide = (measured("roc_auc", y, prediction, confidence=confidence) for confidence in (0.5, 0.95))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_every_resample_draws_as_many_rows_as_there_are():
    for rows in (1, 2, 7, 20, 1000):
        for weights in performance._performance.block_weights(rows, 20, seed=5):
            assert len(weights) == weights.sum() == rows


# Comparison


def test_an_identical_challenger_differs_by_exactly_nothing():
    y, prediction = binary()
    found = compared("roc_auc", y, prediction, prediction.copy())
    assert (found.difference.value, found.difference.low, found.difference.high) == (0.0, 0.0, 0.0)
    assert found.negative_flip_rate == 0.0
    assert found.challenger == found.champion


@pytest.mark.parametrize("metric", METRICS["classification"])
def test_a_difference_above_zero_is_better_whatever_the_metric(metric):
    y, good = binary(strength=0.7)
    found = compared(metric, y, good, binary(strength=0.2)[1])
    assert found.difference.low > 0
    assert found.difference.value == pytest.approx(abs(found.challenger.value - found.champion.value))
    assert found.challenger == measured(metric, y, good)


def test_a_champion_that_predicts_no_numbers_leaves_the_difference_open():
    y, prediction = binary()
    found = compared("roc_auc", y, prediction, np.full((400, 2), np.nan))
    assert found.challenger.value is not None
    assert found.difference == Estimate(
        metric="roc_auc", rows=400, note="the prediction is not a finite number in 400 of 400 rows"
    )


def test_pairing_makes_the_difference_surer_than_either_value():
    y, prediction = binary(2000)
    nearly = probabilities(np.clip(prediction[:, 1] + np.random.default_rng(5).normal(0, 0.01, 2000), 0, 1))
    found = compared("roc_auc", y, prediction, nearly)
    assert found.difference.high - found.difference.low < (found.challenger.high - found.challenger.low) / 3


def test_without_a_champion_only_the_challenger_is_measured():
    y, prediction = binary()
    found = compared("brier", y, prediction, None, slices={"origin": np.zeros(400)}, all_metrics=("brier", "f1"))
    assert (found.champion, found.difference, found.negative_flip_rate, found.slices) == (None, None, None, ())
    assert found.metrics == {"brier": (found.challenger.value, None), "f1": (measured("f1", y, prediction).value, None)}


def test_negative_flips_are_rows_only_the_champion_has_right():
    y = np.array([1.0, 1.0, 0.0, 0.0, math.nan])
    champion = probabilities(np.array([0.9, 0.9, 0.1, 0.9, 0.9]))
    challenger = probabilities(np.array([0.1, 0.9, 0.9, 0.1, 0.1]))
    assert compared("accuracy", y, challenger, champion).negative_flip_rate == 0.5


def test_values_have_no_negative_flips():
    y, prediction = values()
    assert compared("rmse", y, prediction, y + 1, all_metrics=METRICS["regression"]).negative_flip_rate is None


def test_each_slice_is_compared_on_its_own_labelled_rows():
    y, challenger = binary(900)
    champion = binary(900, seed=0, strength=0.1)[1]
    y[:30] = np.nan
    origin = np.array(["JFK", "EWR", "EWR"] * 300, dtype=object)
    found = compared("roc_auc", y, challenger, champion, slices={"origin": origin})
    assert [(part.column, part.value, part.rows) for part in found.slices] == [
        ("origin", "EWR", 580),
        ("origin", "JFK", 290),
    ]
    jfk = origin == "JFK"
    assert found.slices[1].difference == compared("roc_auc", y[jfk], challenger[jfk], champion[jfk]).difference


@pytest.mark.parametrize(
    "column",
    [
        np.array(["a", None, math.nan, "b"] * 25, dtype=object),
        pd.Series(["a", None, None, "b"] * 25, dtype="category").to_numpy(),
        pd.Series(["a", pd.NA, pd.NA, "b"] * 25, dtype="string").to_numpy(),
    ],
)
def test_missing_values_are_a_slice_of_their_own(column):
    y, prediction = binary(100)
    found = compared("accuracy", y, prediction, prediction, slices={"c": column})
    assert [(part.value, part.rows) for part in found.slices] == [("(missing)", 50), ("a", 25), ("b", 25)]


@pytest.mark.parametrize("column", [np.array([1, 2] * 50), np.array([1.5, 2.5] * 50), np.array([True, False] * 50)])
def test_slices_may_be_numbers_and_booleans(column):
    y, prediction = binary(100)
    found = compared("accuracy", y, prediction, prediction, slices={"c": column})
    assert {part.value for part in found.slices} == set(map(str, column.tolist()))


def test_only_the_most_frequent_values_of_a_column_are_slices():
    y, prediction = binary(400)
    names = np.array([f"v{min(row, 100)}" for row in range(400)])
    found = compared("accuracy", y, prediction, prediction, slices={"c": names})
    assert len(found.slices) == 50
    assert (found.slices[0].value, found.slices[0].rows) == ("v100", 300)


# Rankings


def sessions(groups=60, size=15, *, seed=0, noise=1.0, decimals=None):
    """Return relevances, scores and interleaved groups, a few of them without a relevant row."""
    random = np.random.default_rng(seed)
    group = random.permutation(np.repeat(np.arange(groups), size))
    y = random.choice([0.0, 0.0, 0.0, 1.0, 2.0], groups * size)
    y[group < 3] = 0
    score = y + random.normal(scale=noise, size=groups * size)
    return y, score if decimals is None else score.round(decimals), group


def by_hand(measure, y, score, group):
    chosen = [group == each for each in np.unique(group) if (y[group == each] > 0).any()]
    return np.mean([measure(y[at], score[at]) for at in chosen])


def recall_by_hand(y, score):
    return (y[np.argsort(-score)[:10]] > 0).sum() / (y > 0).sum()


@pytest.mark.parametrize("size", [1, 5, 15])
@pytest.mark.parametrize("decimals", [None, 0])
def test_ndcg_agrees_with_scikit_learn_in_each_group(size, decimals):
    y, score, group = sessions(size=size, decimals=decimals)
    found = measured("ndcg_at_10", y, score, groups=group)

    def expected(y, score):
        return 1.0 if len(y) == 1 else sk.ndcg_score([2**y - 1], [score], k=10)

    assert found.value == pytest.approx(by_hand(expected, y, score, group), abs=1e-12)
    assert found.rows == len(y)


def test_recall_is_the_share_of_the_relevant_rows_among_the_first_ten():
    y, score, group = sessions()
    found = measured("recall_at_10", y, score, groups=group).value
    assert found == pytest.approx(by_hand(recall_by_hand, y, score, group), abs=1e-12)


def test_rows_with_the_same_score_gain_nothing_from_the_order_they_are_stored_in():
    y = np.tile([1.0] + [0.0] * 19, 40)
    group = np.repeat(np.arange(40), 20)
    assert measured("recall_at_10", y, np.zeros(800), groups=group).value == pytest.approx(0.5)
    for metric in METRICS["ranking"]:
        forwards = measured(metric, y, np.zeros(800), groups=group)
        assert forwards.value == pytest.approx(measured(metric, y[::-1], np.zeros(800), groups=group).value)


@pytest.mark.parametrize("metric", METRICS["ranking"])
def test_groups_without_a_relevant_row_and_rows_without_a_group_or_label_are_left_out(metric):
    y, score, group = sessions()
    found = measured(metric, y, score, groups=group)
    irrelevant, known = group < 3, np.arange(900) >= 100
    assert found.value == measured(metric, y[~irrelevant], score[~irrelevant], groups=group[~irrelevant]).value
    named = pd.Series(group).map("session {}".format).where(known, None).to_numpy()
    unknown = np.where(known, y, np.nan)
    expected = measured(metric, y[known], score[known], groups=group[known])
    assert measured(metric, y, score, groups=named) == expected
    assert measured(metric, unknown, score, groups=group) == expected
    assert measured(metric, np.zeros(900), score, groups=group).note == "no group of 900 rows has a relevant one"


def test_the_interval_of_a_ranking_knows_that_the_rows_of_a_group_are_one():
    y, score, group = sessions(groups=50, noise=2.0)
    doubled = np.concatenate([group, group])
    once = measured("ndcg_at_10", y, score, groups=group, resamples=400)
    twice = measured("ndcg_at_10", np.tile(y, 2), np.tile(score, 2), groups=doubled, resamples=400)
    assert once.low < once.value < once.high
    assert twice.high - twice.low > 0.7 * (once.high - once.low)
    few = measured("ndcg_at_10", *(part[group < 20] for part in (y, score)), groups=group[group < 20])
    assert (few.low, few.note) == (
        None,
        "17 groups with a relevant row are too few for an interval, which needs 20",
    )


def test_the_interval_of_a_ranking_covers_the_truth_as_often_as_it_says():
    truth = measured("recall_at_10", *(drawn := sessions(groups=4000, seed=99, noise=2))[:2], groups=drawn[2]).value
    covered = 0
    for seed in range(100):
        y, score, group = sessions(groups=60, seed=seed, noise=2)
        found = measured("recall_at_10", y, score, groups=group, seed=seed)
        covered += found.low <= truth <= found.high
    assert 86 <= covered <= 100


def test_two_rankings_are_compared_group_by_group_and_in_slices():
    y, good, group = sessions(noise=0.5)
    bad = sessions(noise=3.0)[1]
    found = compared(
        "ndcg_at_10", y, good, bad, groups=group, slices={"half": group % 2}, all_metrics=METRICS["ranking"]
    )
    assert found.difference.low > 0
    assert found.rows == 900
    assert found.negative_flip_rate is None
    assert found.metrics["recall_at_10"][1] == measured("recall_at_10", y, bad, groups=group).value
    even = group % 2 == 0
    half = next(part for part in found.slices if part.value == "0")
    assert half.difference.value == pytest.approx(
        compared("ndcg_at_10", y[even], good[even], bad[even], groups=group[even]).difference.value
    )


@pytest.mark.parametrize(("groups", "seen"), [(None, "without groups"), (np.zeros(3), r"with groups of shape \(3,\)")])
def test_a_ranking_without_a_group_for_each_row_is_refused(groups, seen):
    with pytest.raises(UsageError, match=f"ndcg_at_10 cannot be measured {seen}; it needs the group of each of 900"):
        measured("ndcg_at_10", *sessions()[:2], groups=groups)


def test_groups_make_no_difference_to_a_metric_of_rows():
    y, prediction = binary()
    assert measured("roc_auc", y, prediction, groups=np.zeros(400)) == measured("roc_auc", y, prediction)


# Errors of rows


def test_in_a_ranking_the_last_row_of_each_group_has_its_error():
    y = np.array([0.0, 1.0, 0.0, 0.0, 1.0, math.nan])
    score = np.array([0.1, 0.9, 0.2, 0.9, 0.1, 5.0])
    group = np.array(["a", "a", "empty", "b", "b", "b"])
    errors = performance.row_errors(y, score, "ranking", groups=group)
    assert errors == pytest.approx([np.nan, 0.0, np.nan, np.nan, 1 - 1 / np.log2(3), np.nan], nan_ok=True)
    assert performance.row_errors(np.array([]), np.array([]), "ranking", groups=np.array([])).shape == (0,)


def test_the_error_of_a_row_is_what_is_missing_to_certainty_or_the_residual():
    y = np.array([0.0, 1.0, math.nan])
    assert performance.row_errors(y, probabilities(np.array([0.2, 0.9, 0.5])), "classification") == pytest.approx(
        [0.2, 0.1, math.nan], nan_ok=True
    )
    assert performance.row_errors(y, np.array([0.5, 3.0, 1.0]), "regression") == pytest.approx(
        [0.5, 2.0, math.nan], nan_ok=True
    )


def test_errors_of_no_rows_are_no_rows():
    assert performance.row_errors(np.array([]), np.empty((0, 2)), "classification").shape == (0,)
