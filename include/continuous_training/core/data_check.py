"""What a data check asks of rows, and what it found."""

from typing import Any, Self

from pydantic import ConfigDict, Field, model_serializer, model_validator

from continuous_training.core.decisions import Outcome
from continuous_training.core.frozen import Frozen


def _one_key(schema: dict[str, Any]) -> None:
    """Replace the schema of the fields by that of how they are written."""
    schema.clear()
    schema |= {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": {"type": ["object", "null"]},
    }


class Expectation(Frozen):
    """One Great Expectations expectation by its name, written `{name: {argument: value}}`.

    >>> Expectation.model_validate({"expect_column_to_exist": {"column": "carrier"}}).name
    'expect_column_to_exist'
    """

    name: str = Field(min_length=1, description="Name of the expectation, as Great Expectations writes it.")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the expectation, under its own names."
    )

    model_config = ConfigDict(json_schema_extra=_one_key)

    @model_validator(mode="before")
    @classmethod
    def _from_mapping(cls, value: Any) -> Any:
        if not isinstance(value, dict) or len(value) != 1:
            msg = "write one expectation and its arguments, for example '- expect_column_values_to_not_be_null: {column: carrier}'"
            raise ValueError(msg)
        ((name, arguments),) = value.items()
        if not isinstance(arguments, dict | None):
            msg = f"{name} takes its arguments by name, for example '{{column: carrier}}'"
            raise ValueError(msg)  # noqa: TRY004 - pydantic turns a ValueError, not a TypeError, into its own error
        return {"name": name, "arguments": arguments or {}}

    @model_serializer
    def _to_mapping(self) -> dict[str, Any]:
        return {self.name: self.arguments}


class Suite(Frozen):
    """The expectations of one model."""

    critical: tuple[Expectation, ...] = Field(
        (), description="A failure stops the run before training; the champion keeps serving."
    )
    warning: tuple[Expectation, ...] = Field((), description="A failure is recorded and the run goes on.")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.critical and not self.warning:
            msg = "name at least one expectation under critical or warning"
            raise ValueError(msg)
        return self


class FailedExpectation(Frozen):
    """One expectation that the rows do not meet, or that could not be evaluated on them."""

    name: str
    column: str | None = Field(
        None, description="Column or columns it speaks of; none when it speaks of the whole window."
    )
    text: str = Field(max_length=500, description="What was observed and what is allowed, with numbers.")


class DataCheck(Frozen):
    """The result of a suite on one window.

    An expectation that could not be evaluated counts as a critical failure wherever it stands in the suite: a check that
    cannot look has not passed.

    >>> DataCheck(evaluated=3).outcome.value
    'pass'
    """

    evaluated: int = Field(ge=1, description="Expectations in the suite.")
    critical_failed: tuple[FailedExpectation, ...] = ()
    warnings: tuple[FailedExpectation, ...] = ()

    @property
    def success(self) -> bool:
        """Tell whether the run may go on."""
        return not self.critical_failed

    @property
    def outcome(self) -> Outcome:
        """Return pass or fail; a check is never inconclusive."""
        return Outcome.PASS if self.success else Outcome.FAIL
