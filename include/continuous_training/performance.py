"""How good predictions are, with intervals that say how sure that is. Nothing here decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from continuous_training import _performance
from continuous_training._performance import Floats, Truth
from continuous_training.core.comparison import Comparison, SliceComparison
from continuous_training.core.errors import UsageError
from continuous_training.core.scores import Estimate
from continuous_training.core.task import TaskKind
from continuous_training.metrics import BUILT_IN, Metric

__all__ = ["compare", "estimate", "row_errors", "row_losses"]

FEWEST_ROWS = 20
"""With fewer rows, or groups in ranking, there is a value but no interval."""
MOST_SLICES = 50
"""Values of one slicing column that are compared, the most frequent first."""
_DEFINED_SHARE = 0.5
_LEAST_PROBABILITY = 1e-6  # one row that a model was sure of and got wrong must not decide a window alone

_NDCG = BUILT_IN["ndcg_at_10"]


@dataclass(frozen=True)
class _Sampling:
    confidence: float
    resamples: int
    seed: int


def estimate(
    metric: Metric,
    y: Floats,
    prediction: Floats,
    *,
    groups: NDArray[Any] | None = None,
    confidence: float,
    resamples: int,
    seed: int,
) -> Estimate:
    """Measure `metric` on the rows whose label is known, with a moving-block bootstrap interval.

    With more than two classes `roc_auc`, `average_precision` and `f1` are the mean over the classes that occur. The metrics
    of a ranking are the mean over the groups that have a relevant row, and whole groups are resampled. Where the metric is not defined the value is `None` and `note` says why; resamples where it is not are left out and counted there.

    Parameters
    ----------
    y:
        Labels in event-time order, (rows,): class numbers `0..k-1` or values; NaN where the label is not known.
    prediction:
        Class probabilities (rows, k), or values or ranking scores (rows,).
    groups:
        Group of each row, (rows,), as the metrics of a ranking need it; rows without one are left out.
    confidence:
        Share of such intervals that hold the true value, for example 0.95.
    resamples, seed:
        Bootstrap resamples, of whose percentiles the interval is made; the same seed gives the same interval.

    Raises
    ------
    UsageError
        The shapes do not fit each other or the metric; a retry gives the same.

    References
    ----------
    Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of Statistics 17, 1989.

    Examples
    --------
    >>> y = np.array([0.0, 1.0] * 50)
    >>> prediction = np.column_stack([1 - y, y])
    >>> found = estimate(BUILT_IN["accuracy"], y, prediction, confidence=0.95, resamples=100, seed=7)
    >>> found.value, found.low, found.high, found.rows
    (1.0, 1.0, 1.0, 100)
    """
    y, prediction = _checked(metric, y, prediction, groups)
    truth, known = _known(metric, y, groups)
    return _estimates(metric, truth, [prediction[known]], _Sampling(confidence, resamples, seed))[0]


def compare(  # noqa: PLR0913 - each is named at the call
    metric: Metric,
    y: Floats,
    challenger: Floats,
    champion: Floats | None,
    *,
    groups: NDArray[Any] | None = None,
    slices: Mapping[str, NDArray[Any]],
    confidence: float,
    resamples: int,
    seed: int,
    all_metrics: Sequence[Metric],
) -> Comparison:
    """Measure two models on the same rows and the difference between them on the same resamples.

    Pairing takes out of the difference what makes a row hard for both. Shapes, groups, rows without a label, undefined
    values and errors are as in `estimate`.

    Parameters
    ----------
    challenger, champion:
        Predictions of the two models, columns in the same order of classes; `None` when there is no champion.
    slices:
        Column name to its value in each row; each of its 50 most frequent values is compared on its own rows.
    all_metrics:
        Metrics to give both models' values of, without intervals.
    """
    y, challenger = _checked(metric, y, challenger, groups)
    truth, known = _known(metric, y, groups)
    sampling = _Sampling(confidence, resamples, seed)
    new = challenger[known]
    told: dict[str, Any] = {
        "metric": metric.name,
        "greater_is_better": metric.greater_is_better,
        "rows": len(truth.y),
    }
    if champion is None:
        alone = _estimates(metric, truth, [new], sampling)[0]
        return Comparison(**told, challenger=alone, metrics=_values(all_metrics, truth, new))
    old = _checked(metric, y, champion, groups)[1][known]
    of_new, of_old, difference = _estimates(metric, truth, [new, old], sampling)
    return Comparison(
        **told,
        challenger=of_new,
        champion=of_old,
        difference=difference,
        slices=tuple(
            _slices(metric, truth, [new, old], {name: column[known] for name, column in slices.items()}, sampling)
        ),
        negative_flip_rate=_negative_flip_rate(truth.y, new, old),
        metrics=_values(all_metrics, truth, new, old),
    )


def row_errors(y: Floats, prediction: Floats, task_kind: TaskKind, *, groups: NDArray[Any] | None = None) -> Floats:
    """Return how wrong each row's prediction is: 1 minus the probability of the true class, or the absolute residual.

    NaN where the label is not known. In ranking a group errs, not a row: its last labelled row has 1 minus the group's
    NDCG at 10, the others NaN, as do groups without a relevant row.

    >>> row_errors(np.array([0.0, 1.0, np.nan]), np.array([[0.75, 0.25], [0.5, 0.5], [1.0, 0.0]]), "classification")
    array([0.25, 0.5 ,  nan])
    """
    y = np.asarray(y, dtype=np.float64)
    prediction = np.asarray(prediction, dtype=np.float64)
    known = np.isfinite(y)
    errors = np.full(len(y), np.nan)
    if task_kind == "ranking":
        y, prediction = _checked(_NDCG, y, prediction, groups)
        truth, at = _known(_NDCG, y, groups)
        places = _performance.last_of_groups(truth)
        errors[np.flatnonzero(at)[places]] = 1 - _performance.by_group("ndcg_at_10", truth, prediction[at])
        return errors
    if task_kind == "classification":
        errors[known] = 1 - _performance.probability_of_truth(y[known], prediction[known])
    else:
        errors[known] = np.abs(y[known] - prediction[known])
    return errors


def row_losses(y: Floats, prediction: Floats, task_kind: TaskKind, *, groups: NDArray[Any] | None = None) -> Floats:
    """Return what each row's prediction costs, on a scale whose mean rewards honest probabilities and values.

    It is the log loss in classification, the squared error in variances of the known labels in regression, and in ranking
    `row_errors`. NaN where the label is not known.

    >>> row_losses(np.array([0.0, 2.0, np.nan]), np.array([0.0, 1.0, 1.0]), "regression")
    array([ 0.,  1., nan])
    """
    errors = row_errors(y, prediction, task_kind, groups=groups)
    if task_kind == "classification":
        losses: Floats = -np.log(np.maximum(1 - errors, _LEAST_PROBABILITY))
        return losses
    if task_kind == "regression":
        known = np.isfinite(y)
        variance = float(np.var(y[known])) if known.any() else 0.0
        return errors**2 / variance if variance > 0 else np.full(len(y), np.nan)
    return errors


def _known(metric: Metric, y: Floats, groups: NDArray[Any] | None) -> tuple[Truth, NDArray[np.bool_]]:
    """Return the rows that can be measured, and which they are."""
    known = np.isfinite(y)
    if groups is None or metric.task_kind != "ranking":
        return Truth(y[known]), known
    known &= _performance.group_numbers(groups) >= 0
    return Truth(y[known], _performance.group_numbers(groups[known])), known


def _checked(metric: Metric, y: Floats, prediction: Floats, groups: NDArray[Any] | None) -> tuple[Floats, Floats]:
    y = np.asarray(y, dtype=np.float64)
    prediction = np.asarray(prediction, dtype=np.float64)
    dimensions = 2 if metric.task_kind == "classification" else 1
    if y.ndim != 1 or prediction.ndim != dimensions or len(prediction) != len(y):
        wanted = "class probabilities (rows, classes)" if dimensions == 2 else "values (rows,)"  # noqa: PLR2004
        msg = (
            f"{metric.name} cannot be measured on labels of shape {y.shape} and predictions of shape {prediction.shape}; "
            f"it needs labels (rows,) and {wanted}; a retry gives the same"
        )
        raise UsageError(msg)
    if metric.task_kind == "ranking" and (groups is None or np.shape(groups) != y.shape):
        seen = "without groups" if groups is None else f"with groups of shape {np.shape(groups)}"
        msg = f"{metric.name} cannot be measured {seen}; it needs the group of each of {len(y)} rows; a retry gives the same"
        raise UsageError(msg)
    return y, prediction


def _slices(
    metric: Metric, truth: Truth, pair: Sequence[Floats], columns: Mapping[str, NDArray[Any]], sampling: _Sampling
) -> Iterator[SliceComparison]:
    for column, values in columns.items():
        for value, at in _performance.positions_by_value(values, MOST_SLICES):
            difference = _estimates(metric, truth.at(at), [prediction[at] for prediction in pair], sampling)[2]
            yield SliceComparison(column=column, value=value, rows=len(at), difference=difference)


def _estimates(metric: Metric, truth: Truth, predictions: Sequence[Floats], sampling: _Sampling) -> list[Estimate]:
    """Return the estimate for each prediction and, when there are two, for the first minus the second, above 0 better."""
    rows, units = len(truth.y), truth.units
    points = [_point(metric, truth, prediction) for prediction in predictions]
    values = [value for value, _ in points]
    notes = [note for _, note in points]
    if len(predictions) == 2:  # noqa: PLR2004
        values.append(_better_by(metric, values[0], values[1]))
        notes.append(notes[0] or notes[1])
    if units < FEWEST_ROWS or None in values:
        counted = f"{units} rows" if truth.groups is None else f"{units} groups with a relevant row"
        few = f"{counted} are too few for an interval, which needs {FEWEST_ROWS}" if units < FEWEST_ROWS else ""
        return [
            Estimate(metric=metric.name, value=value, rows=rows, note=note or few)
            for value, note in zip(values, notes, strict=True)
        ]
    statistics = [metric.statistic(truth, prediction) for prediction in predictions]
    samples = _performance.bootstrap(statistics, units, sampling.resamples, sampling.seed)
    if len(predictions) == 2:  # noqa: PLR2004
        sign = 1 if metric.greater_is_better else -1
        samples = np.vstack([samples, sign * (samples[0] - samples[1])])
    return [_with_interval(metric, value, row, rows, sampling) for value, row in zip(values, samples, strict=True)]


def _with_interval(metric: Metric, value: float | None, samples: Floats, rows: int, sampling: _Sampling) -> Estimate:
    defined = samples[np.isfinite(samples)]
    left_out = len(samples) - len(defined)
    note = f"not defined in {left_out} of {len(samples)} resamples, which were left out" if left_out else ""
    if len(defined) < _DEFINED_SHARE * len(samples):
        return Estimate(metric=metric.name, value=value, rows=rows, note=f"{note}: too many for an interval")
    tail = (1 - sampling.confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Estimate(metric=metric.name, value=value, low=float(low), high=float(high), rows=rows, note=note)


def _point(metric: Metric, truth: Truth, prediction: Floats) -> tuple[float | None, str]:
    """Return the value on all rows, or `None` and why there is none."""
    rows = len(truth.y)
    if rows == 0:
        return None, "no row has a known label"
    wrong = len(prediction) - int(np.isfinite(prediction.reshape(len(prediction), -1)).all(axis=1).sum())
    if wrong:
        return None, f"the prediction is not a finite number in {wrong} of {rows} rows"
    with np.errstate(over="ignore", invalid="ignore"):
        value = metric.statistic(truth, prediction)(np.ones(truth.units))
    if np.isfinite(value):
        return value, ""
    return None, metric.undefined(prediction).format(rows=rows)


def _values(
    metrics: Sequence[Metric], truth: Truth, challenger: Floats, champion: Floats | None = None
) -> dict[str, tuple[float | None, float | None]]:
    pairs = ((each, _point(each, truth, challenger)[0]) for each in metrics)
    return {each.name: (value, None if champion is None else _point(each, truth, champion)[0]) for each, value in pairs}


def _better_by(metric: Metric, challenger: float | None, champion: float | None) -> float | None:
    if challenger is None or champion is None:
        return None
    return challenger - champion if metric.greater_is_better else champion - challenger


def _negative_flip_rate(y: Floats, challenger: Floats, champion: Floats) -> float | None:
    """Return the share of rows the champion has right and the challenger wrong; `None` for values and without rows.

    Yan et al., "Positive-congruent training: towards regression-free model updates", CVPR 2021.
    """
    if challenger.ndim == 1 or len(y) == 0:
        return None
    return float(np.mean(_performance.hits(y, champion) & ~_performance.hits(y, challenger)))
