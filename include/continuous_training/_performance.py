"""Metrics as functions of row weights, and the resamples that are such weights.

A resample is a vector that says how often each row was drawn, so what a metric needs of the predictions (their order,
their errors) is computed once, and each resample costs a few passes over the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training.core.quality import MetricName

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Statistic = Callable[[Floats], float]
"""From how often each unit counts, (units,), to a value; NaN where the metric is not defined."""
_Builder = Callable[[Floats, Floats], Statistic]

_MISSING = "(missing)"
_FIRST = 10  # places that the metrics of a ranking look at
_DISCOUNT: Floats = 1 / np.log2(np.arange(_FIRST) + 2)
_CANCELLED = 1e-12  # a variance this small beside its terms is rounding error


class Truth(NamedTuple):
    """Labels of rows in order of event time; in ranking with the number of the group that each row belongs to.

    What is drawn in a resample, a unit, is a row; in ranking it is a group with a relevant row, in order of its number.
    """

    y: Floats
    groups: NDArray[np.intp] | None = None

    def at(self, places: NDArray[Any]) -> Truth:
        """Return the rows at these places, or under this mask."""
        return Truth(self.y[places], None if self.groups is None else self.groups[places])

    @property
    def units(self) -> int:
        """Return how many rows, or groups with a relevant row, there are."""
        return len(self.y) if self.groups is None else len(np.unique(self.groups[self.y > 0]))


def group_numbers(groups: NDArray[Any]) -> NDArray[np.intp]:
    """Return the number of each group, in the order in which they appear; -1 for a row without one."""
    return np.asarray(pd.factorize(pd.Series(groups))[0], dtype=np.intp)


def statistic(metric: MetricName, truth: Truth, prediction: Floats) -> Statistic:
    """Return `metric` of these rows as a function of the weights of their units."""
    if truth.groups is None:
        return _STATISTICS[metric](truth.y, prediction)
    return mean(by_group(metric, truth, prediction))


def by_group(metric: MetricName, truth: Truth, score: Floats) -> Floats:
    """Return `metric` of each group that has a relevant row, in order of the groups' numbers.

    `ndcg_at_10` is the gain `2 ** relevance - 1` of the first ten rows, discounted by the logarithm of their place, as a
    share of that of the best order; `recall_at_10` is the share of the relevant rows that are among the first ten. Rows
    of the same score stand in each order equally often, so the order in which they are stored makes no difference.
    Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20, 2002; ties: McSherry, Najork,
    "Computing information retrieval performance measures efficiently in the presence of tied scores", ECIR 2008.
    """
    y, groups = truth.y, _grouped(truth)
    gain = 2.0**y - 1 if metric == "ndcg_at_10" else (y > 0).astype(np.float64)
    worth = _DISCOUNT if metric == "ndcg_at_10" else np.ones(_FIRST)
    found = np.bincount(groups, gain * _expected(worth, score, groups))
    best = np.bincount(groups, gain * _expected(_DISCOUNT, y, groups) if metric == "ndcg_at_10" else gain)
    relevant = best > 0
    return np.asarray(found[relevant] / best[relevant])


def last_of_groups(truth: Truth) -> NDArray[np.intp]:
    """Return the place of the last row of each group that has a relevant row, in order of the groups' numbers."""
    groups = _grouped(truth)
    last = np.zeros(groups.max(initial=-1) + 1, dtype=np.intp)
    last[groups] = np.arange(len(groups))
    return np.asarray(last[np.unique(groups[truth.y > 0])])


def _grouped(truth: Truth) -> NDArray[np.intp]:
    if truth.groups is None:  # pragma: no cover - whoever asks has groups
        raise AssertionError
    return truth.groups


def _expected(worth: Floats, score: Floats, groups: NDArray[np.intp]) -> Floats:
    """Return what each row's place in its group is worth, the mean over the places of the rows with the same score."""
    order = np.lexsort((-score, groups))
    group, ranked = groups[order], score[order]
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    place = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    worth_of_place = np.concatenate([worth, [0.0]])[np.minimum(place, len(worth))]
    tie = np.cumsum((np.diff(group, prepend=-1) != 0) | (np.diff(ranked, prepend=np.nan) != 0)) - 1
    expected = np.empty(len(order))
    expected[order] = (np.bincount(tie, worth_of_place) / np.bincount(tie))[tie]
    return expected


def block_weights(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield the weights (rows,) of moving-block bootstrap resamples; each draws `rows` rows.

    Blocks of `ceil(rows ** (1 / 3))` neighbouring rows (in ranking: groups) are drawn with replacement, because rows that are close in time
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
        return mean(loss(y, prediction))

    return build


def mean(losses: Floats) -> Statistic:
    """Return the mean of what each row counts, (rows,), as a function of the rows' weights."""
    return lambda weights: float(weights @ losses / weights.sum())


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


_STATISTICS: dict[MetricName, _Builder] = {
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
