"""How a window's distribution differs from a reference's: as ratios of densities, one factor for each column and the label.

A logistic regression on binned columns tells the two apart. Its score is a sum over columns, so the odds, which are the ratio
of the densities, are a product of factors (Bickel, Brückner, Scheffer, "Discriminative learning under covariate shift", JMLR
10, 2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_BINS, _MOST_CATEGORIES = 10, 20
_CHANCE = 1e-3  # of calling a column moved that is not, where rows are independent
_LEAST_MOVED = 0.02  # total variation; below, a part of the change could not be told from none
_RIDGE, _FREE = 1.0, 1e-6  # the constant is free
_SUREST = 30.0
_STEPS, _CONVERGED = 25, 1e-6


def binned(reference: Floats, current: Floats, *, categories: bool) -> tuple[Codes, Codes]:
    """Return the bin of each value: the most frequent categories, or tenths of all values; a missing one has its own."""
    both = np.concatenate([reference, current])
    known = both[np.isfinite(both)]
    if categories:
        values, counts = np.unique(known, return_counts=True)
        kept = np.sort(values[np.argsort(-counts, kind="stable")[:_MOST_CATEGORIES]])
        places = np.searchsorted(kept, both).clip(0, max(0, len(kept) - 1))
        codes = np.where(np.isin(both, kept), places, len(kept))
        codes[~np.isfinite(both)] = len(kept) + 1
    else:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(known) else np.zeros(0)
        codes = np.searchsorted(edges, both, side="right")
        codes[~np.isfinite(both)] = len(edges) + 1
    codes = np.unique(codes, return_inverse=True)[1].reshape(-1)
    return codes[: len(reference)], codes[len(reference) :]


def distance(reference: Codes, current: Codes, weights: Floats | None = None) -> float:
    """Return the total variation between two binned columns, the first one weighted."""
    bins = int(max(reference.max(), current.max())) + 1
    one = np.bincount(reference, weights, minlength=bins)
    two = np.bincount(current, minlength=bins)
    return float(np.abs(one / one.sum() - two / two.sum()).sum() / 2)


def moved(reference: Codes, current: Codes) -> bool:
    """Tell whether two binned columns come from different distributions by a chi-square test, and by enough to matter."""
    bins = int(max(reference.max(), current.max())) + 1
    counts = np.stack([np.bincount(each, minlength=bins) for each in (reference, current)]).astype(np.float64)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    statistic = float(((counts - expected) ** 2 / np.where(expected > 0, expected, 1)).sum())
    return bool(chi2.sf(statistic, max(1, bins - 1)) < _CHANCE) and distance(reference, current) >= _LEAST_MOVED


@dataclass(frozen=True)
class Ratios:
    """What tells current from reference rows: a coefficient for each bin of each column."""

    columns: tuple[Codes, ...]
    """The bin of each row in each column, the reference's rows first."""
    is_current: Floats
    coefficients: Floats
    """Those of the columns' bins, one column after the other, and the constant."""
    inverse: Floats
    """Of the second derivative of the likelihood: how coefficients move with its first."""

    def log_factors(self, weights: Floats | None = None) -> Floats:
        """Return the logarithm of each column's factor for each row, (rows of both, columns).

        Parameters
        ----------
        weights
            How often each row counts, (rows of both,), in a resample; the coefficients take one step from those of all
            rows, which is enough for an interval.
        """
        coefficients = self.coefficients
        if weights is not None:
            weights = weights * _balance(self.is_current)
            chance = _chance(self.columns, coefficients)
            score = _score(self.columns, weights * (self.is_current - chance), coefficients)
            coefficients = coefficients + self.inverse @ score
        logs = np.empty((len(self.is_current), len(self.columns)))
        for place, (codes, of_bins) in enumerate(zip(self.columns, _split(self.columns, coefficients), strict=True)):
            logs[:, place] = of_bins[codes]
        return logs


def fit(columns: Sequence[tuple[Codes, Codes]], rows: tuple[int, int]) -> Ratios:
    """Learn to tell current rows from reference rows by binned columns of both, by Newton's method with a ridge penalty."""
    joined = tuple(np.concatenate(pair) for pair in columns)
    is_current = np.repeat([0.0, 1.0], rows)
    weights = _balance(is_current)
    coefficients = np.zeros(sum(_bins(codes) for codes in joined) + 1)
    penalty = np.diag(_penalty(len(coefficients)))
    for _ in range(_STEPS):
        chance = _chance(joined, coefficients)
        inverse = np.linalg.inv(_information(joined, weights * chance * (1 - chance)) + penalty)
        step = inverse @ _score(joined, weights * (is_current - chance), coefficients)
        coefficients = coefficients + step
        if np.abs(step).max() < _CONVERGED:
            break
    return Ratios(joined, is_current, coefficients, inverse)


def _chance(columns: Sequence[Codes], coefficients: Floats) -> Floats:
    """Return the chance that each row is a current one."""
    log_odds: Floats = sum(
        (of_bins[codes] for codes, of_bins in zip(columns, _split(columns, coefficients), strict=True)),
        start=coefficients[-1:],
    )
    chance: Floats = 1 / (1 + np.exp(-log_odds.clip(-_SUREST, _SUREST)))
    return chance


def _score(columns: Sequence[Codes], left: Floats, coefficients: Floats) -> Floats:
    """Return the first derivative of the penalised likelihood from what is left of each row."""
    sums = [np.bincount(codes, left, minlength=_bins(codes)) for codes in columns]
    score: Floats = np.concatenate([*sums, [left.sum()]]) - _penalty(len(coefficients)) * coefficients
    return score


def _information(columns: Sequence[Codes], weights: Floats) -> Floats:
    """Return the weight of the rows in each pair of bins: a row is in one bin of a column, so counting is enough."""
    constant = np.zeros(len(weights), dtype=np.intp)
    blocks = [*columns, constant]
    ends = np.cumsum([_bins(codes) for codes in blocks])
    found = np.zeros((ends[-1], ends[-1]))
    for one, (first, end) in enumerate(zip(blocks, ends, strict=True)):
        for two, last in zip(blocks[one:], ends[one:], strict=True):
            sizes = _bins(first), _bins(two)
            block = np.bincount(first * sizes[1] + two, weights, minlength=sizes[0] * sizes[1]).reshape(sizes)
            found[end - sizes[0] : end, last - sizes[1] : last] = block
            found[last - sizes[1] : last, end - sizes[0] : end] = block.T
    return found


def _split(columns: Sequence[Codes], coefficients: Floats) -> list[Floats]:
    ends = np.cumsum([_bins(codes) for codes in columns])
    return np.split(coefficients[:-1], ends[:-1]) if len(ends) else []


def _bins(codes: Codes) -> int:
    return int(codes.max()) + 1


def _penalty(coefficients: int) -> Floats:
    penalty = np.full(coefficients, _RIDGE)
    penalty[-1] = _FREE
    return penalty


def _balance(is_current: Floats) -> Floats:
    """Return weights by which both sides count alike."""
    share = is_current.mean()
    return np.where(is_current > 0, 0.5 / share, 0.5 / (1 - share))
