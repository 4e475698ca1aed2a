"""`ct report`: the model card of a retraining, or the drift report of a window, as one page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from continuous_training.core.errors import UsageError
from continuous_training.ledger import Ledger
from continuous_training.reports import card_page, drift_page, kept
from continuous_training.settings import Settings
from continuous_training.storage import Store

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from continuous_training.core.decisions import Evidence
    from continuous_training.reports import DriftReport, ModelCard

NAMED = 5
"""Runs or windows that a refusal names."""


def report(options: argparse.Namespace) -> int:
    """Write the page, or with `--json` print what it is made of."""
    settings = Settings.from_environment()
    ledger, store = Ledger(settings.ledger), Store(settings.artefacts)
    found: ModelCard | DriftReport
    if options.drift or options.window:
        found = kept.drift_report(store, _evidence(ledger, options.model, options.window))
        name, page = f"{found.model}-drift-{found.window.end:%Y-%m-%d}", drift_page(found)
    else:
        found = kept.model_card(store, _run(ledger, options.model, options.run))
        name, page = f"{found.model}-card-{found.lineage.run_key[:12]}", card_page(found)
    if options.json:
        print(found.model_dump_json(indent=1))
    if options.output or not options.json:
        file = Path(options.output or Path(settings.home) / "reports" / f"{name}.html")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
        print(f"page: {file}", file=sys.stderr if options.json else sys.stdout)
    return 0


def _run(ledger: Ledger, model: str, key: str | None) -> str:
    """Return the key of the run that begins with `key`, or of the champion's."""
    if key is None:
        champion = ledger.champion(model)
        if champion is None:
            msg = (
                f"{model} has no champion yet, so there is no model card of one; train it: ct run train {model}, or name a run that "
                f"was refused: --run KEY (ct history {model} lists them); a retry before that finds the same"
            )
            raise UsageError(msg)
        return champion.run_key
    found = ledger.find_runs(key, model=model) if key else ()
    if len(found) != 1:
        newest = ", ".join(record.run.key[:12] for record in ledger.runs(model, NAMED)) or "none"
        msg = (
            f"{'several runs' if found else 'no runs'} of {model} begin with {key!r}, and one is needed; the newest are {newest}; ct history {model} "
            "--json has all; a retry finds the same"
        )
        raise UsageError(msg)
    return found[0].run.key


def _evidence(ledger: Ledger, model: str, end: datetime | None) -> Evidence:
    """Return what was measured on the window that ends then, or on the newest."""
    known = [record.evidence for record in ledger.decisions(model, NAMED)]
    asked = ledger.decision_at(model, end) if end else None
    found = [asked.evidence] if asked and asked.decision.window.end == end else [] if end else known
    if not found:
        ends = ", ".join(f"{each.window.end:%Y-%m-%dT%H:%MZ}" for each in known)
        what = f"no window of {model} that ends on {end:%Y-%m-%d %H:%MZ}" if known else f"no window of {model}"
        advice = f"the newest end {ends}" if known else f"let it watch: ct run watch {model}"
        msg = f"{what} was decided on, so there is no drift report; {advice}; a retry before that finds the same"
        raise UsageError(msg)
    return found[0]
