"""Commands for people who write model files."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from continuous_training import strict_yaml
from continuous_training.cli.models import load_model
from continuous_training.core.errors import SpecError, UsageError
from continuous_training.explain import explain as explain_spec
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec, load_spec, load_specs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def lint(options: argparse.Namespace) -> int:
    """Check one model file, or all of a folder."""
    path = Path(options.path or Settings.from_environment().models)
    if not path.exists():
        raise UsageError(f"{path} does not exist; name a model file or a folder of model files")
    if path.is_file():
        _check_allowed(load_spec(path))
        _check_suite(path)
        print(f"{path.name}: ok")
        return 0
    specs, errors = load_specs(path)
    for name, spec in specs.items():
        try:
            _check_allowed(spec)
            _check_suite(path / f"{name}.yaml")
        except SpecError as wrong:
            errors[name] = wrong
        else:
            print(f"{name}.yaml: ok")
    for error in errors.values():
        print(error, file=sys.stderr)
    if not specs and not errors:
        raise UsageError(f"{path} holds no .yaml file; put one model file for each model there")
    return SpecError.exit_code if errors else 0


def _check_allowed(spec: ModelSpec) -> None:
    """Refuse names that this deployment does not allow."""
    allowed = Settings.from_environment().allowed
    allowed.check(f"{spec.model}: deployment", spec.deployment.asked())
    allowed.check(f"{spec.model}: airflow", spec.airflow.asked())
    if spec.runner.kind != "subprocess":
        allowed.check(f"{spec.model}: runner", spec.runner.asked())


def _check_suite(path: Path) -> None:
    """Refuse values in the suite that only Great Expectations can judge; Airflow reads suites without it."""
    named = strict_yaml.read(path).data.get("expectations")
    if isinstance(named, str):
        from continuous_training import validation

        validation.load_suite(path.absolute().parent.parent / "expectations" / named)


def schema(_: argparse.Namespace) -> int:
    """Print the JSON schema of a model file."""
    print(json.dumps(ModelSpec.model_json_schema(), indent=2))
    return 0


def explain(options: argparse.Namespace) -> int:
    """Say what a model file will do."""
    print(explain_spec(load_model(options.model, Settings.from_environment())))
    return 0


def suggest_expectations(options: argparse.Namespace) -> int:
    """Propose a suite from the reference window."""
    from continuous_training import validation
    from continuous_training.core.run import Request
    from continuous_training.steps.plan import newest_end

    settings = Settings.from_environment()
    spec = load_model(options.model, settings)
    end = newest_end(spec, Request(kind="train", as_of=options.as_of), settings, datetime.now(UTC))
    window = spec.window.reference_window(end)
    rows = spec.source.read(
        window,
        task=spec.task,
        columns=spec.columns,
        as_of=end + spec.task.label_delay,
        locations=settings.locations,
    )
    print(validation.suggest(rows, spec.task, spec.features), end="")
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "lint": lint,
    "schema": schema,
    "explain": explain,
    "suggest-expectations": suggest_expectations,
}
