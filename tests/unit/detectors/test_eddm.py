"""EDDM, against river's and against itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import binary

from continuous_training.detectors import EDDM
from continuous_training.detectors import _eddm as maths
from river_alarms import river_alarms, scored, wrongs

PARAMETERS = st.fixed_dictionaries(
    {"warm_start": st.sampled_from([2, 5, 30, 100]), "beta": st.sampled_from([0.5, 0.8, 0.9, 0.95])}
)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), PARAMETERS)
def test_alarms_are_those_of_river(seed, parameters):
    values = wrongs(seed)
    assert maths.alarms(values, **parameters).tolist() == river_alarms(binary.EDDM(**parameters), values)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0.0, 1.0]), max_size=60), PARAMETERS)
def test_short_streams_full_of_ties_give_the_alarms_of_river(values, parameters):
    parameters["warm_start"] = min(parameters["warm_start"], 5)
    assert maths.alarms(np.array(values), **parameters).tolist() == river_alarms(binary.EDDM(**parameters), values)


def test_rows_where_rounding_decides_are_gone_over_one_by_one(monkeypatch):
    values = np.concatenate([wrongs(seed) for seed in range(8)])
    expected = river_alarms(binary.EDDM(), values)
    assert len(expected) > 10
    assert maths.alarms(values).tolist() == expected
    monkeypatch.setattr(maths, "_ROUNDING", 10.0)
    assert maths.alarms(values).tolist() == expected


def test_a_window_is_exceeded_where_river_finds_a_change_after_the_reference():
    outcomes = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        reference, current = rng.random(2000) < 0.2, rng.random(900) < 0.2 + 0.2 * (seed % 3)
        found = river_alarms(binary.EDDM(alpha=0.85, beta=0.8), np.r_[reference, current].astype(float))
        if not found or found[0] >= 2000:
            score = scored(EDDM(), 0.3 + 0.4 * reference, 0.3 + 0.4 * current)
            assert score.exceeded == bool(found)
            outcomes.add(score.exceeded)
    assert outcomes == {True, False}


def test_wrong_rows_that_come_less_often_are_no_alarm():
    found = scored(EDDM(), np.tile([0.0, 0.0, 1.0], 500), np.tile([0.0] * 9 + [1.0], 100))
    assert (found.exceeded, found.effect < 0) == (False, True)


def test_too_few_wrong_rows_are_inconclusive_and_say_so():
    found = scored(EDDM(), np.r_[np.zeros(990), np.ones(10)], np.zeros(500))
    assert found.exceeded is None
    assert found.note == "10 rows were wrong since eddm last found a change; more than 30 are needed"


@pytest.mark.parametrize(("value", "note"), [(0.1, "no row of the reference"), (0.9, "every row of the reference")])
def test_a_reference_without_a_unit_is_inconclusive_and_says_why(value, note):
    found = scored(EDDM(), np.linspace(value, value + 0.1, 500), [0.1, 0.9] * 200)
    assert found.exceeded is None
    assert note in found.note
