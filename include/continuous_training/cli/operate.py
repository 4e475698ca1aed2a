"""Commands for people who run models: what happened, and how to put things right."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from continuous_training.cli.explained import what_happened
from continuous_training.cli.models import load_model
from continuous_training.cli.tables import show
from continuous_training.core.errors import UsageError
from continuous_training.ledger import Ledger
from continuous_training.settings import Settings
from continuous_training.spec import load_specs
from continuous_training.steps.reconcile import reconcile as reconcile_model
from continuous_training.steps.rollout import stop as stop_rollout

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from continuous_training.ledger import RunRecord


def history(options: argparse.Namespace) -> int:
    """List decisions, runs and champions, newest first."""
    ledger = Ledger(Settings.from_environment().ledger)
    runs = ledger.runs(options.model, options.limit)
    told = {
        "champions": [item.model_dump(mode="json") for item in ledger.history(options.model)[: options.limit]],
        "runs": [item.model_dump(mode="json") for item in runs],
        "decisions": [item.decision.model_dump(mode="json") for item in ledger.decisions(options.model, options.limit)],
    }
    if options.json:
        print(json.dumps(told, indent=1))
        return 0
    if not any(told.values()):
        print(f"nothing is recorded of {options.model}", file=sys.stderr)
    show(
        "CHAMPIONS",
        ("at", "version", "kind", "why"),
        (
            (_at(row["promoted_at"]), f"version {row['version']}", row["kind"], row["reason"])
            for row in told["champions"]
        ),
    )
    show("RUNS", ("at", "outcome", "reason", "run", "what happened"), map(_run_row, runs))
    show(
        "DECISIONS",
        ("window until", "answer", "why"),
        ((_at(row["window"]["end"]), row["answer"], row["why"]) for row in told["decisions"]),
    )
    return 0


def rollback(options: argparse.Namespace) -> int:
    """Make an earlier champion the champion again, then show it in MLflow and serve it."""
    settings = Settings.from_environment()
    spec = load_model(options.model, settings)
    ledger = Ledger(settings.ledger)
    current = ledger.champion(spec.model)
    champion = ledger.rollback(
        spec.model,
        to=options.to,
        reason=options.reason,
        fence_seen=current.fence if current else None,
        now=datetime.now(UTC),
    )
    print(f"{spec.model}: version {champion.version} is champion (fence {champion.fence}): {options.reason}")
    reconcile_model(spec, settings)
    return 0


def rollout(options: argparse.Namespace) -> int:
    """Say where a model's newest rollout stands, or end the one that goes on."""
    settings = Settings.from_environment()
    spec = load_model(options.model, settings)
    record = Ledger(settings.ledger).rollout(spec.model)
    if options.stop is not None:
        record = stop_rollout(spec, settings, options.stop)
        if record is None:
            raise UsageError(f"no rollout of {spec.model} goes on, so there is nothing to stop; a retry gives the same")
    if options.json:
        print("null" if record is None else record.model_dump_json(indent=1))
    elif record is None:
        print(f"{spec.model} has had no rollout", file=sys.stderr)
    else:
        print(f"{record.answer}: version {record.version}, since {record.started:%Y-%m-%d %H:%MZ}: {record.text}")
        rules = record.verdict.rules if record.verdict else ()
        show("GUARDS", ("guard", "outcome", "in words"), ((rule.name, rule.outcome.value, rule.text) for rule in rules))
    return 0


def reconcile(options: argparse.Namespace) -> int:
    """Project the ledger of one model, or of all."""
    settings = Settings.from_environment()
    specs = [load_model(options.model, settings)] if options.model else load_specs(Path(settings.models))[0].values()
    for spec in specs:
        shown = reconcile_model(spec, settings)
        print(
            f"{spec.model}: "
            + (f"version {shown['version']} (fence {shown['fence']}) {shown['url']}" if shown else "no champion yet")
        )
    return 0


def verify(options: argparse.Namespace) -> int:
    """Check the hash chain of the ledger."""
    problems = Ledger(Settings.from_environment().ledger).verify()
    if options.json:
        print(json.dumps({"problems": problems}))
        return 1 if problems else 0
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problem(s)" if problems else "the ledger is whole", file=sys.stderr)
    return 1 if problems else 0


def _run_row(record: RunRecord) -> tuple[object, ...]:
    run = record.run
    reason = run.reason.kind if run.reason else run.kind
    return f"{record.began_at:%Y-%m-%d %H:%M}", record.state, reason, run.key[:12], what_happened(record)


def _at(moment: str) -> str:
    return moment[:16].replace("T", " ")


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "history": history,
    "rollback": rollback,
    "rollout": rollout,
    "reconcile": reconcile,
    "verify": verify,
}
