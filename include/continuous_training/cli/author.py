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
    problems = _file_problem(path) if path.is_file() else _folder_problems(path)
    if options.json:
        print(json.dumps([{"file": name, "ok": not said, "problem": said or None} for name, said in problems.items()]))
    else:
        for name, said in problems.items():
            print(said or f"{name}: ok", file=sys.stderr if said else sys.stdout)
    return SpecError.exit_code if any(problems.values()) else 0


def _file_problem(path: Path) -> dict[str, str]:
    try:
        _check_allowed(load_spec(path))
        _check_suite(path)
    except SpecError as wrong:
        return {path.name: str(wrong)}
    return {path.name: ""}


def _folder_problems(path: Path) -> dict[str, str]:
    """Return what is wrong with each file, or nothing; those that are right first."""
    specs, errors = load_specs(path)
    for name, spec in specs.items():
        try:
            _check_allowed(spec)
            _check_suite(path / f"{name}.yaml")
        except SpecError as wrong:
            errors[name] = wrong
    if not specs and not errors:
        raise UsageError(f"{path} holds no .yaml file; put one model file for each model there")
    right = {f"{name}.yaml": "" for name in specs if name not in errors}
    return right | {f"{name}.yaml": str(error) for name, error in errors.items()}


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
    """Say what a model file will do, why a run ran and what became of it, or what was decided on a window."""
    from continuous_training.cli import explained, looks  # they need the ledger, and writing model files does not

    settings = Settings.from_environment()
    if options.window is not None:
        return looks.explain(options.what, options.window, settings, as_json=options.json)
    a_model = Path(settings.models, f"{options.what}.yaml").is_file()
    if explained.RUN.fullmatch(options.what) and not a_model:
        seen = explained.find(options.what, settings)
        if options.json:
            print(seen.model_dump_json(indent=1))
        else:
            explained.tell(seen)
        return 0
    text = explain_spec(load_model(options.what, settings))
    print(json.dumps({"model": options.what, "text": text}) if options.json else text)
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
