"""The built-in metrics of a model's quality, by name. What they compute lives where the heavy libraries are."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, get_args

from pydantic import Field

from continuous_training.core.task import TaskKind

ClassificationMetric = Literal["roc_auc", "average_precision", "log_loss", "brier", "accuracy", "f1"]
RegressionMetric = Literal["rmse", "mae", "r2"]
RankingMetric = Literal["ndcg_at_10", "recall_at_10"]
MetricName = Literal[ClassificationMetric, RegressionMetric, RankingMetric]

METRICS: Mapping[TaskKind, tuple[MetricName, ...]] = MappingProxyType(
    {
        "classification": get_args(ClassificationMetric),
        "regression": get_args(RegressionMetric),
        "ranking": get_args(RankingMetric),
    }
)
"""The metrics that fit each kind of task."""

ESTIMATED: tuple[MetricName, ...] = (*get_args(ClassificationMetric), *get_args(RegressionMetric))
"""The metrics that can be estimated before labels are known."""

GREATER_IS_BETTER: Mapping[MetricName, bool] = MappingProxyType(
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
        "ndcg_at_10": True,
        "recall_at_10": True,
    }
)

MetricReference = Annotated[str, Field(examples=list(GREATER_IS_BETTER))]
"""The name of a metric, built in or declared by the model file: which there are is known to the whole file only."""
