"""The Jensen-Shannon distance against SciPy's."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from continuous_training.core.task import Features
from continuous_training.detectors import PSI, JensenShannon


def score(detector, reference, current, kind="categorical"):
    features = Features(**{kind: ("x",)})
    prepared = detector.fit(pd.DataFrame({"x": reference}), features)
    [found] = detector.score(prepared, pd.DataFrame({"x": current}), features)
    return found


counts = st.lists(st.tuples(st.integers(1, 200), st.integers(0, 200)), min_size=1, max_size=9)


@settings(deadline=None)
@given(counts.filter(lambda pairs: any(current for _, current in pairs)))
def test_the_distance_is_scipys(pairs):
    table = np.array(pairs).T
    letters = np.array([chr(97 + i) for i in range(len(pairs))])
    found = score(JensenShannon(min_rows=1), np.repeat(letters, table[0]), np.repeat(letters, table[1]))
    expected = np.nan_to_num(jensenshannon(*(row / row.sum() for row in table), base=2))
    assert found.statistic == pytest.approx(expected, abs=1e-7)
    assert 0 <= found.statistic <= 1


def test_nothing_in_common_is_one():
    assert score(JensenShannon(), ["a"] * 200, ["b"] * 200).statistic == 1.0


def test_its_square_is_a_fixed_share_of_psi_for_small_changes():
    rng = np.random.default_rng(0)
    reference, current = rng.normal(size=50_000), rng.normal(0.1, size=50_000)
    psi = score(PSI(), reference, current, kind="numeric").statistic
    assert score(JensenShannon(), reference, current, kind="numeric").statistic ** 2 == pytest.approx(
        psi / 5.545, rel=0.02
    )
