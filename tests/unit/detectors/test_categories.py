"""New categories, and more or fewer of them."""

import numpy as np
import pandas as pd
import pytest

from continuous_training.core.task import Features
from continuous_training.detectors import Cardinality, NewCategories

X = Features(categorical=("x",))


def score(detector, reference, current):
    prepared = detector.fit(pd.DataFrame({"x": reference}), X)
    [found] = detector.score(prepared, pd.DataFrame({"x": current}), X)
    return found


def long_tail(seed, count):
    return np.random.default_rng(seed).zipf(1.5, count).astype(str)


def test_the_share_of_rows_with_new_categories_is_measured():
    found = score(NewCategories(), ["a", "b"] * 100, ["a"] * 150 + ["c", "d"] * 25)
    assert (found.statistic, found.effect, found.exceeded) == (0.25, 0.25, True)


def test_a_long_tail_always_has_new_categories_and_that_is_no_news():
    found = score(NewCategories(), long_tail(0, 5000), long_tail(1, 5000))
    assert found.exceeded is False
    assert found.statistic < 0.02
    assert score(NewCategories(), np.arange(1000), np.arange(1000, 2000)).statistic == 0.0


def test_a_vanished_category_is_not_new():
    assert score(NewCategories(), ["a", "b"] * 100, ["a"] * 200).statistic == 0.0


@pytest.mark.parametrize("rows", [300, 3000, 30_000])
def test_the_number_of_rows_alone_changes_no_cardinality(rows):
    assert score(Cardinality(), long_tail(0, 3000), long_tail(1, rows)).exceeded is False
    assert score(Cardinality(), np.arange(3000), np.arange(10_000, 10_000 + rows)).exceeded is False


@pytest.mark.parametrize(("now", "doublings"), [(40, 1.0), (80, 2.0), (10, -1.0), (5, -2.0), (20, 0.0)])
def test_twice_as_many_categories_are_one_doubling(now, doublings):
    found = score(Cardinality(), np.arange(4000) % 20, np.arange(4000) % now)
    assert found.effect == pytest.approx(doublings, abs=1e-6)
    assert found.statistic == pytest.approx(abs(doublings), abs=1e-6)


def test_an_identifier_in_place_of_categories_is_seen():
    assert score(Cardinality(), np.arange(1000) % 12, np.arange(1000)).exceeded is True
    assert score(NewCategories(), np.arange(1000) % 12, np.arange(1000)).exceeded is True
