"""Intervals that hold at every moment at once, so that one may look as often as one likes.

A usual 95 % interval is right at one moment chosen beforehand; whoever looks again and again and stops when it excludes
a value is wrong far more often. The bounds here are confidence sequences: with probability `1 - alpha` the true mean lies on
the right side of the bound at all moments together.

They come from betting. Whoever stakes the share `c` of their money on "the mean is above m" has, after values x_1, x_2, ...
between 0 and 1, the capital prod(1 - c + c x_i / m). When the mean is at most m this is a supermartingale: by Ville's inequality
it ever reaches 1 / alpha with probability alpha at most. An average over many stakes is one too, and needs no knowledge of the
right stake. The lower bound is the largest m against which the capital has reached 1 / alpha. The product does not
depend on the order of the values, so counts of each value are all that must be kept.

Nothing is assumed but that each value, given those before it, has the same mean.

References
----------
Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", Journal of the Royal Statistical Society
B 86, 2024 (the capital process, and a grid of stakes). Ville, "Étude critique de la notion de collectif", 1939.
Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm identification",
Bernoulli 28, 2022 (quantiles by the rates of values above them).
"""

import math
from collections.abc import Sequence
from functools import lru_cache

_STAKES = tuple(10 ** (-6 + 6 * (number + 0.5) / 36) for number in range(36))
_HALVINGS = 24


def lower_bound(values: Sequence[float], counts: Sequence[int], alpha: float) -> float:
    """Return the bound below which the mean lies with probability `alpha` at most, however often one looks.

    Parameters
    ----------
    values
        The values that occur, each from 0 to 1.
    counts
        How often each occurred.
    alpha
        Probability of the bound ever being wrong, above 0 and below 1.

    Raises
    ------
    ValueError
        A value, a count or alpha is outside of these limits.

    Examples
    --------
    >>> round(lower_bound((0, 1), (900, 100), 0.05), 3), round(upper_bound((0, 1), (900, 100), 0.05), 3)
    (0.071, 0.136)
    """
    _check(values, counts, alpha)
    return _lower(tuple(values), tuple(counts), alpha)


def upper_bound(values: Sequence[float], counts: Sequence[int], alpha: float) -> float:
    """Return the bound above which the mean lies with probability `alpha` at most, as `lower_bound`."""
    _check(values, counts, alpha)
    return 1 - _lower(tuple(1 - value for value in values), tuple(counts), alpha)


def rate_bounds(events: int, total: int, alpha: float) -> tuple[float, float]:
    """Return the lower and the upper bound of a rate, each wrong with probability `alpha` at most.

    >>> tuple(round(bound, 4) for bound in rate_bounds(0, 1000, 0.05))
    (0.0, 0.0077)
    """
    counts = (total - events, events)
    return lower_bound((0, 1), counts, alpha), upper_bound((0, 1), counts, alpha)


def shown_above(events: int, total: int, rate: float, alpha: float) -> bool:
    """Tell whether the lower bound of a rate is above `rate`, without searching for the bound.

    >>> shown_above(50, 1000, 0.03, 0.05), shown_above(50, 1000, 0.05, 0.05)
    (True, False)
    """
    _check((0, 1), (total - events, events), alpha)
    return events > rate * total and _log_capital(((0, total - events), (1, events)), rate) >= math.log(1 / alpha)


@lru_cache(maxsize=4096)
def _lower(values: tuple[float, ...], counts: tuple[int, ...], alpha: float) -> float:
    total = sum(counts)
    seen = [(value, count) for value, count in zip(values, counts, strict=True) if count]
    high = math.fsum(value * count for value, count in seen) / total if total else 0.0
    low, wanted = 0.0, math.log(1 / alpha)
    if high == 0:
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _log_capital(seen, middle) >= wanted:
            low = middle
        else:
            high = middle
    return low


def _log_capital(seen: Sequence[tuple[float, int]], mean: float) -> float:
    """Return the logarithm of the average capital of all stakes against the hypothesis that the mean is at most `mean`."""
    logs = [sum(count * math.log1p(stake * (value / mean - 1)) for value, count in seen) for stake in _STAKES]
    most = max(logs)
    return most + math.log(sum(math.exp(each - most) for each in logs) / len(logs))


def _check(values: Sequence[float], counts: Sequence[int], alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")
    if len(values) != len(counts) or not all(0 <= value <= 1 for value in values) or min(counts, default=0) < 0:
        raise ValueError(f"values must lie from 0 to 1 and have one count each, at least 0; got {values} and {counts}")
