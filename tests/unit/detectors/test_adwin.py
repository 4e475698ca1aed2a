"""ADWIN, against river's and against itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from continuous_training.detectors import ADWIN
from continuous_training.detectors._adwin import Settings, Window, _cuts, advance, alarms
from river_alarms import numbers, river_alarms, scored

SEEDS = st.integers(0, 10**6)


@settings(deadline=None, max_examples=40)
@given(
    SEEDS,
    st.fixed_dictionaries(
        {
            "delta": st.sampled_from([0.002, 0.1, 0.5]),
            "clock": st.sampled_from([1, 7, 32]),
            "max_buckets": st.sampled_from([2, 3, 5, 9]),
            "min_window_length": st.sampled_from([1, 5, 20]),
            "grace_period": st.sampled_from([0, 10, 100]),
        }
    ),
)
def test_alarms_are_those_of_river(seed, parameters):
    values = numbers(seed, most=1500)
    assert alarms(values, **parameters).tolist() == river_alarms(drift.ADWIN(**parameters), values)


def test_a_long_stream_with_many_changes_gives_the_alarms_of_river():
    values = np.concatenate([numbers(seed, most=8000, step=0.3) for seed in range(6)])
    expected = river_alarms(drift.ADWIN(), values)
    assert len(expected) > 20
    assert alarms(values).tolist() == expected


@pytest.mark.parametrize("most", [2, 3, 5])
def test_cuts_are_the_ends_of_buckets_that_are_merged_one_by_one(most):
    levels: list[list[int]] = [[]]
    for count in range(1, 400):
        levels[0].append(1)
        for level in range(20):
            if len(levels[level]) <= most:
                break
            levels += [[]] if level + 1 == len(levels) else []
            levels[level + 1].append(levels[level].pop(0) + levels[level].pop(0))
        sizes = [size for level in reversed(levels) for size in level]
        found = np.concatenate([cut[is_end] for cut, is_end in _cuts(np.array([count]), most)])
        assert found.tolist() == np.cumsum(sizes).tolist()


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.lists(st.integers(1, 400), max_size=6))
def test_it_does_not_matter_where_a_stream_is_cut_into_blocks(seed, ends):
    values = numbers(seed, most=1500)
    whole = advance(Window(), values, Settings())
    window, ratios = Window(), []
    for block in np.split(values, sorted(end for end in ends if end < values.size)):
        if block.size:
            _, found, window = advance(window, block, Settings())
            ratios.append(found)
    assert np.concatenate(ratios) == pytest.approx(whole[1])
    assert window.ends.tolist() == whole[2].ends.tolist()
    assert window.totals == pytest.approx(whole[2].totals)


@settings(deadline=None, max_examples=15)
@given(SEEDS)
def test_a_window_is_exceeded_where_river_finds_a_change_after_the_reference(seed):
    rng = np.random.default_rng(seed)
    reference, current = rng.gamma(2.0, size=1500), rng.gamma(2.0, size=600) + rng.choice([0.0, 0.25, 0.5])
    everything = (np.r_[reference, current] - reference.mean()) / reference.std()
    found = river_alarms(drift.ADWIN(), everything)
    if not found or found[0] >= 1500:
        assert scored(ADWIN(direction="both"), reference, current).exceeded == bool(found)


def test_a_fall_is_an_alarm_only_where_both_directions_count():
    rng = np.random.default_rng(3)
    reference, current = rng.normal(size=3000), rng.normal(-0.5, size=1000)
    one_way, both = (scored(ADWIN(direction=d), reference, current) for d in ("increase", "both"))
    assert (one_way.exceeded, both.exceeded) == (False, True)
    assert one_way.effect == both.effect == pytest.approx(-0.5, abs=0.1)


def test_the_unit_of_the_signal_does_not_matter():
    rng = np.random.default_rng(4)
    reference, current = rng.normal(size=2000), rng.normal(0.3, size=700)
    plain, scaled = (scored(ADWIN(), f * reference + f, f * current + f) for f in (1, 1000))
    assert plain.statistic == pytest.approx(scaled.statistic)


def test_a_change_shortly_before_the_end_of_the_reference_is_inconclusive():
    rng = np.random.default_rng(5)
    reference = np.r_[rng.normal(size=2000), rng.normal(6, size=50)]
    found = scored(ADWIN(), reference, rng.normal(6, size=700))
    assert found.exceeded is None
    assert "since it last found a change there; at least 100 are needed" in found.note


def test_a_window_too_short_for_a_check_is_inconclusive():
    found = scored(ADWIN(min_rows=1), np.arange(64.0) % 7, np.arange(5.0))
    assert (found.exceeded, "checks every 32 rows" in found.note) == (None, True)


def test_a_window_whose_squares_overflow_is_inconclusive():
    found = scored(ADWIN(), np.arange(500.0) % 7, np.where(np.arange(500) % 2, 1e200, 0.0))
    assert (found.exceeded, found.note) == (None, "error has numbers that are too large to add up")
