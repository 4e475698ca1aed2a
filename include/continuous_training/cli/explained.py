"""`ct explain RUN`: why a run ran, what the gate said with every number, and what happened."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from continuous_training.cli.tables import ago, cell, show
from continuous_training.core.errors import UsageError
from continuous_training.ledger import Ledger
from continuous_training.steps.explained import explain_run
from continuous_training.storage import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from continuous_training.core.scores import Estimate
    from continuous_training.ledger import RunRecord
    from continuous_training.settings import Settings
    from continuous_training.steps.explained import Explained

RUN = re.compile(r"[0-9a-f]{6,64}")
"""A run's key, or how it begins."""


def find(beginning: str, settings: Settings) -> Explained:
    """Return the run whose key begins so.

    Raises
    ------
    UsageError
        There is none, or more than one.
    """
    ledger = Ledger(settings.ledger)
    found = ledger.find_runs(beginning)
    if not found:
        raise UsageError(
            f"no training's key begins with {beginning}; `ct history MODEL` lists them; a look at a window has none: `ct explain "
            "MODEL --window TIME`; a retry gives the same"
        )
    if len(found) > 1:
        keys = ", ".join(record.run.key[: len(beginning) + 6] for record in found)
        raise UsageError(f"several runs begin with {beginning}: {keys}; write more of the key; a retry gives the same")
    run = found[0].run
    return explain_run(ledger, Store(settings.artefacts), run.model, run.key)


def tell(seen: Explained) -> None:
    """Print what is known of a run."""
    for line in _opening(seen):
        print(cell(line))
    if seen.decision is not None:
        signals = ((each.name, each.kind, each.state, each.text) for each in seen.decision.signals)
        show("Evidence", ("signal", "kind", "state", "the number behind it"), signals)
    if seen.verdict is not None:
        rules = ((r.name, r.outcome.value, r.value, r.low, r.high, r.limit, r.text) for r in seen.verdict.rules)
        show("Rules of the gate", ("rule", "outcome", "value", "low", "high", "limit", "in words"), rules)
    if seen.rollout is not None and seen.rollout.verdict is not None:
        guards = ((r.name, r.outcome.value, r.text) for r in seen.rollout.verdict.rules)
        show("Guards of the rollout", ("guard", "outcome", "in words"), guards)
    show("Steps", ("step", "what it said"), ((step, in_short(facts)) for step, facts in seen.facts.items()))
    show("Changed against the champion before", ("what", "before", "now"), _changes(seen))
    for note in seen.notes:
        print(f"missing: {cell(note)}")


def _opening(seen: Explained) -> Iterator[str]:
    record, run = seen.record, seen.record.run
    yield f"run {run.key} of {run.model} ({run.kind}), begun {record.began_at:%Y-%m-%d %H:%MZ}, rows of {run.window}"
    if run.reason is not None:
        yield f"why: {run.reason.kind}: {run.reason.text} (episode {run.reason.episode})"
    if seen.decision is not None:
        yield f"decided on {seen.decision.window}: {seen.decision.answer}: {seen.decision.why}"
    before = f"version {run.champion.version}, fence {run.champion.fence}" if run.champion else "none"
    yield f"champion then: {before}"
    if seen.comparison is not None:
        compared = seen.comparison
        yield (
            f"{compared.metric} on {compared.rows:,} hold-out rows: champion {with_interval(compared.champion)}, challenger "
            f"{with_interval(compared.challenger)}, difference {with_interval(compared.difference)}"
        )
    if seen.rollout is not None:
        yield f"rollout: {seen.rollout.answer}: {seen.rollout.text}"
    yield f"outcome: {record.state}{f': {text}' if (text := what_happened(record)) else ''}"


def with_interval(seen: Estimate | None) -> str:
    """Return a measured number with its interval, or why there is none."""
    if seen is None or seen.value is None:
        return "none" if seen is None else f"not measured ({seen.note})"
    return f"{seen.value:.4g}" + (
        "" if seen.low is None or seen.high is None else f" ({seen.low:.4g} to {seen.high:.4g})"
    )


def what_happened(record: RunRecord) -> str:
    """Return what a run came to in words; of one that has not ended, since when and who knows more."""
    if record.outcome is not None:
        return record.text
    since = ago((datetime.now(UTC) - record.began_at).total_seconds())
    return f"begun {since}; whether it is at work or has died, {record.run.model}.train in Airflow says"


def in_short(facts: Mapping[str, object]) -> str:
    """Return what a step said in one line: its words, or else its numbers and names."""
    told = [str(facts[name]) for name in ("text", "why", "url") if facts.get(name)]
    short = (
        f"{name} {value}" for name, value in facts.items() if isinstance(value, int | float | str) and name != "bundle"
    )
    return told[0] if told else ", ".join(short)


def _changes(seen: Explained) -> Iterator[tuple[object, ...]]:
    return ((change.what, change.before, change.after) for change in seen.changes)
