"""`ct step`: one step in a process of its own, told by environment variables, answering with small JSON."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from continuous_training.core.errors import UsageError
from continuous_training.core.run import Request, Rollback, Run, StepResult
from continuous_training.deployers.base import Release
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec
from continuous_training.steps import run_step

if TYPE_CHECKING:
    import argparse

Value = TypeVar("Value", bound=BaseModel)


def step(options: argparse.Namespace) -> int:
    """Do the step `options.name` with `CT_SPEC` and `CT_RUN` (`CT_REQUEST` for plan, `CT_ROLLBACK` for rollback); write the result to `CT_RESULT` or standard output.

    With `CT_RELEASE` the step deploy serves that release and asks no ledger.
    """
    settings = Settings.from_environment()
    spec = _value("CT_SPEC", ModelSpec)
    if options.name == "plan":
        from continuous_training.steps.plan import plan

        planned = plan(spec, _value("CT_REQUEST", Request), settings, now=datetime.now(UTC))
        result = StepResult(
            step="plan",
            key=planned.key,
            facts={"run": planned.model_dump(mode="json"), "artefacts": settings.artefacts},
        )
    elif options.name == "rollback":
        from continuous_training.steps.rollback import roll_back

        shown = roll_back(spec, _value("CT_ROLLBACK", Rollback), settings, now=datetime.now(UTC))
        result = StepResult(step="rollback", key=shown.pop("run_key"), facts=shown)
    elif options.name == "deploy" and "CT_RELEASE" in os.environ:
        from continuous_training.steps.deploy import deploy_release

        result = deploy_release(spec, _value("CT_RUN", Run), _value("CT_RELEASE", Release), settings)
    else:
        result = run_step(options.name, spec, _value("CT_RUN", Run), settings)
    text = result.model_dump_json()
    target = os.environ.get("CT_RESULT")
    if target is None:
        sys.stdout.write(text + "\n")
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_text(text)
    return 0


def _value(name: str, kind: type[Value]) -> Value:
    value = os.environ.get(name)
    if value is None:
        raise UsageError(f"{name} is not set; `ct step` is called by the operators, people use `ct run`")
    try:
        return kind.model_validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        msg = (
            f"{name} does not hold a {kind.__name__}: {place}: {first['msg']}; the operators and this process must come from the "
            "same version of the package; a retry gives the same"
        )
        raise UsageError(msg) from None  # pydantic's own text shows values
