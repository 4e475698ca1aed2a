"""The maths of a model card's figures: what predictions are worth, as a few numbers to draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from continuous_training import _performance
from continuous_training.metrics import Cost
from continuous_training.reports.card import Figure, Mark, Series

Floats = NDArray[np.float64]
Predictions = Mapping[str, Floats]
"""What each model predicts of the same rows, by its name."""

POINTS = 100
BINS = 10
PLACES = 10
_Z = 1.959963984540054  # of a 95 % interval
_DIGITS = 5


def figures_of_two(y: Floats, scores: Predictions, cost: Cost | None) -> list[Figure]:
    """Return calibration, ROC, precision-recall and cost of probabilities (rows,) that the label is 1."""
    positive = y == 1
    told: tuple[Figure, ...] = (calibration(positive, scores, "predicted probability", "share that came true"),)
    if 0 < positive.sum() < len(y):
        told += (_roc(positive, scores), _precision_recall(positive, scores), _costs(positive, scores, cost))
    return list(told)


def figures_of_several(y: Floats, predictions: Predictions) -> list[Figure]:
    """Return the calibration of the most probable class of several."""
    confidence = {name: prediction.max(axis=1) for name, prediction in predictions.items()}
    right = {name: _performance.hits(y, prediction) for name, prediction in predictions.items()}
    return [calibration(right, confidence, "probability of the most probable class", "share that was right")]


def figures_of_values(y: Floats, predictions: Predictions) -> list[Figure]:
    """Return the residuals of values, and what was true where so much was predicted."""
    return [_residuals(y, predictions), _predicted_true(y, predictions)]


def figures_of_ranking(truth: _performance.Truth, scores: Predictions) -> list[Figure]:
    """Return what stands in each place of a ranking, and its quality by the size of the group."""
    groups = truth.groups
    if groups is None or not truth.units:
        return []
    sizes = np.bincount(groups)[np.unique(groups[truth.y > 0])]
    return [_by_place(truth.y, groups, scores), *_by_size(truth, sizes, scores)]


def _by_place(y: Floats, groups: NDArray[np.intp], scores: Predictions) -> Figure:
    def curve(score: Floats) -> tuple[Any, Any]:
        order = np.lexsort((-score, groups))
        begins = np.flatnonzero(np.diff(groups[order], prepend=-1))
        place = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
        seen = place < PLACES
        rows = np.bincount(place[seen])
        return np.arange(1, len(rows) + 1), np.bincount(place[seen], y[order][seen]) / rows

    return Figure(
        name="relevance_by_place",
        title="Relevance by place",
        text="The mean relevance of what stands in each of the first places, over all groups; no order does better than the best.",
        x_label="place",
        y_label="mean relevance",
        style="points",
        series=_each({**scores, "best order": y}, curve),
    )


def _by_size(truth: _performance.Truth, sizes: NDArray[np.intp], scores: Predictions) -> list[Figure]:
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, 7), method="inverted_cdf"))
    place = np.clip(np.searchsorted(edges, sizes, side="right") - 1, 0, max(len(edges) - 2, 0))
    used = np.unique(place)
    if len(used) == 1:
        return []
    series = []
    for name, score in scores.items():
        ndcg = _performance.by_group("ndcg_at_10", truth, score)
        series.append(
            Series(name=name, x=_told(range(len(used))), y=_told([ndcg[place == one].mean() for one in used]))
        )
    return [
        Figure(
            name="ndcg_by_size",
            title="NDCG at 10 by size of group",
            text="The mean over the groups of about that many rows; longer lists are harder to put in order.",
            x_label="rows of the group",
            y_label="NDCG at 10",
            style="bars",
            series=tuple(series),
            ticks=tuple(_range(sizes[place == one]) for one in used),
        )
    ]


def confusion(y: Floats, prediction: Floats) -> tuple[tuple[int, ...], ...]:
    """Return the rows by true class and by the most probable one."""
    classes = prediction.shape[1]
    pairs = y.astype(np.intp) * classes + prediction.argmax(axis=1)
    return tuple(map(tuple, np.bincount(pairs, minlength=classes**2).reshape(classes, classes).tolist()))


def calibration(
    happened: NDArray[np.bool_] | Mapping[str, NDArray[np.bool_]], scores: Predictions, x: str, y: str
) -> Figure:
    """Return how often it came true where so much was said, in ten bins of equally many rows with Wilson intervals.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    series, errors = [], []
    for name, score in scores.items():
        true = happened[name] if isinstance(happened, Mapping) else happened
        edges = np.unique(np.quantile(score, np.linspace(0, 1, BINS + 1), method="inverted_cdf"))
        place = np.clip(np.searchsorted(edges, score, side="left") - 1, 0, None)
        counts = np.bincount(place)
        rows = counts[counts > 0].astype(np.float64)
        said, came = (np.bincount(place, each)[counts > 0] / rows for each in (score, true.astype(np.float64)))
        low, high = _wilson(came, rows)
        series.append(Series(name=name, x=_told(said), y=_told(came), low=_told(low), high=_told(high)))
        errors.append(f"{name} {float(rows @ np.abs(said - came) / rows.sum()):.3f}")
    return Figure(
        name="calibration",
        title="Calibration",
        unit=True,
        text="Ten bins of equally many rows, with 95 % intervals; on the diagonal probabilities are what they say. Mean distance "
        f"from it: {', '.join(errors)}.",
        x_label=x,
        y_label=y,
        style="points",
        series=tuple(series),
        diagonal="perfectly calibrated",
    )


def _wilson(share: Floats, rows: Floats) -> tuple[Floats, Floats]:
    centre = share + _Z**2 / (2 * rows)
    half = _Z * np.sqrt(share * (1 - share) / rows + _Z**2 / (4 * rows**2))
    low, high = ((centre + side * half) / (1 + _Z**2 / rows) for side in (-1, 1))
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def _roc(positive: NDArray[np.bool_], scores: Predictions) -> Figure:
    def curve(score: Floats) -> tuple[Floats, Floats]:
        false, true = _reached(positive, score)
        return _thinned(false / false[-1], true / true[-1])

    return Figure(
        name="roc",
        title="ROC curve",
        unit=True,
        text="Of the rows that came true, the share found, by the share of the others that is taken for one.",
        x_label="false positive rate",
        y_label="true positive rate",
        series=_each(scores, curve),
        diagonal="guessing",
    )


def _precision_recall(positive: NDArray[np.bool_], scores: Predictions) -> Figure:
    def curve(score: Floats) -> tuple[Floats, Floats]:
        false, true = _reached(positive, score)
        recall, precision = true[1:] / true[-1], true[1:] / (true[1:] + false[1:])
        at = np.unique(np.searchsorted(recall, np.linspace(1 / POINTS, 1, POINTS)).clip(max=len(recall) - 1))
        return recall[at], precision[at]

    return Figure(
        name="precision_recall",
        title="Precision and recall",
        unit=True,
        text=f"Of the rows that are named, the share that came true, by the share found of all {100 * positive.mean():.1f} % that did.",
        x_label="recall",
        y_label="precision",
        series=_each(scores, curve),
    )


def _costs(positive: NDArray[np.bool_], scores: Predictions, cost: Cost | None) -> Figure:
    used = cost or Cost(name="wrong_decisions", false_positive=1, false_negative=1)
    thresholds = np.arange(1, POINTS) / POINTS

    def curve(score: Floats) -> tuple[Floats, Floats]:
        hit, missed = (np.sort(score[chosen]) for chosen in (positive, ~positive))
        below_hit, below_missed = (np.searchsorted(each, thresholds, side="right") for each in (hit, missed))
        spent = (len(hit) - below_hit) * used.true_positive + below_hit * used.false_negative
        spent += (len(missed) - below_missed) * used.false_positive + below_missed * used.true_negative
        return thresholds, spent / len(score)

    by = f"the metric {cost.name}" if cost else "one for each wrong decision, since the model file declares no cost"
    return Figure(
        name="cost",
        title="Cost by threshold",
        text=f"Mean cost of a decision when rows above the threshold are treated as positive: {by}.",
        x_label="threshold",
        y_label="cost",
        series=_each(scores, curve),
        marks=(Mark(x=round(used.decides_at, _DIGITS), text="decides at"),) if cost else (),
    )


def _residuals(y: Floats, predictions: Predictions) -> Figure:
    errors = {name: y - prediction for name, prediction in predictions.items()}
    every = np.concatenate(list(errors.values()))
    low, high = np.quantile(every, [0.005, 0.995])
    edges = np.linspace(low, high, 31) if high > low else np.array([low - 0.5, low + 0.5])
    middle = (edges[1:] + edges[:-1]) / 2

    def curve(error: Floats) -> tuple[Floats, Floats]:
        return middle, np.histogram(np.clip(error, edges[0], edges[-1]), edges)[0] / len(error)

    return Figure(
        name="residuals",
        title="Residuals",
        text="Truth minus prediction; the outermost bins also hold what lies beyond.",
        x_label="truth minus prediction",
        y_label="share of rows",
        series=_each(errors, curve),
        marks=(Mark(x=0, text=""),),
    )


def _predicted_true(y: Floats, predictions: Predictions) -> Figure:
    series = []
    for name, prediction in predictions.items():
        parts = [part for part in np.array_split(np.argsort(prediction, kind="stable"), 2 * BINS) if len(part)]
        low, high = np.array([np.quantile(y[part], [0.1, 0.9]) for part in parts]).T
        means = [_told([values[part].mean() for part in parts]) for values in (prediction, y)]
        series.append(Series(name=name, x=means[0], y=means[1], low=_told(low), high=_told(high)))
    return Figure(
        name="predicted_true",
        title="Predicted and true",
        text="Twenty bins of equally many rows, by prediction: the mean truth, and between which values 80 % of it lie.",
        x_label="predicted",
        y_label="true",
        style="points",
        series=tuple(series),
        diagonal="true as predicted",
    )


def _reached(positive: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    """Return the negative and positive rows at or above each distinct score, from none to all."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    true = np.cumsum(positive[order])[ends]
    return np.append(0.0, ends + 1 - true), np.append(0.0, true)


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return about as many points of a rising curve as are worth drawing, the first and last with them."""
    at = np.unique(np.searchsorted(x + y, np.linspace(0, 2, POINTS + 1)).clip(max=len(x) - 1))
    return x[at], y[at]


def _each(values: Predictions, curve: Callable[[Floats], tuple[Any, Any]]) -> tuple[Series, ...]:
    drawn = {name: curve(each) for name, each in values.items()}
    return tuple(Series(name=name, x=_told(x), y=_told(y)) for name, (x, y) in drawn.items())


def _range(sizes: NDArray[np.int64]) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return str(low) if low == high else f"{low}-{high}"


def _told(values: Sequence[float] | Floats | range) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
