"""What a metric is expected to be when only beliefs about the labels are known, and how each row moves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from continuous_training._performance import Floats
from continuous_training.core.quality import MetricName

_BINARY = 2
_FEWEST = 1.0  # rows of a class to expect before its ranking is asked for
_LOSS, _SIGNED = range(2)


class Belief(NamedTuple):
    """What is believed of rows: the model's prediction, and what its label may be.

    `likely` are calibrated class probabilities (rows, classes), or in regression the expected loss, an absolute or a
    squared error as the metric asks, and the expected signed error (rows, 2).
    """

    prediction: Floats
    likely: Floats

    def at(self, rows: slice) -> Belief:
        """Return what is believed of these rows."""
        return Belief(self.prediction[rows], self.likely[rows])


class Expected(NamedTuple):
    """The expected value of a metric on some rows, and what it hangs on, column by column of the belief.

    All arrays are (rows, columns): `seen` is what the belief was looked up by, `slopes` by how much the value changes
    with the belief of one row, `variances` how far the label of one row may be from the belief.
    """

    value: float
    seen: Floats
    slopes: Floats
    variances: Floats

    @property
    def noise(self) -> float:
        """Return the variance of the realised value around the expected one, were each row on its own."""
        return float(np.sum(self.variances * self.slopes**2))


def expected(metric: MetricName, belief: Belief) -> Expected:
    """Return the expected `metric`; NaN where it is not defined."""
    return _PROBABLE[metric](belief) if metric in _PROBABLE else _ERRING[metric](belief)


def asked(classes: int) -> list[int]:
    """Return the classes whose probability is calibrated; of two, the first is what the second leaves."""
    return [1] if classes == _BINARY else list(range(classes))


def _probable(measure: Callable[[Belief], tuple[float, Floats]]) -> Callable[[Belief], Expected]:
    """Make of a value and its slopes by the probability of each class what it hangs on."""

    def build(belief: Belief) -> Expected:
        value, slopes = measure(belief)
        likely, columns = belief.likely, asked(belief.likely.shape[1])
        if len(columns) == 1:
            variances = likely[:, columns] * likely[:, [0]]
            return Expected(value, belief.prediction[:, columns], slopes[:, columns] - slopes[:, [0]], variances)
        centred = slopes - np.sum(likely * slopes, axis=1, keepdims=True)  # the probabilities of a row sum to 1
        return Expected(value, belief.prediction, centred, likely)

    return build


def _mean_of(loss: Callable[[Floats], Floats]) -> Callable[[Belief], Expected]:
    """Make the mean of a loss that each row would have with each class."""

    def measure(belief: Belief) -> tuple[float, Floats]:
        slopes = loss(belief.prediction) / len(belief.prediction)
        return float(np.sum(belief.likely * slopes)), slopes

    return _probable(measure)


def _surprise(prediction: Floats) -> Floats:
    smallest = np.finfo(np.float64).eps
    return np.asarray(-np.log(np.clip(prediction, smallest, 1 - smallest)))


def _squared_distance(prediction: Floats) -> Floats:
    squares: Floats = np.einsum("rc,rc->r", prediction, prediction)[:, None] - 2 * prediction + 1
    return squares / 2 if prediction.shape[1] == _BINARY else squares


def _guessed(prediction: Floats) -> Floats:
    return np.asarray(prediction.argmax(axis=1)[:, None] == np.arange(prediction.shape[1]), dtype=np.float64)


def _f1(belief: Belief) -> tuple[float, Floats]:
    guessed, likely = _guessed(belief.prediction), belief.likely
    named = guessed.sum(axis=0) + likely.sum(axis=0)
    classes = [number for number in asked(likely.shape[1]) if named[number] >= _FEWEST]
    slopes = np.zeros_like(likely)
    if not classes:
        return np.nan, slopes
    scores = 2 * np.sum(guessed * likely, axis=0)[classes] / named[classes]
    slopes[:, classes] = (2 * guessed[:, classes] - scores) / named[classes] / len(classes)
    return float(scores.mean()), slopes


def _one_against_rest(
    measure: Callable[[Floats, Floats], tuple[float, Floats]],
) -> Callable[[Belief], tuple[float, Floats]]:
    """Make a metric of two classes one of many: the mean over the classes of which a row, and another, is expected."""

    def build(belief: Belief) -> tuple[float, Floats]:
        totals, rows = belief.likely.sum(axis=0), len(belief.likely)
        slopes = np.zeros_like(belief.likely)
        classes = [number for number in asked(len(totals)) if _FEWEST <= totals[number] <= rows - _FEWEST]
        values = []
        for number in classes:
            value, slope = measure(belief.likely[:, number], belief.prediction[:, number])
            values.append(value)
            slopes[:, number] = slope / len(classes)
        return float(np.mean(values)) if values else np.nan, slopes

    return build


def _roc_auc(likely: Floats, score: Floats) -> tuple[float, Floats]:
    """Weigh each pair of different rows by the probability that it is one of a positive and a negative row."""
    tie = _ties(score)
    yes, no = likely.sum(), (1 - likely).sum()
    lower_yes, lower_no = _lower(tie, likely), _lower(tie, 1 - likely)
    own = likely * (1 - likely)  # a row is no pair with itself
    value = (likely @ lower_no - own.sum() / 2) / (yes * no - own.sum())
    return float(value), (lower_no / no - value) / yes - (1 - lower_yes / yes - value) / no


def _average_precision(likely: Floats, score: Floats) -> tuple[float, Floats]:
    """Weigh by its probability the precision that each row, were it positive, would find among rows not below it."""
    tie = _ties(score)
    yes, rows = likely.sum(), np.bincount(tie)
    reached = np.cumsum(rows[::-1])[::-1][tie]
    found = np.cumsum(np.bincount(tie, likely)[::-1])[::-1][tie]
    precision = (found - likely + 1) / reached
    value = likely @ precision / yes
    counted = np.cumsum(np.bincount(tie, likely / reached))[tie]
    return float(value), (precision + counted - likely / reached - value) / yes


def _ties(score: Floats) -> NDArray[np.intp]:
    """Return for each row the number of distinct lower scores."""
    order: NDArray[np.intp] = np.argsort(score, kind="stable")
    tie = np.empty(len(score), dtype=np.intp)
    tie[order] = np.cumsum(np.diff(score[order], prepend=score[order[:1]]) != 0)
    return tie


def _lower(tie: NDArray[np.intp], weight: Floats) -> Floats:
    """Return the weight of the rows with a lower score than each row's, and half of those with the same."""
    by_tie = np.bincount(tie, weight)
    return np.asarray((np.cumsum(by_tie) - by_tie / 2)[tie])


def _mae(belief: Belief) -> Expected:
    loss = belief.likely[:, [_LOSS]]
    return Expected(float(loss.mean()), loss, np.full_like(loss, 1 / len(loss)), loss**2)


def _rmse(belief: Belief) -> Expected:
    loss = belief.likely[:, [_LOSS]]
    value = float(np.sqrt(loss.mean()))
    slope = 1 / (2 * value * len(loss)) if value > 0 else 0.0
    return Expected(value, loss, np.full_like(loss, slope), loss**2)


def _r2(belief: Belief) -> Expected:
    """Compare the expected squared error with the variance that predictions and errors together give the label."""
    loss, signed = belief.likely[:, [_LOSS]], belief.likely[:, _SIGNED]
    spread = float(np.var(belief.prediction + signed) + np.mean(loss[:, 0] - signed**2))
    if spread <= 0:
        return Expected(np.nan, loss, np.zeros_like(loss), loss**2)
    return Expected(float(1 - loss.mean() / spread), loss, np.full_like(loss, -1 / (spread * len(loss))), loss**2)


_PROBABLE: dict[MetricName, Callable[[Belief], Expected]] = {
    "roc_auc": _probable(_one_against_rest(_roc_auc)),
    "average_precision": _probable(_one_against_rest(_average_precision)),
    "log_loss": _mean_of(_surprise),
    "brier": _mean_of(_squared_distance),
    "accuracy": _mean_of(_guessed),
    "f1": _probable(_f1),
}
_ERRING: dict[MetricName, Callable[[Belief], Expected]] = {"mae": _mae, "rmse": _rmse, "r2": _r2}
QUESTIONS: dict[MetricName, str] = dict.fromkeys(_PROBABLE, "class") | {
    "mae": "absolute",
    "rmse": "squared",
    "r2": "squared",
}
"""What has to be believed of each row for each metric that can be estimated."""
