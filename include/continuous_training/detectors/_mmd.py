"""Mean random Fourier features of two tables, and how far apart chance alone brings them."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from scipy.special import chdtrc

from continuous_training.core.task import Features
from continuous_training.detectors import _joint
from continuous_training.detectors._columns import Distance, Floats
from continuous_training.detectors._joint import Table
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.mmd import MMD

_FAR = 5.0  # spreads from the median beyond which a number is no farther away
_AXES = 1024  # categories of a column that have an axis of their own
_SAMPLE = 500  # rows whose distances give the width of the kernel
_BLOCK = 8192
_SAME = 1e-9  # squared distance of the means that single precision may make up


def fit(detector: MMD, reference: pd.DataFrame, features: Features) -> Prepared:
    """Return how rows are read, the width of the kernel, and mean and covariance of the reference's features."""
    prepared, table = _joint.fit(detector, reference, features)
    prepared |= _scales(table.numbers)
    prepared["width"] = np.array(_width(table.sample(_SAMPLE), prepared))
    if not len(table.numbers):
        return prepared
    mean, covariance = _moments(detector, prepared, table)
    return prepared | {"mean": mean, "covariance": covariance}


def measure(detector: MMD, prepared: Prepared, table: Table) -> Distance:
    """Return the distance of the mean features, and how likely chance alone brings it about."""
    mean, covariance = _moments(detector, prepared, table)
    square = float(((mean - prepared["mean"]) ** 2).sum())
    chance = prepared["covariance"] / int(prepared["rows"]) + covariance / len(table.numbers)
    effect = math.sqrt(max(0.0, square - float(np.trace(chance))))
    return Distance(math.sqrt(square), _tail(square, np.linalg.eigvalsh(chance)), effect)


def _tail(square: float, weights: Floats) -> float:
    """Return the probability that the sum of chi-squares with these weights is `square` or more."""
    weights = np.maximum(weights, 0)
    first, second, third = (float((weights**power).sum()) for power in (1, 2, 3))
    if third <= 0:  # all rows of both sides are the same
        return float(square <= _SAME)
    freedom = second**3 / third**2
    place = (square - first) / math.sqrt(2 * second) * math.sqrt(2 * freedom) + freedom
    return float(chdtrc(freedom, max(place, 0.0)))


def _scales(numbers: Floats) -> Prepared:
    """Return the median and the spread of each column: by the middle half of its rows, or all where that is a point."""
    centre, spread = np.zeros(numbers.shape[1]), np.ones(numbers.shape[1])
    for i, column in enumerate(numbers.T):
        values = column[~np.isnan(column)]
        with np.errstate(over="ignore", invalid="ignore"):
            low, centre[i], high = np.quantile(values, [0.25, 0.5, 0.75], method="inverted_cdf")
            options = [(high - low) / 1.349, values.std()]
        spread[i] = next((option for option in options if 0 < option < math.inf), 1.0)
    return {"centre": centre, "spread": spread}


def _scaled(numbers: Floats, prepared: Prepared) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.clip((numbers - prepared["centre"]) / prepared["spread"], -_FAR, _FAR)
    return np.nan_to_num(scaled, copy=False)


def _width(table: Table, prepared: Prepared) -> float:
    """Return the median distance of two rows, where categories that differ are the root of 2 apart."""
    if len(table.numbers) < 2:  # noqa: PLR2004 - a pair
        return 1.0
    squares = np.zeros(len(table.numbers) * (len(table.numbers) - 1) // 2)
    if table.numbers.shape[1]:
        squares += pdist(_scaled(table.numbers, prepared), "sqeuclidean")
    if table.codes.shape[1]:
        squares += 2 * table.codes.shape[1] * pdist(table.codes, "hamming")
    return math.sqrt(float(np.median(squares)) or float(squares.mean()) or 1.0)


def _moments(detector: MMD, prepared: Prepared, table: Table) -> tuple[Floats, Floats]:
    """Return mean and covariance of the random Fourier features."""
    size = 2 * detector.frequencies
    total, products = np.zeros(size), np.zeros((size, size))
    for features in _features(detector, prepared, table):
        total += features.sum(axis=0, dtype=np.float64)
        products += features.T @ features
    rows = len(table.numbers)
    mean = total / rows
    return mean, products / rows - np.outer(mean, mean)


def _features(detector: MMD, prepared: Prepared, table: Table) -> Iterator[NDArray[np.float32]]:
    """Give the features of a block of rows after the other: cosine and sine at each frequency."""
    rng = np.random.default_rng(detector.seed)
    width, shape = float(prepared["width"]), detector.frequencies
    slopes = (rng.normal(size=(table.numbers.shape[1], shape)) / width).astype(np.float32)
    # a category is an axis, so its part of the phase is one draw; the last row is for a missing one
    axes = [
        np.vstack([rng.normal(size=(min(size + 1, _AXES), shape)) / width, np.zeros((1, shape))])
        for size in table.sizes
    ]
    axes = [draws.astype(np.float32) for draws in axes]
    for start in range(0, len(table.numbers), _BLOCK):
        block = table.take(slice(start, start + _BLOCK))
        phase = _scaled(block.numbers, prepared).astype(np.float32) @ slopes
        for codes, draws in zip(block.codes.T, axes, strict=True):
            phase += draws[np.where(codes < 0, len(draws) - 1, codes % (len(draws) - 1))]
        yield np.hstack([np.cos(phase), np.sin(phase)]) / np.float32(math.sqrt(shape))
