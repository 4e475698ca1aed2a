"""The base of every value and every configuration object."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Refuse unknown fields, non-finite numbers and mutation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
