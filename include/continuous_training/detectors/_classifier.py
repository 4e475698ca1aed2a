"""How well LightGBM tells two samples apart."""

import math

import lightgbm
import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from continuous_training.core.task import Features
from continuous_training.detectors import _joint
from continuous_training.detectors._columns import Distance, Floats
from continuous_training.detectors._joint import Table
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.classifier import Classifier


def fit(detector: Classifier, reference: pd.DataFrame, features: Features) -> Prepared:
    """Return how rows are read, and a sample of them."""
    prepared, table = _joint.fit(detector, reference, features)
    return prepared | {"sample": table.sample(detector.sample).matrix()}


def measure(detector: Classifier, prepared: Prepared, table: Table) -> Distance:
    """Return the area under the curve over both halves, and its p-value against telling nothing apart."""
    sides = prepared["sample"], table.sample(detector.sample).matrix()
    rows = np.vstack(sides)
    current = np.repeat([0, 1], [len(side) for side in sides])
    half = np.concatenate([np.arange(len(side)) % 2 for side in sides])
    kinds = list(range(table.numbers.shape[1], rows.shape[1]))
    areas, deviations = [], []
    for held_out in (0, 1):
        fitted, judged = half != held_out, half == held_out
        data = lightgbm.Dataset(rows[fitted], current[fitted], categorical_feature=kinds)
        ranking = lightgbm.train(_parameters(detector), data, detector.trees).predict(rows[judged])
        area, error = _area(np.asarray(ranking), current[judged] == 1)
        areas.append(area)
        deviations.append((area - 0.5) / error)
    area = sum(areas) / 2
    # the two halves find the same accidents in each other, so their mean may vary as much as one of them
    return Distance(area, float(norm.sf(sum(deviations) / 2)), 2 * area - 1)


def _area(ranking: Floats, current: Floats) -> tuple[float, float]:
    """Return the area under the ROC curve, and its standard error where there is nothing to tell apart."""
    ones, zeros = np.count_nonzero(current), np.count_nonzero(~current)
    area = (rankdata(ranking)[current].sum() - ones * (ones + 1) / 2) / (ones * zeros)
    return float(area), math.sqrt((ones + zeros + 1) / (12 * ones * zeros))


def _parameters(detector: Classifier) -> dict[str, object]:
    return {
        "objective": "binary",
        "num_leaves": 15,
        "seed": detector.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
