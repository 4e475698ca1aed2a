"""Pure decisions: evidence and history in, a decision out. The union is what a model file's `retraining` is read as."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from continuous_training.policies.net_value import NetValue
from continuous_training.policies.regret import RegretPolicy
from continuous_training.policies.signals import SignalPolicy


def _with_kind(value: Any) -> Any:
    """Add the kind where a model file leaves it out: `signals`."""
    return {"kind": "signals", **value} if isinstance(value, dict) else value


AnyRetrainingPolicy = Annotated[
    Annotated[RegretPolicy | SignalPolicy | NetValue, Field(discriminator="kind")], BeforeValidator(_with_kind)
]

__all__ = ["AnyRetrainingPolicy", "NetValue", "RegretPolicy", "SignalPolicy"]
