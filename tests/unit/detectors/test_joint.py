"""Tests of all columns together: MMD and classifier."""

import numpy as np
import pandas as pd
import pytest

from continuous_training.core.task import Features
from continuous_training.detectors import MMD, Classifier, _joint

FEATURES = Features(numeric=("a", "b", "z"), categorical=("k",))
KINDS = [MMD, Classifier]


def frame(rng, rows, turned=False):
    a = rng.normal(size=rows)
    z = np.where(rng.random(rows) < 0.7, 0, rng.gamma(1, size=rows))
    return pd.DataFrame(
        {
            "a": a,
            "b": (-a if turned else a) + rng.normal(scale=0.5, size=rows),
            "z": z,
            "k": rng.choice(list("abcd"), rows),
        }
    )


def score(detector, reference, current, features=FEATURES):
    [found] = detector.score(detector.fit(reference, features), current, features)
    return found


@pytest.mark.parametrize("detector", [MMD(), Classifier(trees=20)])
def test_columns_that_move_against_each_other_are_seen_though_each_alone_stays(detector):
    rng = np.random.default_rng(0)
    found = score(detector, frame(rng, 2000), frame(rng, 1000, turned=True))
    assert found.exceeded is True
    assert found.effect > 0.1


@pytest.mark.parametrize("detector", [MMD(), Classifier(trees=20)])
def test_a_category_that_goes_with_a_number_is_seen(detector):
    rng = np.random.default_rng(1)
    reference, current = frame(rng, 2000), frame(rng, 2000)
    tied = current.assign(k=np.where(current["a"] > 0, "a", "b"))
    loose = current.assign(k=rng.choice(["a", "b"], 2000))
    both = reference.assign(k=rng.choice(["a", "b"], 2000))
    assert score(detector, both, tied).exceeded is True
    assert score(detector, both, loose).exceeded is False


# 120 windows: a true rate of 0.1 leaves these bounds less than once in a thousand; the classifier is cautious
@pytest.mark.parametrize(("kind", "options", "most"), [(MMD, {"frequencies": 50}, 23), (Classifier, {"trees": 5}, 23)])
def test_false_alarms_are_about_as_frequent_as_asked_for(kind, options, most):
    rng = np.random.default_rng(2)
    detector = kind(p_value=0.1, **options)
    alarms = [score(detector, frame(rng, 400), frame(rng, 200)).exceeded for _ in range(120)]
    assert 3 <= sum(alarms) <= most


def test_the_p_values_of_mmd_are_those_of_permutations():
    rng = np.random.default_rng(4)
    for shift in (0.0, 0.15):
        sides = rng.normal(size=300), rng.normal(shift, size=200)
        features = Features(numeric=("x",))
        found = score(MMD(), pd.DataFrame({"x": sides[0]}), pd.DataFrame({"x": sides[1]}), features)
        assert found.p_value == pytest.approx(_permuted(*sides, rng), abs=0.06)


def _permuted(reference, current, rng):
    """Return the p-value of the exact kernel by shuffling the sides."""
    both = np.concatenate([reference, current])
    spread = np.subtract(*np.quantile(reference, [0.75, 0.25])) / 1.349
    width = np.median(np.abs(np.subtract.outer(reference, reference))[np.triu_indices(300, 1)]) / spread
    kernel = np.exp(-((np.subtract.outer(both, both) / spread / width) ** 2) / 2)
    weights = np.r_[np.full(reference.size, 1 / reference.size), np.full(current.size, -1 / current.size)]
    shuffled = np.array([weights, *(rng.permutation(weights) for _ in range(1000))])
    squares = np.einsum("ij,jk,ik->i", shuffled, kernel, shuffled, optimize=True)
    return (squares[1:] >= squares[0]).mean()


def test_the_effect_of_mmd_does_not_grow_with_rows():
    rng = np.random.default_rng(5)
    few, many = (score(MMD(), frame(rng, n), frame(rng, n, turned=True)).effect for n in (1000, 20_000))
    assert few == pytest.approx(many, rel=0.15)


def test_mmd_goes_over_many_rows_in_blocks():
    rng = np.random.default_rng(6)
    found = score(MMD(frequencies=20), frame(rng, 100_000), frame(rng, 50_000))
    assert (found.reference_rows, found.current_rows, found.exceeded) == (100_000, 50_000, False)


@pytest.mark.parametrize("detector", [MMD(), Classifier(trees=20)])
def test_a_column_of_identifiers_is_no_obstacle(detector):
    rng = np.random.default_rng(7)
    features = Features(numeric=("a",), categorical=("id",))
    frames = [frame(rng, n).assign(id=rng.integers(0, 10**9, n).astype(str)) for n in (3000, 2000)]
    assert score(detector, *frames, features).exceeded is not None


def test_far_values_and_missing_ones_do_not_hide_the_rest():
    rng = np.random.default_rng(8)
    reference, current = frame(rng, 2000), frame(rng, 2000, turned=True)
    for each in (reference, current):
        each.loc[::50, "a"] = 1e300
        each.loc[::7, "b"] = np.nan
    assert score(MMD(), reference, current).exceeded is True


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_who_lacks_a_value_is_left_to_what_the_kind_says_of_missing_values(kind):
    rng = np.random.default_rng(9)
    reference, current = frame(rng, 2000), frame(rng, 2000)
    current.loc[::2, "a"] = np.nan
    assert score(kind(), reference, current).exceeded is True


def test_a_small_effect_does_not_count_where_a_larger_one_is_asked_for():
    rng = np.random.default_rng(10)
    reference, current = frame(rng, 20_000), frame(rng, 20_000)
    current["a"] += 0.1
    assert score(MMD(), reference, current).exceeded is True
    assert score(MMD(minimum_effect=0.1), reference, current).exceeded is False


def test_rows_are_read_with_places_for_unknown_and_missing_categories():
    features = Features(numeric=("x",), categorical=("k",))
    detector = MMD()
    prepared, _ = _joint.fit(detector, pd.DataFrame({"x": [1.0, 2.0], "k": ["b", "a"]}), features)
    table = _joint.read(detector, prepared, pd.DataFrame({"x": [3.0, None, None, np.inf], "k": ["a", "z", None, None]}))
    assert table.codes.tolist() == [[0], [2]]
    assert table.numbers[0] == [3.0]
    assert np.isnan(table.numbers[1])
    assert [len(table.sample(1).numbers), len(table.sample(9).numbers)] == [1, 2]
