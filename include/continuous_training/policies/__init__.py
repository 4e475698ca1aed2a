"""Pure decisions: evidence and history in, a decision out. The union is what a model file's `retraining` is read as."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from continuous_training.policies.net_value import NetValue
from continuous_training.policies.regret import RegretPolicy
from continuous_training.policies.signals import SignalPolicy

_OF_SIGNALS = frozenset(SignalPolicy.model_fields) - frozenset(RegretPolicy.model_fields)


def _with_kind(value: Any) -> Any:
    """Add the kind where a model file leaves it out: `signals` when it uses one of their settings, else `regret`."""
    if not isinstance(value, dict) or "kind" in value:
        return value
    return {"kind": "signals" if _OF_SIGNALS & value.keys() else "regret", **value}


AnyRetrainingPolicy = Annotated[
    Annotated[RegretPolicy | SignalPolicy | NetValue, Field(discriminator="kind")], BeforeValidator(_with_kind)
]

__all__ = ["AnyRetrainingPolicy", "NetValue", "RegretPolicy", "SignalPolicy"]
