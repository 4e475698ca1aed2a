"""`ct replay`: try retraining policies on a model's own history before one is switched on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from continuous_training import spec_errors, strict_yaml
from continuous_training.cli.models import load_model
from continuous_training.cli.tables import in_columns, working
from continuous_training.core.errors import SpecError
from continuous_training.replay import replay as walk_history
from continuous_training.replay.page import page
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec

if TYPE_CHECKING:
    import argparse

    from continuous_training.replay import ReplayReport

OF_A_POLICY = ("retraining", "drift", "performance", "triage")
PROXY = {"rounds": 60, "parameters": {"num_leaves": 15, "learning_rate": 0.1}, "tuning": {"trials": 0}}


def replay(options: argparse.Namespace) -> int:
    """Replay the model's own policy and those of `--policy`, print a table, and write the page."""
    settings = Settings.from_environment()
    spec = load_model(options.model, settings)
    spec = with_proxy(spec) if options.proxy else spec
    variants = {"model file": spec} | {Path(file).stem: with_policy(spec, Path(file)) for file in options.policy}
    with working(f"{spec.model}: replay"):
        report = walk_history(
            spec,
            variants,
            settings,
            start=options.since,
            end=options.to,
            proxy=options.proxy,
            jobs=options.jobs,
            say=_say,
        )
    out = Path(options.out or Path(settings.home) / "replay" / f"{spec.model}.html")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(report), encoding="utf-8")
    if options.json:
        print(report.model_dump_json(indent=1))
    else:
        print(table(report))
    _say(f"page: {out}")
    return 0


def with_proxy(spec: ModelSpec) -> ModelSpec:
    """Return the model with a fast learner in place of its trainer."""
    kind = "ranking" if spec.task.kind == "ranking" else "lightgbm"
    return ModelSpec.model_validate(spec.model_dump() | {"trainer": {"kind": kind, **PROXY}})


def with_policy(spec: ModelSpec, file: Path) -> ModelSpec:
    """Return the model with the parts of a policy file in place of its own."""
    document = strict_yaml.read(file)
    others = sorted(set(document.data) - set(OF_A_POLICY))
    if others:
        msg = (
            f"{document.where((others[0],))}: {others[0]}: a policy file has only {', '.join(OF_A_POLICY)}; a replay compares "
            "policies of one model. Nothing was run; a retry gives the same."
        )
        raise SpecError(msg)
    try:
        return ModelSpec.model_validate(spec.model_dump() | document.data)
    except ValidationError as error:
        raise spec_errors.explain_validation(error, document, ModelSpec) from None


def table(report: ReplayReport) -> str:
    """Return the report as people read it in a terminal."""
    sign = "higher" if report.greater_is_better else "lower"
    told = "; fast learner instead of the trainer" if report.proxy else ""
    span = f"{report.windows[0].start:%Y-%m-%d} to {report.windows[-1].end:%Y-%m-%d}"
    head = f"{report.model}: {len(report.windows)} windows, {span}; mean {report.metric} ({sign} is better){told}"
    return f"{head}\n{in_columns(report.table())}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
