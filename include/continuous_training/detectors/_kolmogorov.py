"""Tail of the two-sided Kolmogorov distribution."""

import math

from scipy import stats

_SERIES_ROWS = 5000  # from here on the series differ from SciPy's numbers by less than 1e-9
_ONE_SIDED = 2.2  # n * gap**2 from which both sides cannot be exceeded together
_FAR = 16.0  # n * gap**2 from which the p-value is below 3e-14


def tail(gap: float, n: float) -> float:
    """Return the probability that the largest gap to the distribution of `n` rows is `gap` or more.

    These are the numbers of `scipy.stats.kstwo.sf`, which takes up to 100 ms for the large `n` of two windows.
    Source: Pelz and Good (1976) where the probability is large, Lauwerier (1963) and then Maag and Dicaire (1971)
    where it is small.

    Examples
    --------
    >>> round(tail(0.01, 20_000), 6)
    0.036386
    """
    square = n * gap * gap
    if n < _SERIES_ROWS and square <= _FAR:
        return min(1.0, max(0.0, float(stats.kstwo.sf(gap, n))))
    if square < _ONE_SIDED:
        return min(1.0, max(0.0, 1 - _pelz_good(math.sqrt(square), n))) if gap > 0 else 1.0
    if square <= _FAR:
        return min(1.0, 2 * _lauwerier(square, n))
    return min(1.0, 2 * math.exp(-((6 * n * gap + 1) ** 2) / (18 * n)))


def _lauwerier(square: float, n: float) -> float:
    """Return the probability of a gap in one direction; `square` is n * gap**2."""
    z, root = math.sqrt(square), math.sqrt(n)
    correction = (
        1
        - 2 * z / (3 * root)
        + 2 * square / (3 * n) * (1 - 2 * square / 3)
        + 4 * z / (9 * n * root) * (1 / 5 - 19 * square / 15 + 2 * square * square / 3)
    )
    return math.exp(-2 * square) * correction


def _pelz_good(z: float, n: float) -> float:
    """Return the probability of a gap below z / sqrt(n)."""
    z2 = z * z
    z4, z6 = z2 * z2, z2 * z2 * z2
    k0 = k1 = k2 = k3 = 0.0
    for k in range(1, 2 + math.ceil(4 * z)):
        odd, all_ = ((k - 0.5) * math.pi) ** 2, (k * math.pi) ** 2
        weight, extra = math.exp(-odd / (2 * z2)), math.exp(-all_ / (2 * z2))
        k0 += weight
        k1 += weight * (odd - z2)
        k2 += weight * (6 * z6 + 2 * z4 + (2 * z4 - 5 * z2) * odd + (1 - 2 * z2) * odd**2) - extra * 2 * z4 * all_
        k3 += (
            weight
            * (
                -30 * z6
                - 90 * z4 * z4
                + (135 * z4 - 96 * z6) * odd
                + (212 * z4 - 60 * z2) * odd**2
                + (5 - 30 * z2) * odd**3
            )
            + extra * 30 * z4 * (3 * z2 - all_) * all_
        )
    terms = k0 / z, k1 / (6 * z4), k2 / (72 * z6 * z), k3 / (6480 * z6 * z4)
    return math.sqrt(2 * math.pi) * math.fsum(term / n ** (power / 2) for power, term in enumerate(terms))
