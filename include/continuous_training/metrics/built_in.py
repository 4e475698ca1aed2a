"""The metrics that every model file knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.core.quality import GREATER_IS_BETTER, METRICS, MetricName
from continuous_training.metrics.base import Metric

if TYPE_CHECKING:
    from continuous_training._performance import Floats, Statistic, Truth
    from continuous_training.core.task import TaskKind

_UNDEFINED: dict[MetricName, str] = {
    "roc_auc": "only one class occurs in {rows} rows",
    "average_precision": "only one class occurs in {rows} rows",
    "f1": "neither a label nor a prediction is the second class in {rows} rows",
    "r2": "the label is the same in all of {rows} rows",
    "ndcg_at_10": "no group of {rows} rows has a relevant one",
    "recall_at_10": "no group of {rows} rows has a relevant one",
}


class BuiltIn(Metric):
    """Look up a metric by its name.

    >>> BuiltIn(name="rmse").task_kind, BuiltIn(name="rmse").greater_is_better
    ('regression', False)
    """

    name: MetricName

    @property
    def task_kind(self) -> TaskKind:
        """Return the kind of task whose predictions can be measured."""
        return next(kind for kind, names in METRICS.items() if self.name in names)

    @property
    def greater_is_better(self) -> bool:
        """Tell whether of two values the greater is the better one."""
        return GREATER_IS_BETTER[self.name]

    def statistic(self, truth: Truth, prediction: Floats) -> Statistic:
        """Return the metric as a function of weights."""
        from continuous_training import _performance

        return _performance.statistic(self.name, truth, prediction)

    def undefined(self, prediction: Floats) -> str:  # noqa: ARG002
        """Return why there is no value."""
        return _UNDEFINED.get(self.name, "not a finite number in {rows} rows")
