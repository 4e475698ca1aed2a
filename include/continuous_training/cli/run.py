"""`ct run`: the whole of a training or a watch in one terminal, with the same steps, ledger and artefacts as the DAGs."""

from __future__ import annotations

import getpass
import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from continuous_training.cli.explained import in_short
from continuous_training.cli.models import load_model
from continuous_training.cli.tables import cell, working
from continuous_training.core.errors import ContinuousTrainingError, UsageError
from continuous_training.core.run import Request, Run, StepResult
from continuous_training.ledger import Ledger
from continuous_training.settings import Settings
from continuous_training.steps import TRAIN_STEPS, WATCH_STEPS, run_step
from continuous_training.steps.approval import Answer, question, record_answer
from continuous_training.steps.decide import request_for
from continuous_training.steps.failure import record_failure
from continuous_training.steps.plan import is_complete, next_window_end, plan

if TYPE_CHECKING:
    import argparse

    from continuous_training.spec import ModelSpec

GATE_SAID_NO, DRIFT_FOUND = 3, 5
LOOK_SECONDS = 2.0
"""Between two looks at a rollout."""


def run(options: argparse.Namespace) -> int:
    """Train or watch one model and return the exit code."""
    settings = Settings.from_environment()
    spec = load_model(options.model, settings)
    if options.what == "watch":
        return _watch(spec, settings, options)
    request = Request(
        kind="train",
        text=options.reason,
        as_of=options.as_of,
        trials=options.trials,
        force=options.force,
        dry_run=options.dry_run,
    )
    facts = _train(spec, request, settings)
    _print(facts, as_json=options.json)
    return GATE_SAID_NO if facts["outcome"] == "kept" else 0


def _train(spec: ModelSpec, request: Request, settings: Settings) -> dict[str, Any]:
    planned = plan(spec, request, settings, now=datetime.now(UTC))
    assert planned.reason is not None
    _say(f"{spec.model}: train on {planned.window} because {planned.reason.text} (run {planned.key[:12]})")
    results: dict[str, StepResult] = {}
    for name in TRAIN_STEPS:
        if name == "deploy" and results["promote"].facts["outcome"] != "promoted":
            break
        if name == "promote":
            _approve(spec, planned, settings)
        if name == "promote" and spec.rollout is not None and not planned.dry_run:
            _roll_out(spec, planned, settings)
        results[name] = _step(name, spec, planned, settings)
    facts = {"model": spec.model, "run": planned.key, **results["promote"].facts}
    return facts | ({"url": results["deploy"].facts["url"]} if "deploy" in results else {})


def _roll_out(spec: ModelSpec, planned: Run, settings: Settings) -> None:
    """Look at the rollout until it has ended."""
    said = ""
    while (facts := run_step("rollout", spec, planned, settings).facts)["answer"] == "watch":
        if facts["text"] != said:
            said = facts["text"]
            _say(f"  rollout: {said}")
        time.sleep(LOOK_SECONDS)
    _say(f"  rollout: {facts['text']}")


def _approve(spec: ModelSpec, planned: Run, settings: Settings) -> None:
    """Ask whoever sits at the terminal where the model file wants a person to approve; nobody there is a no."""
    asked = question(spec, planned, settings)
    if asked is None:
        return
    _say(f"  a person must approve: {cell('; '.join(asked.reasons))}")
    answer = Answer(approved=False)
    if sys.stdin.isatty():
        _say(f"  {cell(asked.verdict.text)} Promote it? [y/N]")
        approved = sys.stdin.readline().strip().lower() == "y"
        _say("  Why?")
        answer = Answer(approved=approved, by=getpass.getuser(), reason=sys.stdin.readline().strip()[:500])
    record_answer(spec, planned, settings, answer)


def _watch(spec: ModelSpec, settings: Settings, options: argparse.Namespace) -> int:
    """Score every complete window up to `--as-of` that nobody has scored, and train when the answer is yes."""
    moment = options.as_of or datetime.now(UTC)
    decided: list[dict[str, Any]] = []
    code = 0 if options.decide_only else _catch_up(spec, settings, as_json=options.json)
    while (end := next_window_end(spec, settings)) is not None:
        if end + spec.look_delay > moment or not is_complete(spec, settings, end):
            break
        planned = plan(spec, Request(kind="watch"), settings, now=datetime.now(UTC))
        _say(f"{spec.model}: look at {planned.window}")
        facts = {name: _step(name, spec, planned, settings) for name in WATCH_STEPS}["decide"].facts
        decided.append(facts)
        if not options.json:
            _print(facts, as_json=False)
        if facts["answer"] == "yes":
            code = DRIFT_FOUND
            if not options.decide_only:
                code = _retrain(spec, Request.model_validate(facts["request"]), settings, as_json=options.json)
    if end is None:
        raise UsageError(f"{spec.model} has no champion to watch; train one first: ct run train {spec.model}")
    if options.json:
        _print(decided, as_json=True)
    elif not decided:
        _say(f"{spec.model}: no complete window after {end - spec.window.every:%Y-%m-%d %H:%MZ}; nothing to do")
    return code


def _catch_up(spec: ModelSpec, settings: Settings, *, as_json: bool) -> int:
    """Do the retraining that was decided on before and has not ended, because the process that decided did."""
    decision = Ledger(settings.ledger).unanswered(spec.model)
    request = request_for(decision) if decision else None
    return _retrain(spec, request, settings, as_json=as_json) if request else 0


def _retrain(spec: ModelSpec, request: Request, settings: Settings, *, as_json: bool) -> int:
    trained = _train(spec, request, settings)
    if not as_json:
        _print(trained, as_json=False)
    return GATE_SAID_NO if trained["outcome"] == "kept" else 0


def _step(name: str, spec: ModelSpec, planned: Run, settings: Settings) -> StepResult:
    started = time.monotonic()
    try:
        with working(f"{spec.model}: {name}"):
            result = run_step(name, spec, planned, settings)
    except ContinuousTrainingError as error:
        record_failure(planned, settings, name, str(error))
        raise
    known = "done before" if result.reused else f"{time.monotonic() - started:.1f} s"
    _say(f"  {name:<9}{known:>12}  {in_short(result.facts)}")
    return result


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(facts: object, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts, indent=1, sort_keys=True))
    elif isinstance(facts, dict):
        print(f"{facts.get('outcome') or facts.get('answer')}: {facts.get('text') or facts.get('why')}", flush=True)
