"""Metrics of decisions between two classes as functions of row weights."""

from __future__ import annotations

from typing import Literal

import numpy as np

from continuous_training._performance import Flags, Floats, Statistic


def f_beta(positive: Flags, treated: Flags, beta: float) -> Statistic:
    """Return the weighted harmonic mean of precision and recall; NaN where neither a label nor a decision is positive."""
    agreed = (1 + beta**2) * (positive & treated)
    columns = np.stack([agreed, beta**2 * positive + treated])

    def value(weights: Floats) -> float:
        right, named = columns @ weights
        return float(right / named) if named > 0 else np.nan

    return value


def at_top(positive: Flags, score: Floats, top: float, *, of: Literal["rows", "positive"]) -> Statistic:
    """Return the weight of positive rows among the share `top` of highest scores, by the weight of that share or of all positive.

    Rows of one score are one step: where the border falls into it, each of them counts by the share that lies inside.
    """
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.diff(score[order], append=-np.inf))
    yes = positive[order]

    def value(weights: Floats) -> float:
        ordered = weights[order]
        rows, found = np.cumsum(ordered)[ends], np.cumsum(ordered * yes)[ends]
        wanted = top * rows[-1]
        border = np.searchsorted(rows, wanted)  # the first step that reaches it
        before, had = (rows[border - 1], found[border - 1]) if border else (0.0, 0.0)
        inside = had + (found[border] - had) * (wanted - before) / (rows[border] - before)
        whole = wanted if of == "rows" else found[-1]
        return float(inside / whole) if whole > 0 else np.nan

    return value
