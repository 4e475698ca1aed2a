"""Metrics as functions of row weights, and the resamples that are such weights.

A resample is a vector that says how often each row was drawn, so what a metric needs of the predictions (their order,
their errors) is computed once, and each resample costs a few passes over the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training.core.quality import Metric

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], float]
"""From how often each row counts, (rows,), to a value; NaN where the metric is not defined."""
_Builder = Callable[[Floats, Floats], Statistic]

_MISSING = "(missing)"
_CANCELLED = 1e-12  # a variance this small beside its terms is rounding error


def statistic(metric: Metric, y: Floats, prediction: Floats) -> Statistic:
    """Return `metric` of these rows as a function of their weights."""
    return _STATISTICS[metric](y, prediction)


def block_weights(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield the weights (rows,) of moving-block bootstrap resamples; each draws `rows` rows.

    Blocks of `ceil(rows ** (1 / 3))` neighbouring rows are drawn with replacement, because rows that are close in time
    are alike and drawing them one by one would make intervals too narrow (Künsch, "The jackknife and the bootstrap for
    general stationary observations", Annals of Statistics 17, 1989).
    """
    generator = np.random.default_rng(seed)
    length = int(np.ceil(np.cbrt(rows)))
    blocks = -(-rows // length)
    within = np.arange(length)
    for _ in range(resamples):
        starts = generator.integers(0, rows - length + 1, blocks)
        drawn = (starts[:, None] + within).ravel()[:rows]
        yield np.bincount(drawn, minlength=rows).astype(np.float64)


def bootstrap(statistics: Sequence[Statistic], rows: int, resamples: int, seed: int) -> Floats:
    """Return the value of each statistic on each resample, all on the same resamples: (statistics, resamples)."""
    return np.array([[each(weights) for each in statistics] for weights in block_weights(rows, resamples, seed)]).T


def positions_by_value(values: NDArray[Any], most: int) -> list[tuple[str, NDArray[np.intp]]]:
    """Return the `most` frequent values as text, each with the positions of its rows."""
    column = pd.Series(values, dtype=object)
    codes, names = pd.factorize(column.astype(str).mask(column.isna(), _MISSING))
    frequent = np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")[:most]
    return [(str(names[code]), np.flatnonzero(codes == code)) for code in frequent]


def hits(y: Floats, prediction: Floats) -> NDArray[np.bool_]:
    """Tell for each row whether the most probable class, the first of equals, is the true one."""
    return np.asarray(prediction.argmax(axis=1) == y)


def probability_of_truth(y: Floats, prediction: Floats) -> Floats:
    """Return the probability that each row's prediction gave to its true class; 0 for a class it does not know."""
    column = y.astype(np.intp)
    known = (column >= 0) & (column < prediction.shape[1]) & (column == y)
    truth = np.zeros(len(y))
    truth[known] = prediction[known, column[known]]
    return truth


def _mean_of(loss: Callable[[Floats, Floats], Floats]) -> _Builder:
    def build(y: Floats, prediction: Floats) -> Statistic:
        losses = loss(y, prediction)
        return lambda weights: float(weights @ losses / weights.sum())

    return build


def _surprise(y: Floats, prediction: Floats) -> Floats:
    smallest = np.finfo(np.float64).eps
    return -np.log(np.clip(probability_of_truth(y, prediction), smallest, 1 - smallest))


def _squared_distance(y: Floats, prediction: Floats) -> Floats:
    squares: Floats = np.einsum("rc,rc->r", prediction, prediction) - 2 * probability_of_truth(y, prediction) + 1
    return squares / 2 if prediction.shape[1] == 2 else squares  # noqa: PLR2004 - by custom halved for two classes


def _rmse(y: Floats, prediction: Floats) -> Statistic:
    mean_square = _mean_of(lambda label, value: (label - value) ** 2)(y, prediction)
    return lambda weights: float(np.sqrt(mean_square(weights)))


def _r2(y: Floats, prediction: Floats) -> Statistic:
    centred = y - y.mean()
    columns = np.stack([(y - prediction) ** 2, centred**2, centred])

    def value(weights: Floats) -> float:
        error, squares, total = columns @ weights
        spread = squares - total**2 / weights.sum()
        return float(1 - error / spread) if spread > _CANCELLED * squares else np.nan

    return value


def _f1(y: Floats, prediction: Floats) -> Statistic:
    numbers = np.arange(prediction.shape[1])
    asked = numbers[1:] if len(numbers) == 2 else numbers  # noqa: PLR2004 - of two classes the second is the question
    guessed, true = prediction.argmax(axis=1) == asked[:, None], y == asked[:, None]
    columns = np.concatenate([2.0 * (guessed & true), 1.0 * guessed + true])

    def value(weights: Floats) -> float:
        agreed, named = (columns @ weights).reshape(2, -1)
        occurs = named > 0
        return float(np.mean(agreed[occurs] / named[occurs])) if occurs.any() else np.nan

    return value


def _one_against_rest(measure: Callable[[NDArray[np.bool_], Floats], Statistic]) -> _Builder:
    """Make a metric of two classes one of many: the mean over the classes that occur among all rows."""

    def build(y: Floats, prediction: Floats) -> Statistic:
        numbers = range(prediction.shape[1])
        asked = [1] if len(numbers) == 2 else [number for number in numbers if (y == number).any()]  # noqa: PLR2004
        questions = [measure(y == number, prediction[:, number]) for number in asked]

        def value(weights: Floats) -> float:
            return float(np.mean([question(weights) for question in questions])) if questions else np.nan

        return value

    return build


def _roc_auc(positive: NDArray[np.bool_], score: Floats) -> Statistic:
    """Count, for every positive row, the negative rows of lower score, and half of those of the same score."""
    yes = _ascending(positive, score)
    no = _ascending(~positive, score)
    lower = np.searchsorted(score[no], score[yes], side="left")
    not_higher = np.searchsorted(score[no], score[yes], side="right")

    def value(weights: Floats) -> float:
        of_yes = weights[yes]
        below = np.concatenate(([0.0], np.cumsum(weights[no])))
        pairs = of_yes.sum() * below[-1]
        return float(of_yes @ (below[lower] + below[not_higher]) / (2 * pairs)) if pairs else np.nan

    return value


def _average_precision(positive: NDArray[np.bool_], score: Floats) -> Statistic:
    """Average over the positive rows the precision among all rows whose score is not lower."""
    yes = _ascending(positive, score)[::-1]
    rows = np.argsort(score, kind="stable")[::-1]
    last_yes = np.searchsorted(-score[yes], -score[yes], side="right") - 1
    last_row = np.searchsorted(-score[rows], -score[yes], side="right") - 1

    def value(weights: Floats) -> float:
        of_yes, reached = weights[yes], np.cumsum(weights[rows])
        total = of_yes.sum()
        if not 0 < total < reached[-1]:
            return np.nan
        all_reached = reached[last_row]
        precision = np.divide(np.cumsum(of_yes)[last_yes], all_reached, out=np.zeros(len(yes)), where=all_reached > 0)
        return float(of_yes @ precision / total)

    return value


def _ascending(chosen: NDArray[np.bool_], score: Floats) -> NDArray[np.intp]:
    positions = np.flatnonzero(chosen)
    return positions[np.argsort(score[positions], kind="stable")]


_STATISTICS: dict[Metric, _Builder] = {
    "roc_auc": _one_against_rest(_roc_auc),
    "average_precision": _one_against_rest(_average_precision),
    "log_loss": _mean_of(_surprise),
    "brier": _mean_of(_squared_distance),
    "accuracy": _mean_of(lambda y, prediction: hits(y, prediction).astype(np.float64)),
    "f1": _f1,
    "rmse": _rmse,
    "mae": _mean_of(lambda y, prediction: np.abs(y - prediction)),
    "r2": _r2,
}
