"""`ct status`: how every model stands, at a glance."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from continuous_training.cli.tables import ago, show
from continuous_training.ledger import Ledger
from continuous_training.settings import Settings
from continuous_training.spec import load_specs

if TYPE_CHECKING:
    import argparse

    from continuous_training.ledger import Overview


def status(options: argparse.Namespace) -> int:
    """Say of each model which champion it has, how old that is, what is open, and what was decided last."""
    settings, now = Settings.from_environment(), datetime.now(UTC)
    specs, errors = load_specs(Path(settings.models))
    known = {seen.model: seen for seen in Ledger(settings.ledger).overview()}
    told = [
        _told(name, known.get(name), "ok" if name in specs else "wrong" if name in errors else "gone", now)
        for name in sorted({*specs, *errors, *known})
    ]
    if options.json:
        print(json.dumps(told, indent=1))
    elif told:
        head = ("model", "champion", "promoted", "newest row", "open", "last decision", "rollout", "file")
        show(f"{len(told)} model(s)", head, map(_row, told))
    else:
        print(f"no model file in {settings.models}, and nothing in the ledger", file=sys.stderr)
    return 0


def _told(name: str, seen: Overview | None, file: str, now: datetime) -> dict[str, Any]:
    told: dict[str, Any] = {"model": name, "file": file, "fence": 0, "version": None, "episodes": []}
    told |= dict.fromkeys(("promoted_at", "data_cutoff", "age_seconds", "data_age_seconds", "decision", "rollout"))
    if seen is None:
        return told
    told |= seen.model_dump(mode="json", include={"fence", "promoted_at", "data_cutoff", "episodes"})
    told["version"] = seen.version or None
    for name_, moment in (("age_seconds", seen.promoted_at), ("data_age_seconds", seen.data_cutoff)):
        told[name_] = (now - moment).total_seconds() if moment else None
    if seen.decision is not None:
        told["decision"] = seen.decision.model_dump(mode="json", include={"answer", "why", "window"})
    if seen.rollout is not None:
        told["rollout"] = seen.rollout.model_dump(mode="json", include={"answer", "step", "version", "text"})
    return told


def _row(told: dict[str, Any]) -> tuple[object, ...]:
    decision, rollout = told["decision"], told["rollout"]
    return (
        told["model"],
        f"{told['version']} (fence {told['fence']})" if told["version"] else "none",
        ago(told["age_seconds"]),
        ago(told["data_age_seconds"]),
        ", ".join(told["episodes"]),
        f"{decision['answer']} {decision['window']['end'][:10]}" if decision else "",
        f"{rollout['answer']}, step {rollout['step'] + 1}" if rollout else "",
        told["file"],
    )
