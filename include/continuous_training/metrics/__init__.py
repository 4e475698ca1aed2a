"""Metrics: those built in, by name, and one class per kind that a model file's `metrics` may declare."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, get_args

from pydantic import Field

from continuous_training.core.quality import GREATER_IS_BETTER
from continuous_training.metrics.base import Declared, Metric
from continuous_training.metrics.built_in import BuiltIn
from continuous_training.metrics.cost import Cost
from continuous_training.metrics.f_beta import FBeta
from continuous_training.metrics.precision_at import PrecisionAt
from continuous_training.metrics.quantile_loss import QuantileLoss
from continuous_training.metrics.recall_at import RecallAt
from continuous_training.metrics.within import Within

AnyMetric = Annotated[
    Cost | FBeta | PrecisionAt | RecallAt | QuantileLoss | Within,
    Field(discriminator="kind"),
]
KINDS: tuple[type[Declared], ...] = get_args(get_args(AnyMetric)[0])
BUILT_IN: Mapping[str, Metric] = MappingProxyType({name: BuiltIn(name=name) for name in GREATER_IS_BETTER})
"""The metrics that no model file has to declare, by name."""

__all__ = [
    "BUILT_IN",
    "KINDS",
    "AnyMetric",
    "BuiltIn",
    "Cost",
    "FBeta",
    "Metric",
    "PrecisionAt",
    "QuantileLoss",
    "RecallAt",
    "Within",
]
