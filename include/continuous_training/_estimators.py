"""Learn on reference rows how predictions and labels belong together, and from it how good predictions alone are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from continuous_training import _performance
from continuous_training._estimators_expected import QUESTIONS, Belief, Expected, asked, expected
from continuous_training._performance import Floats, Truth
from continuous_training.core.errors import ArtefactCorrupt, UsageError
from continuous_training.core.quality import METRICS, MetricName
from continuous_training.core.scores import Estimate
from continuous_training.core.task import TaskKind

Prepared = dict[str, NDArray[Any]]

_FOLDS = 5
_BINS = 20
_FEWEST_OF_CHUNK = 50
_SIZES = 6
_LARGEST = 1e70  # the fourth power of an error must still be a number
_ROUNDS = 50
_TREES = {
    "objective": "regression", "learning_rate": 0.1, "num_leaves": 15, "feature_pre_filter": False, "deterministic": True,
    "force_row_wise": True, "num_threads": 1, "verbosity": -1,
}  # fmt: skip
_END = "\npandas_categorical:null\n"  # half a model's text makes LightGBM end the process
_BOUNDS: dict[MetricName, tuple[float, float]] = {
    "log_loss": (0, np.inf), "brier": (0, np.inf), "mae": (0, np.inf), "rmse": (0, np.inf), "r2": (-np.inf, 1),
}  # fmt: skip


def fit(
    x: Floats, y: Floats, prediction: Floats, kind: TaskKind, metrics: Sequence[MetricName], *, fewest: int, seed: int
) -> Prepared:
    """Return what `estimate` needs to know of the reference rows."""
    x, prediction = _checked(kind, x, prediction)
    y = np.asarray(y, dtype=np.float64)
    if y.shape != (len(prediction),):
        msg = f"labels of shape {y.shape} do not belong to {len(prediction)} predictions; a retry gives the same"
        raise UsageError(msg)
    usable = np.isfinite(y) & _finite(prediction)
    if kind == "regression":
        with np.errstate(over="ignore", invalid="ignore"):
            usable &= (np.abs(y - prediction) < _LARGEST) & (np.abs(prediction) < _LARGEST)
    x, y, prediction = x[usable], y[usable], prediction[usable]
    prepared: Prepared = {
        "kind": np.array(kind),
        "columns": np.array(_columns(x, prediction)),
        "rows": np.array(len(y)),
    }
    problem = _unfit(y, kind, fewest)
    if problem:
        return {**prepared, "note": np.array(problem)}
    prepared["sizes"] = np.array(_sizes(len(y)))
    wanted = [metric for metric in dict.fromkeys(metrics) if metric in METRICS[kind] and metric in QUESTIONS]
    for question in dict.fromkeys(QUESTIONS[metric] for metric in wanted):
        learned = _learn(question, x, y, prediction, seed)
        own = _believe(question, learned, x, prediction)
        others = _out_of_fold(question, x, y, prediction, seed)
        prepared |= learned
        for metric in wanted:
            if QUESTIONS[metric] == question:
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                    prepared |= _calibrated(metric, y, own, others)
    return prepared


def estimate(
    prepared: Prepared, x: Floats, prediction: Floats, metric: MetricName, *, fewest: int, confidence: float
) -> Estimate:
    """Return the metric expected of these rows, with the band in which the realised value should lie."""
    kind: TaskKind = str(prepared["kind"])  # type: ignore[assignment]
    x, prediction = _checked(kind, x, prediction)
    if prepared["columns"].tolist() != _columns(x, prediction):
        msg = (
            f"the estimator was made for (features, classes) {prepared['columns'].tolist()}, the rows have "
            f"{_columns(x, prediction)}; give it the rows of the same model; a retry gives the same"
        )
        raise UsageError(msg)
    rows = len(prediction)
    note = _cannot(prepared, prediction, metric, fewest)
    if note:
        return Estimate(metric=metric, rows=rows, note=note)
    with np.errstate(over="ignore", invalid="ignore"):
        found = expected(metric, _believe(QUESTIONS[metric], prepared, x, prediction))
        value = found.value + float(prepared[f"{metric}_offset"])
        error = float(np.sqrt(_spread_at(prepared, metric, rows) * (found.noise + _doubt(found, prepared, metric))))
    if not np.isfinite([value, error]).all():
        return Estimate(metric=metric, rows=rows, note=_not_defined(metric, kind, rows))
    reach = float(stats.norm.ppf((1 + confidence) / 2)) * error
    lowest, highest = _BOUNDS.get(metric, (0, 1))
    value, low, high = np.clip([value, value - reach, value + reach], lowest, highest)
    return Estimate(metric=metric, value=float(value), low=float(low), high=float(high), rows=rows)


def _checked(kind: TaskKind, x: Floats, prediction: Floats) -> tuple[Floats, Floats]:
    x, prediction = np.asarray(x, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    dimensions = 2 if kind == "classification" else 1
    if x.ndim != 2 or prediction.ndim != dimensions or len(x) != len(prediction):  # noqa: PLR2004
        wanted = "class probabilities (rows, classes)" if kind == "classification" else "values (rows,)"
        msg = (
            f"performance cannot be estimated from features of shape {x.shape} and predictions of shape "
            f"{prediction.shape}; it needs features (rows, features) and {wanted}; a retry gives the same"
        )
        raise UsageError(msg)
    return x, prediction


def _columns(x: Floats, prediction: Floats) -> list[int]:
    return [x.shape[1], prediction.shape[1] if prediction.ndim > 1 else 0]


def _finite(prediction: Floats) -> NDArray[np.bool_]:
    finite = np.isfinite(prediction)
    return np.asarray(finite.all(axis=1) if prediction.ndim > 1 else finite)


def _unfit(y: Floats, kind: TaskKind, fewest: int) -> str:
    if kind == "ranking":
        return "the quality of a ranking is not estimated without labels"
    if len(y) < fewest:
        return f"the reference has {len(y)} rows with a label and a prediction, at least {fewest} are needed"
    if kind == "classification" and (y == y[0]).all():
        return f"only one class occurs in the {len(y)} labelled rows of the reference"
    return ""


def _cannot(prepared: Prepared, prediction: Floats, metric: MetricName, fewest: int) -> str:
    rows, wrong = len(prediction), len(prediction) - int(_finite(prediction).sum())
    if "note" in prepared:
        return str(prepared["note"])
    if metric not in METRICS[str(prepared["kind"])] or metric not in QUESTIONS:  # type: ignore[index]
        return f"{metric} is not estimated without labels"
    if f"{metric}_offset" not in prepared:
        msg = f"the estimator was not made for {metric}; name it under metrics when fitting; a retry gives the same"
        raise UsageError(msg)
    if rows < fewest:
        return f"{rows} rows are too few for an estimate, which needs {fewest}"
    if wrong:
        return f"the prediction is not a finite number in {wrong} of {rows} rows"
    if np.isnan(prepared[f"{metric}_spread"]).any():
        return f"{metric} is not defined on the {prepared['rows']} rows of the reference"
    return ""


def _not_defined(metric: MetricName, kind: TaskKind, rows: int) -> str:
    if kind == "classification":
        return f"{metric} is not defined: of {rows} rows, fewer than one of some class is expected"
    return f"{metric} is not a finite number in {rows} rows"


def _learn(question: str, x: Floats, y: Floats, prediction: Floats, seed: int) -> Prepared:
    if question == "class":
        return _calibration(y, prediction)
    error = y - prediction
    loss = np.abs(error) if question == "absolute" else error**2
    settings = _TREES | {"seed": seed % 2**31, "min_data_in_leaf": max(20, len(y) // 400)}
    scale = float(loss.mean()) or 1.0  # LightGBM keeps labels in 32 bits
    data = lgb.Dataset(np.column_stack([x, prediction]), loss / scale)
    text = lgb.train(settings, data, _ROUNDS).model_to_string()
    model = np.frombuffer(text.encode(), dtype=np.uint8)
    return {question: model, f"{question}_scale": np.array(scale), "tilt": _tilt(prediction, error)}


def _tilt(prediction: Floats, error: Floats) -> Floats:
    """Return level and slope of the signed error along the prediction."""
    centred = prediction - prediction.mean()
    squares = float(centred @ centred)
    slope = float(centred @ error) / squares if squares > 0 else 0.0
    return np.array([error.mean() - slope * prediction.mean(), slope])


def _calibration(y: Floats, prediction: Floats) -> Prepared:
    """Return, for each class against the rest, at which scores which share of the rows is of the class."""
    learned: Prepared = {}
    rarest = 0.5 / (len(y) + 1)  # what no row of the reference showed may still happen
    for number in asked(prediction.shape[1]):
        regression = IsotonicRegression(y_min=rarest, y_max=1 - rarest).fit(prediction[:, number], y == number)
        learned[f"score_{number}"], learned[f"share_{number}"] = regression.X_thresholds_, regression.y_thresholds_
    return learned


def _believe(question: str, learned: Prepared, x: Floats, prediction: Floats) -> Belief:
    if question != "class":
        relative = _booster(learned[question]).predict(np.column_stack([x, prediction]))
        loss = learned[f"{question}_scale"] * np.maximum(relative, 0.0)
        level, slope = learned["tilt"]
        return Belief(prediction, np.column_stack([loss, level + slope * prediction]))
    shares = [
        np.interp(prediction[:, number], learned[f"score_{number}"], learned[f"share_{number}"])
        for number in asked(prediction.shape[1])
    ]
    if len(shares) == 1:
        return Belief(prediction, np.column_stack([1 - shares[0], shares[0]]))
    likely = np.column_stack(shares)
    return Belief(prediction, likely / likely.sum(axis=1, keepdims=True))


def _booster(text: NDArray[np.uint8]) -> lgb.Booster:
    decoded = text.tobytes().decode(errors="replace")
    if not (decoded.startswith("tree\n") and decoded.endswith(_END)):
        msg = "the estimator holds no whole LightGBM model; fit it again; a retry reads the same bytes"
        raise ArtefactCorrupt(msg)
    return lgb.Booster(model_str=decoded)


def _out_of_fold(question: str, x: Floats, y: Floats, prediction: Floats, seed: int) -> Belief:
    """Return what is believed of each fifth of the rows, in event-time order, by what the others taught."""
    edges = np.linspace(0, len(y), _FOLDS + 1).astype(np.intp)
    parts = []
    for first, end in pairwise(edges):
        rest = np.r_[0:first, end : len(y)]
        learned = _learn(question, x[rest], y[rest], prediction[rest], seed)
        parts.append(_believe(question, learned, x[first:end], prediction[first:end]))
    return Belief(prediction, np.concatenate([part.likely for part in parts]))


def _calibrated(metric: MetricName, y: Floats, own: Belief, others: Belief) -> Prepared:
    """Return by how much the expected value is off on the reference, what its beliefs rest on, and how it spreads."""
    found = expected(metric, own)
    quantiles = np.arange(1, _BINS) / _BINS
    edges = np.quantile(found.seen, quantiles, axis=0).T
    doubts = [
        np.bincount(bins, variances, _BINS) / np.maximum(np.bincount(bins, minlength=_BINS), 1) ** 2
        for bins, variances in zip(_bins(found.seen, edges), found.variances.T, strict=True)
    ]
    part = {
        f"{metric}_offset": np.array(_realised(metric, y, own.prediction) - found.value),
        f"{metric}_edges": edges,
        f"{metric}_doubts": np.array(doubts),
    }
    return part | {f"{metric}_spread": np.array(_spreads(metric, y, others, part))}


def _realised(metric: MetricName, y: Floats, prediction: Floats) -> float:
    return _performance.statistic(metric, Truth(y), prediction)(np.ones(len(y)))


def _bins(seen: Floats, edges: Floats) -> Iterator[NDArray[np.intp]]:
    return (np.searchsorted(inner, column, side="right") for column, inner in zip(seen.T, edges, strict=True))


def _doubt(found: Expected, prepared: Prepared, metric: MetricName) -> float:
    """Return the variance that comes of the reference: large where the rows lie where it had few."""
    edges, doubts = prepared[f"{metric}_edges"], prepared[f"{metric}_doubts"]
    leanings = [
        np.bincount(bins, slopes, _BINS) for bins, slopes in zip(_bins(found.seen, edges), found.slopes.T, strict=True)
    ]
    return float(np.sum(np.array(leanings) ** 2 * doubts))


def _sizes(rows: int) -> list[int]:
    largest = rows // _FOLDS
    sizes = [largest >> halvings for halvings in range(_SIZES)]
    return [size for size in sizes if size >= min(_FEWEST_OF_CHUNK, largest)][::-1]


def _spreads(metric: MetricName, y: Floats, belief: Belief, part: Prepared) -> list[float]:
    """Return for each size of chunk how many times further than expected the realised values lie, squared.

    Above 1 where the labels of neighbouring rows are alike; larger chunks see more of that, so it never falls. Classes
    drawn by their probabilities lie no nearer than that; for errors nothing says how they are drawn.
    """
    offset, spreads, least = float(part[f"{metric}_offset"]), [], 1.0 if belief.prediction.ndim > 1 else 0.0
    for size in _sizes(len(y)):
        errors, variances = [], []
        for start in range(0, len(y) - size + 1, max(size // 2, 1)):
            rows = slice(start, start + size)
            found = expected(metric, belief.at(rows))
            errors.append(_realised(metric, y[rows], belief.prediction[rows]) - found.value - offset)
            variances.append(found.noise + _doubt(found, part, metric))
        defined = np.isfinite(errors) & np.isfinite(variances)
        total = float(np.sum(np.array(variances)[defined]))
        if defined.any():
            least = max(least, float(np.sum(np.array(errors)[defined] ** 2)) / total if total > 0 else 1.0)
        spreads.append(least if defined.any() else np.nan)
    return spreads


def _spread_at(prepared: Prepared, metric: MetricName, rows: int) -> float:
    return float(np.interp(np.log(rows), np.log(prepared["sizes"]), prepared[f"{metric}_spread"]))
