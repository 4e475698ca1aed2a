"""The tail of the Kolmogorov distribution against SciPy's."""

import math

import pytest
from scipy import stats

from continuous_training.detectors._kolmogorov import tail

# n * gap**2; SciPy changes its formula at 2.2, and its own numbers jump there by 4e-8
SQUARES = [1e-6, 0.01, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 2.19, 2.21, 2.5, 3.0, 4.0, 6.0, 10.0, 15.0]


@pytest.mark.parametrize("n", [1, 9, 141, 1000, 4999, 5000, 7321, 20_000])
@pytest.mark.parametrize("square", SQUARES)
def test_it_is_scipys(n, square):
    gap = math.sqrt(square / n)
    assert tail(min(gap, 1.0), n) == pytest.approx(stats.kstwo.sf(min(gap, 1.0), n), abs=1e-9)


@pytest.mark.parametrize("n", [100_001, 500_000, 5_000_000])
@pytest.mark.parametrize("square", [value for value in SQUARES if value < 2.2])
def test_it_is_scipys_for_millions_of_rows(n, square):
    gap = math.sqrt(square / n)
    assert tail(gap, n) == pytest.approx(stats.kstwo.sf(gap, n), abs=1e-9)


@pytest.mark.parametrize("n", [1, 5000, 1e9])
def test_it_is_one_without_a_gap_and_never_negative(n):
    assert tail(0.0, n) == 1.0
    assert 0.0 <= tail(1.0, n) < 1e-9 or n == 1


@pytest.mark.parametrize("n", [5000, 50_000])
@pytest.mark.parametrize("square", [2.2, 16.0])
def test_it_does_not_jump_from_one_formula_to_the_next(n, square):
    before, after = (tail(math.sqrt(near / n), n) for near in (square - 1e-9, square + 1e-9))
    assert before == pytest.approx(after, rel=0.03, abs=1e-7)
