"""What p-values are compared with."""

import numpy as np
import pandas as pd
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from continuous_training.core.task import Features
from continuous_training.detectors import KS
from continuous_training.detectors.base import benjamini_hochberg

p_values = st.lists(
    st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 1.0]), min_size=1, max_size=30
)


@settings(max_examples=300)
@given(p_values, st.sampled_from([0.01, 0.05, 0.2, 0.7]))
@example([0.05], 0.05)
@example([0.025, 0.05], 0.05)
def test_what_lies_below_the_critical_value_is_what_benjamini_and_hochberg_reject(values, share):
    # SciPy multiplies in the same order, so that both round alike
    rejected = false_discovery_control(values) <= share
    critical = benjamini_hochberg(values, share)
    assert [value < critical for value in values] == rejected.tolist()


@given(p_values, st.sampled_from([0.01, 0.05, 0.2]))
def test_whatever_bonferroni_rejects_is_rejected(values, share):
    critical = benjamini_hochberg(values, share)
    assert all(value < critical for value in values if value < share / len(values))


def frame(seed, rows, shift=0.0):
    data = pd.DataFrame(np.random.default_rng(seed).normal(size=(rows, 12)), columns=FEATURES.numeric)
    data[data.columns[:8]] += shift
    return data


FEATURES = Features(numeric=tuple(f"x{i}" for i in range(12)))


def test_scores_carry_the_critical_value_of_the_window():
    detector = KS(correction="benjamini_hochberg", p_value=0.05)
    prepared = detector.fit(frame(0, 1600), FEATURES)
    found = []
    for shift in (0.06, 0.08, 0.1):
        scores = detector.score(prepared, frame(1, 1600, shift).assign(x11=None), FEATURES)
        assert len({score.threshold for score in scores}) == 1
        p_values = [score.p_value for score in scores if score.p_value is not None]
        rejected = (false_discovery_control(p_values) <= 0.05).tolist()
        assert [score.exceeded for score in scores] == [*rejected, None]
        found.append((sum(rejected), sum(p_value < 0.05 / 12 for p_value in p_values)))
    assert all(more >= fewer for more, fewer in found)
    assert any(more > fewer for more, fewer in found)


def test_a_significant_change_below_the_minimum_effect_does_not_count():
    reference, current = frame(0, 30_000), frame(1, 30_000, shift=0.18)
    for least, expected in ((0.0, True), (0.05, True), (0.1, False)):
        detector = KS(columns=("x2",), minimum_effect=least)
        [score] = detector.score(detector.fit(reference, FEATURES), current, FEATURES)
        assert score.minimum_effect == least
        assert score.exceeded is expected
