"""`ct scorecard`: which retrainings were worth it, which signals were good triggers, and which thresholds would be better."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from continuous_training.cli.models import load_model
from continuous_training.cli.replay import table, with_policy, with_proxy
from continuous_training.cli.tables import in_columns
from continuous_training.core.errors import UsageError
from continuous_training.ledger import Ledger
from continuous_training.replay import ReplayReport, hindsight, replay
from continuous_training.scorecard import Scorecard, Suggestion, policy_file, suggest
from continuous_training.scorecard import scorecard as made_of
from continuous_training.settings import Settings
from continuous_training.steps import training_seconds
from continuous_training.storage import Store

if TYPE_CHECKING:
    import argparse

    from continuous_training.spec import ModelSpec

MOST_WINDOWS = 10_000


def scorecard(options: argparse.Namespace) -> int:
    """Print the scorecard of what the ledger remembers, or with `--suggest` try other thresholds on history."""
    settings = Settings.from_environment()
    spec = load_model(options.model, settings)
    if options.suggest:
        return _suggest(with_proxy(spec) if options.proxy else spec, settings, options)
    card = _card(spec, settings)
    print(card.model_dump_json(indent=1) if options.json else _shown(card))
    return 0


def _card(spec: ModelSpec, settings: Settings) -> Scorecard:
    ledger = Ledger(settings.ledger)
    records = ledger.decisions(spec.model, MOST_WINDOWS)
    if not records:
        msg = (
            f"no window of {spec.model} was decided yet, so no signal can be judged; let it watch: ct run watch {spec.model}; "
            f"or judge its signals on history: ct scorecard {spec.model} --suggest FILE; a retry before that finds the same"
        )
        raise UsageError(msg)
    retrainings, store = ledger.retrainings(spec.model), Store(settings.artefacts)
    seconds = {one.run_key: training_seconds(store, one.run_key) for one in retrainings}
    return made_of(spec.model, spec.promotion.metric, spec.retraining, records, retrainings, seconds)


def _shown(card: Scorecard) -> str:
    labels = [one.label or "not judged yet" for one in card.retrainings]
    counts = ", ".join(
        f"{labels.count(label)} {label}"
        for label in ("worth it", "neutral", "harmful", "not judged yet")
        if label in labels
    )
    head = (
        f"{card.model}: {card.windows} windows, {card.begin:%Y-%m-%d} to {card.end:%Y-%m-%d}; {len(labels)} retrainings"
        f"{f': {counts}' if counts else ''}"
    )
    parts = [head, in_columns(card.retraining_table())] if labels else [head]
    parts += [in_columns(card.signal_table())]
    if card.poor:
        found = "; ".join(
            f"{one.name}, {one.precision.worth_it} of {one.precision.judged} worth it" for one in card.poor
        )
        names = ", ".join(one.name for one in card.poor)
        parts.append(
            f"Precision surely under {card.demote_below:.0%}: {found}.\nUnder retraining, advise: [{names}] writes them down without "
            f"following them, and demote_below: {card.demote_below:g} lets the policy see to it."
        )
    return "\n\n".join(parts)


def _suggest(spec: ModelSpec, settings: Settings, options: argparse.Namespace) -> int:
    """Replay the present thresholds, find better ones in hindsight, write them down, and replay both."""

    def replayed(variants: dict[str, ModelSpec]) -> ReplayReport:
        return replay(
            spec,
            variants,
            settings,
            start=options.since,
            end=options.to,
            proxy=options.proxy,
            jobs=options.jobs,
            say=_say,
        )

    report = replayed({"present": spec})
    examples = [
        (record.evidence, gain.low is not None and gain.low > 0)
        for record, gain in hindsight(spec, settings, report.windows, say=_say)
        if gain is not None
    ]
    suggestions = suggest(spec, examples)
    parts = policy_file(spec, suggestions)
    if parts:
        file = Path(options.suggest)
        text = yaml.safe_dump(parts, sort_keys=False, default_flow_style=None, width=120)
        file.write_text(text, encoding="utf-8")
        report = replayed({"present": spec, "suggested": with_policy(spec, file)})
        _say(f"policy file: {file}")
    else:
        _say(f"nothing better was found, so {options.suggest} was not written")
    if options.json:
        told = {"suggestions": [one.model_dump(mode="json") for one in suggestions]}
        print(json.dumps(told | {"replay": report.model_dump(mode="json")}, indent=1))
        return 0
    worth = sum(paid for _, paid in examples)
    head = f"{spec.model}: a retraining would have been worth it after {worth} of {len(examples)} windows"
    print("\n\n".join([head, in_columns(_rows(suggestions)), table(report)]))
    return 0


def _rows(suggestions: list[Suggestion]) -> list[tuple[str, ...]]:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3g}"

    rows: list[tuple[str, ...]] = [("signal", "threshold", "its skill", "best skill", "by chance", "suggested", "")]
    for one in suggestions:
        suggested = "advise" if one.advise else number(one.suggested)
        told = map(number, (one.present, one.present_skill, one.skill, one.chance))
        rows.append((one.signal, *told, suggested, one.note))
    return rows


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
