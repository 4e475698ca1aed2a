"""DDM, against river's and against itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import binary

from continuous_training.detectors import DDM
from continuous_training.detectors import _ddm as maths
from river_alarms import river_alarms, scored, wrongs

PARAMETERS = st.fixed_dictionaries(
    {"warm_start": st.sampled_from([1, 5, 30, 100]), "drift_threshold": st.sampled_from([1.0, 2.0, 3.0])}
)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), PARAMETERS)
def test_alarms_are_those_of_river(seed, parameters):
    values = wrongs(seed)
    assert maths.alarms(values, **parameters).tolist() == river_alarms(binary.DDM(**parameters), values)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0.0, 1.0]), max_size=60), PARAMETERS)
def test_short_streams_full_of_ties_give_the_alarms_of_river(values, parameters):
    parameters["warm_start"] = min(parameters["warm_start"], 5)
    assert maths.alarms(np.array(values), **parameters).tolist() == river_alarms(binary.DDM(**parameters), values)


def test_rows_where_rounding_decides_are_gone_over_one_by_one(monkeypatch):
    values = np.concatenate([wrongs(seed) for seed in range(8)])
    expected = river_alarms(binary.DDM(), values)
    assert len(expected) > 10
    assert maths.alarms(values).tolist() == expected
    monkeypatch.setattr(maths, "_ROUNDING", 10.0)
    assert maths.alarms(values).tolist() == expected


def test_a_window_is_exceeded_where_river_finds_a_change_after_the_reference():
    outcomes = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        reference, current = rng.random(2000) < 0.2, rng.random(500) < 0.2 + 0.1 * (seed % 3)
        found = river_alarms(binary.DDM(), np.r_[reference, current].astype(float))
        if not found or found[0] >= 2000:
            score = scored(DDM(), 0.3 + 0.4 * reference, 0.3 + 0.4 * current)
            assert score.exceeded == bool(found)
            outcomes.add(score.exceeded)
    assert outcomes == {True, False}


def test_the_effect_is_the_change_of_the_rate_in_standard_deviations():
    found = scored(DDM(), np.tile([0.0, 0.0, 0.0, 1.0], 500), np.tile([0.0, 1.0], 200))
    assert found.effect == pytest.approx(0.25 / np.sqrt(0.25 * 0.75))


def test_wrong_from_says_which_rows_are_wrong():
    reference, current = np.tile([1.0, 2.0, 3.0, 8.0], 500), np.tile([1.0, 6.0, 3.0, 8.0], 100)
    assert scored(DDM(wrong_from=5), reference, current).exceeded is True
    assert scored(DDM(wrong_from=7), reference, current).exceeded is False


@pytest.mark.parametrize(
    ("reference", "note"),
    [
        ([0.1, 0.4] * 500, "no row of the reference is wrong"),
        ([0.5, 0.9] * 500, "every row of the reference is wrong"),
        (
            [0.1] * 200 + [0.9] * 100,
            "ddm has 99 rows of the reference since it last found a change there; at least 100",
        ),
        (
            [0.1] * 200 + [0.9] + [0.1] * 150,
            "all 150 rows of the reference since ddm last found a change there are right",
        ),
        ([0.1] * 200 + [0.9] * 151, "all 150 rows of the reference since ddm last found a change there are wrong"),
    ],
)
def test_a_reference_without_a_unit_is_inconclusive_and_says_why(reference, note):
    found = scored(DDM(), reference, [0.1, 0.9] * 200)
    assert found.exceeded is None
    assert note in found.note
