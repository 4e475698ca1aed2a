"""The metrics of a model's quality, by name. What they compute lives where the heavy libraries are."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

ClassificationMetric = Literal["roc_auc", "average_precision", "log_loss", "brier", "accuracy", "f1"]
RegressionMetric = Literal["rmse", "mae", "r2"]
Metric = Literal[ClassificationMetric, RegressionMetric]

METRICS: Mapping[Literal["classification", "regression"], tuple[Metric, ...]] = MappingProxyType(
    {"classification": get_args(ClassificationMetric), "regression": get_args(RegressionMetric)}
)
"""The metrics that fit each kind of task."""

GREATER_IS_BETTER: Mapping[Metric, bool] = MappingProxyType(
    {
        "roc_auc": True,
        "average_precision": True,
        "log_loss": False,
        "brier": False,
        "accuracy": True,
        "f1": True,
        "rmse": False,
        "mae": False,
        "r2": True,
    }
)
