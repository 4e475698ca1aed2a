"""How a window's distribution differs from a reference's: as ratios of densities, one factor for each column and the label.

A logistic regression on binned columns tells the two apart. Its score is a sum over columns, so the odds, which are the ratio
of the densities, are a product of factors (Bickel, Brückner, Scheffer, "Discriminative learning under covariate shift", JMLR
10, 2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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


class Ratios(NamedTuple):
    """What tells window from reference: coefficients of the bins of each column, and how they follow the rows' weights."""

    design: Floats
    """One column for each bin but the most frequent one of its column, (rows of both, bins)."""
    is_current: Floats
    coefficients: Floats
    inverse: Floats
    """Of the second derivative of the likelihood: how coefficients move with its first."""
    owner: NDArray[np.intp]
    """The player whose factor each bin belongs to; -1 for the constant."""

    def log_factors(self, players: int, weights: Floats | None = None) -> Floats:
        """Return the logarithm of each player's factor for each row, (rows of both, players).

        Parameters
        ----------
        weights
            How often each row counts, (rows of both,), in a resample; the coefficients take one step from those of all
            rows, which is enough for an interval.
        """
        coefficients = self.coefficients
        if weights is not None:
            _, score = _score(self.design, self.is_current, coefficients, weights * _balance(self.is_current))
            coefficients = coefficients + self.inverse @ score
        logs = np.empty((len(self.design), players))
        for each in range(players):
            logs[:, each] = self.design[:, self.owner == each] @ coefficients[self.owner == each]
        return logs


def fit(columns: Sequence[tuple[Codes, Codes, int]], rows: tuple[int, int]) -> Ratios:
    """Learn to tell current rows from reference rows by binned columns of both, each with the player that it belongs to."""
    blocks, owner = [np.ones((sum(rows), 1))], [np.array([-1])]
    for reference, current, player in columns:
        codes = np.concatenate([reference, current])
        counts = np.bincount(codes)
        others = np.delete(np.arange(len(counts)), counts.argmax())
        blocks.append((codes[:, None] == others).astype(np.float64))
        owner.append(np.full(len(others), player))
    design = np.concatenate(blocks, axis=1)
    is_current = np.repeat([0.0, 1.0], rows)
    weights = _balance(is_current)
    coefficients = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        chance, score = _score(design, is_current, coefficients, weights)
        information = (design * (weights * chance * (1 - chance))[:, None]).T @ design
        inverse = np.linalg.inv(information + np.diag(_ridge(design.shape[1])))
        step = inverse @ score
        coefficients = coefficients + step
        if np.abs(step).max() < _CONVERGED:
            break
    return Ratios(design, is_current, coefficients, inverse, np.concatenate(owner))


def _score(design: Floats, is_current: Floats, coefficients: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the chance that each row is a current one, and the first derivative of the penalised likelihood."""
    chance = 1 / (1 + np.exp(-(design @ coefficients).clip(-_SUREST, _SUREST)))
    return chance, design.T @ (weights * (is_current - chance)) - _ridge(len(coefficients)) * coefficients


def _ridge(coefficients: int) -> Floats:
    penalty = np.full(coefficients, _RIDGE)
    penalty[0] = _FREE
    return penalty


def _balance(is_current: Floats) -> Floats:
    """Return weights by which both sides count alike."""
    share = is_current.mean()
    return np.where(is_current > 0, 0.5 / share, 0.5 / (1 - share))
