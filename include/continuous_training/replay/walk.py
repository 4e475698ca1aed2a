"""One policy goes through history, window by window and tick by tick, with the steps that run live."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from croniter import croniter

from continuous_training.causes import Causes
from continuous_training.core.errors import DataInvalid, Permanent
from continuous_training.core.run import Request
from continuous_training.ledger import Ledger
from continuous_training.steps import run_step
from continuous_training.steps.context import Context
from continuous_training.steps.failure import record_failure
from continuous_training.steps.plan import next_window_end, plan
from continuous_training.steps.promote import settle
from continuous_training.steps.shadow import REFIT_STEPS, shadow_run
from continuous_training.storage import Store

if TYPE_CHECKING:
    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec


MOST_WINDOWS = 10_000


def walk(spec: ModelSpec, settings: Settings, *, start: datetime, end: datetime) -> dict[datetime, str]:
    """Train at `start`, then look at every window up to `end`; return the bundle that served each, by the window's end.

    What the ledger of `settings` remembers from an earlier, interrupted walk is gone on from. A schedule's ticks are
    taken in their place between the looks.

    Raises
    ------
    DataInvalid
        The first training failed, or its gate refused: there is no champion to go on with.
    """
    # No policy asks why, nobody reads it here, and no person is there to approve.
    promotion = spec.promotion.model_copy(update={"approval": "never"})
    spec = spec.model_copy(update={"causes": Causes(when="never"), "promotion": promotion})
    ledger = Ledger(settings.ledger)
    if ledger.champion(spec.model) is None:
        request = Request(
            kind="train", reason="schedule", text="the replay begins", as_of=start + spec.task.label_delay
        )
        train(spec, request, settings, now=start + spec.task.label_delay)
        if ledger.champion(spec.model) is None:
            why = ledger.runs(spec.model, 1)[0].text
            msg = (
                f"the replay of {spec.model} has no first champion on {start:%Y-%m-%d}: {why}; begin at another moment "
                "with --from, or ask less under promotion or fairness in the model file; a retry gives the same"
            )
            raise DataInvalid(msg)
    while (tile := next_window_end(spec, settings)) is not None and tile <= end:
        moment = tile + spec.look_delay
        for tick in _ticks(spec, max(moment - spec.window.every, start + spec.task.label_delay), moment):
            train(spec, Request(kind="train", reason="schedule", as_of=tick), settings, now=tick)
        run = plan(spec, Request(kind="watch"), settings, now=moment)
        run_step("score", spec, run, settings)
        facts = run_step("decide", spec, run, settings).facts
        if facts["answer"] == "yes":
            train(spec, Request.model_validate(facts["request"]), settings, now=moment)
    return served(ledger, spec.model)


def train(spec: ModelSpec, request: Request, settings: Settings, *, now: datetime) -> None:
    """Train and judge as live, up to the ledger; a run that failed is noted and history goes on."""
    run = plan(spec, request, settings, now=now)
    if Ledger(settings.ledger).run(run.key).outcome is not None:
        return
    context = Context(spec=spec, run=run, settings=settings, store=Store(settings.artefacts))
    try:
        _make(context)
        run_step("evaluate", spec, run, settings)
        settle(context)
    except Permanent as error:
        record_failure(run, settings, "replay", str(error))


def _make(context: Context) -> None:
    """Do the steps up to the challenger; one that depends on rows and model file alone is shared by all policies."""
    spec, run = context.spec, context.run
    trials = spec.trainer.tuning.trials if run.trials is None else run.trials
    shared = not trials and not run.quarantined and spec.trainer.kind != "ensemble"
    made = shadow_run(spec, run.window.end) if shared else run
    for name in REFIT_STEPS:
        run_step(name, spec, made, context.settings)
    for name in REFIT_STEPS if shared else ():
        context.store.write_manifest(run.key, name, replace(context, run=made).manifest(name))


def _ticks(spec: ModelSpec, after: datetime, until: datetime) -> Iterator[datetime]:
    policy = spec.retraining
    if policy.schedule is None:
        return
    times = croniter(policy.schedule, after.astimezone(ZoneInfo(policy.timezone)))
    while (tick := times.get_next(datetime)) <= until:
        yield tick


def served(ledger: Ledger, model: str) -> dict[datetime, str]:
    """Return the bundle that served each window that was decided, by the window's end."""
    champions = ledger.history(model)
    return {
        record.decision.window.end: next(one.bundle for one in champions if one.promoted_at <= record.recorded_at)
        for record in ledger.decisions(model, MOST_WINDOWS)
    }
