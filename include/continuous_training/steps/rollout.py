"""Let a challenger that passed the gate meet real requests beside the champion, one look at a time.

The ledger says where a rollout stands; what the router follows and which servers run is made to agree with it in every look, so
a look may be killed anywhere and is simply done again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from continuous_training.core.decisions import GateVerdict
from continuous_training.core.prediction_log import log_folder
from continuous_training.core.rollout import RolloutSeen, RolloutVerdict
from continuous_training.core.window import Window
from continuous_training.deployers.base import Release
from continuous_training.ledger import Ledger
from continuous_training.steps.approval import judged
from continuous_training.steps.context import Context, Output
from continuous_training.trainers.bundle import load_description, score_bounds

if TYPE_CHECKING:
    from continuous_training.core.rollout import RolloutCounts, RolloutPlan
    from continuous_training.ledger import RolloutRecord
    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec

LEASE_SECONDS = 600.0
"""Without a look for so long, servers let the champion answer everything: whoever drives the rollout may be gone."""

OUTCOME = "label"
"""Kind of the outcomes that quality is judged by."""


def do(context: Context) -> Output:
    """Look once: begin, judge what was seen, go a step further or end. The facts say `watch` while it goes on.

    Without a champion there is nobody to answer meanwhile, and a challenger that the gate or a person refused meets no
    requests: the answer is then `none`.
    """
    spec, run = context.spec, context.run
    verdict = GateVerdict.model_validate_json(context.read("evaluate", "verdict"))
    outcome, why, _ = judged(context, verdict)
    if spec.rollout is None or run.champion is None or outcome != "promoted":
        return Output(facts={"answer": "none", "text": why if outcome != "promoted" else "nobody answers beside it"})
    ledger = Ledger(context.settings.ledger)
    bundle = context.manifest("train")["outputs"]["bundle"]
    record = ledger.rollout(spec.model, run.key)
    if record is None:
        # The server first: a challenger that does not start has had no rollout.
        version = f"{run.fence + 1}.{run.key[:8]}"
        url = _introduce(context, version, bundle)
        record = ledger.begin_rollout(
            spec.model, run_key=run.key, fence=run.fence, bundle=bundle, version=version, now=datetime.now(UTC)
        )
        record = _rehearse(context, ledger, record, url)
    if not record.ended:
        record = _look(context, ledger, record)
    if record.ended:
        spec.deployment.dismiss(spec.model, settings=context.settings)
    return Output(facts=facts_of(record))


def facts_of(record: RolloutRecord) -> dict[str, Any]:
    """Return what is told of a rollout: small JSON."""
    rules = record.verdict.rules if record.verdict else ()
    return {
        "answer": record.answer,
        "text": record.text,
        "step": record.step,
        "version": record.version,
        "rules": [f"{rule.name}: {rule.outcome.value}: {rule.text}" for rule in rules],
    }


def stop(spec: ModelSpec, settings: Settings, reason: str) -> RolloutRecord | None:
    """End the rollout that goes on, because somebody says so, and return it; `None` where none does."""
    ledger = Ledger(settings.ledger)
    record = ledger.rollout(spec.model)
    if record is None or record.ended:
        return None
    verdict = RolloutVerdict(answer="reject", step=record.step, text=f"Stopped by hand: {reason}")
    record = ledger.move_rollout(spec.model, record.run_key, verdict, None, now=datetime.now(UTC))
    spec.deployment.dismiss(spec.model, settings=settings)
    return record


def _look(context: Context, ledger: Ledger, record: RolloutRecord) -> RolloutRecord:
    spec, now = context.spec, datetime.now(UTC)
    assert spec.rollout is not None
    champion = ledger.champion(spec.model)
    if champion is None or champion.fence != record.fence:
        text = f"Reject the challenger: the champion it was compared with (fence {record.fence}) serves no more."
        gone = RolloutVerdict(answer="reject", step=record.step, text=text)
        return ledger.move_rollout(spec.model, record.run_key, gone, None, now=now)
    url = _introduce(context, record.version, record.bundle)
    plan = _plan(context, record, champion.version, url)
    spec.deployment.route(spec.model, plan, settings=context.settings)
    counts = spec.deployment.counts(spec.model, plan, settings=context.settings)
    counts = _with_outcomes(context, record, plan, counts)
    seen = RolloutSeen(
        started=record.started,
        step=record.step,
        step_started=record.step_started,
        champion=counts.champion,
        challenger=counts.challenger,
    )
    verdict = spec.rollout.judge(seen, now)
    moved = ledger.move_rollout(spec.model, record.run_key, verdict, counts, now=now)
    if not moved.ended and moved.step > record.step:
        spec.deployment.route(spec.model, _plan(context, moved, champion.version, url), settings=context.settings)
    return moved if moved != record else record.model_copy(update={"text": verdict.text, "verdict": verdict})


def _rehearse(context: Context, ledger: Ledger, record: RolloutRecord, url: str) -> RolloutRecord:
    """Let the challenger answer logged requests before a client's reaches it, where the deployment keeps them whole."""
    spec, champion = context.spec, ledger.champion(context.spec.model)
    folder, log = log_folder(Path(context.settings.home), spec.model), getattr(spec.deployment, "log", None)
    whole = log is not None and all(map(log.keeps, spec.features.columns))
    if not whole or not folder.is_dir() or champion is None:
        return record
    from continuous_training.sources._predictions import read_recent
    from continuous_training.steps.rehearsal import REQUESTS, rehearse

    assert spec.rollout is not None
    plan = _plan(context, record, champion.version, url)
    manifest, _ = load_description(context.bundle(record.bundle))
    counts = rehearse(plan, read_recent(folder, 10 * REQUESTS), manifest.preparation.features.columns)
    verdict = spec.rollout.rehearsed(counts.champion, counts.challenger)
    return ledger.move_rollout(spec.model, record.run_key, verdict, counts, now=datetime.now(UTC))


def _with_outcomes(context: Context, record: RolloutRecord, plan: RolloutPlan, counts: RolloutCounts) -> RolloutCounts:
    """Return the counts with the losses of predictions whose outcome is known, where the policy asks for them."""
    policy = context.spec.rollout
    folder = log_folder(Path(context.settings.home), context.spec.model)
    if policy is None or policy.guards.quality is None or not folder.is_dir():
        return counts
    from continuous_training.sources._predictions import COMPARED, compact, count_losses, join, of_step

    compact(folder)
    window = Window(start=record.step_started, end=datetime.now(UTC))
    manifest, _ = load_description(context.bundle(record.bundle))
    rows = of_step(join(folder, OUTCOME, window, columns=COMPARED), plan)
    losses = count_losses(rows, policy.guards.quality, manifest.classes)
    arms = {
        arm: getattr(counts, arm).model_copy(update={"losses": losses.get(version, ())})
        for arm, version in (("champion", plan.champion), ("challenger", plan.challenger))
    }
    return counts.model_copy(update=arms)


def _introduce(context: Context, version: str, bundle: str) -> str:
    """Let the challenger's server answer, and return where; one that does already stays."""
    spec = context.spec
    release = Release(model=spec.model, version=version, fence=context.run.fence + 1, bundle=bundle)
    return spec.deployment.introduce(release, context.bundle(bundle), settings=context.settings)


def _plan(context: Context, record: RolloutRecord, champion: str, url: str) -> RolloutPlan:
    policy = context.spec.rollout
    assert policy is not None
    plan = policy.plan(
        record.step,
        fence=record.fence,
        begun=record.started,
        champion=champion,
        challenger=record.version,
        url=url,
        salt=record.run_key[:32],
        score_bounds=score_bounds(*load_description(context.bundle(record.bundle))),
    )
    return plan.model_copy(update={"lease": LEASE_SECONDS})
