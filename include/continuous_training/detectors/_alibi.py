"""The tests of alibi-detect, each column by itself."""

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# alibi-detect imports transformers, which tells standard error that it found no deep learning library
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from alibi_detect.cd import ChiSquareDrift, CVMDrift, FETDrift, KSDrift, TabularDrift

from continuous_training.detectors import _chi_square
from continuous_training.detectors._chi_square import cramers_v
from continuous_training.detectors._columns import Counts, Distance, Floats
from continuous_training.detectors.base import Prepared

_BINARY = 2


def ks(part: Prepared, values: Floats) -> Distance:
    """Return what `KSDrift` says of a numeric column."""
    statistic, p_value = _predict(KSDrift, part["values"], values)
    return Distance(statistic, p_value, statistic)


def chi_square(table: Counts) -> Distance:
    """Return what `ChiSquareDrift` says of a categorical column."""
    statistic, p_value = _predict(ChiSquareDrift, *_codes(table))
    return Distance(statistic, p_value, cramers_v(statistic, table))


def cvm(part: Prepared, values: Floats) -> Distance:
    """Return what `CVMDrift` says of a numeric column."""
    statistic, p_value = _predict(CVMDrift, part["values"], values)
    rows = part["values"].size, values.size
    return Distance(statistic, p_value, math.sqrt(statistic * sum(rows) / math.prod(rows)))


def fet(table: Counts) -> Distance:
    """Return what `FETDrift` says of a column with two categories."""
    if table.shape[1] > _BINARY:
        return Distance(note=f"the column has {table.shape[1]} categories; Fisher's exact test takes two")
    odds, p_value = _predict(FETDrift, *_codes(table), alternative="two-sided")
    effect = _chi_square.measure(table, continuity=False).effect
    return Distance(odds if math.isfinite(odds) else None, min(1.0, p_value), effect)


def tabular_numbers(part: Prepared, values: Floats) -> Distance:
    """Return what `TabularDrift` says of a numeric column."""
    statistic, p_value = _predict(TabularDrift, part["values"], values, categories_per_feature={})
    return Distance(statistic, p_value, statistic)


def tabular_table(table: Counts) -> Distance:
    """Return what `TabularDrift` says of a categorical column."""
    statistic, p_value = _predict(TabularDrift, *_codes(table), categories_per_feature={0: None})
    return Distance(statistic, p_value, cramers_v(statistic, table))


def _predict(
    build: Callable[..., Any], reference: NDArray[Any], current: NDArray[Any], **options: Any
) -> tuple[float, float]:
    result = build(reference[:, np.newaxis], **options).predict(current[:, np.newaxis], drift_type="feature")["data"]
    return float(result["distance"][0]), float(result["p_val"][0])


def _codes(table: Counts) -> tuple[Counts, Counts]:
    codes = np.arange(table.shape[1])
    return np.repeat(codes, table[0]), np.repeat(codes, table[1])
