"""Measure one current window: its distance from the champion's reference, and how well the champion did on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.core.decisions import Evidence
from continuous_training.core.errors import DataInvalid
from continuous_training.steps.causes import cause_cards, told_first
from continuous_training.steps.champion import load_champion
from continuous_training.steps.context import Context, Output, to_json
from continuous_training.steps.drift import drift_scores
from continuous_training.steps.evaluate import computed_columns
from continuous_training.steps.feedback import feedback_scores
from continuous_training.steps.groups import scored_on_groups
from continuous_training.steps.lines import measure, windows_of_lines
from continuous_training.steps.looks import defects_of, look_at, look_back
from continuous_training.steps.profile import count, drift_report, profile_of
from continuous_training.steps.realised import realised_gain
from continuous_training.steps.shadow import shadow_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from continuous_training.core.causes import CauseCard
    from continuous_training.core.run import ChampionRef
    from continuous_training.core.scores import DriftScore
    from continuous_training.steps.lines import Look


def do(context: Context) -> Output:
    """Store the evidence of the run's window, and the drift report beside it."""
    spec, run = context.spec, context.run
    if run.champion is None:
        msg = f"run {run.key[:12]} names no champion to score; plan it again, a retry of this run gives the same"
        raise DataInvalid(msg)
    bundle = load_champion(context, run.champion)
    now = look_at(context, bundle, run.window)
    windows = windows_of_lines(spec, run)
    looks = {run.window: now} | {
        window: look_back(context, bundle, window) for window in windows.values() if window != run.window
    }
    ripe = looks[windows["final"]]
    found = defects_of(context, now)
    drift = drift_scores(context, bundle, now, ripe, broken=bool(found))
    # A broken window would be scored for nothing, and refitting on the next one waits until it is repaired.
    wanted = spec.retraining.needs_shadow and not found and not ripe.rows.empty
    judged = run.replaced is not None and not found and not ripe.rows.empty
    of_lines = {line: looks[window] for line, window in windows.items()}
    performance = measure(context, bundle, of_lines)
    cards = () if found else cause_cards(context, bundle, of_lines, performance)
    told = told_first(cards)
    evidence = Evidence(
        model=spec.model,
        window=run.window,
        as_of=run.as_of,
        rows=now.size,
        drift=drift,
        performance=performance,
        shadow=shadow_score(context.within(ripe.window), ripe.rows, bundle, ripe.prediction) if wanted else None,
        realised=realised_gain(context, ripe.rows, bundle) if judged else None,
        **scored_on_groups(spec, run, ripe),
        feedback=feedback_scores(context),
        causes=told.causes if told else (),
        no_causes=told.sentence if told and not told.causes else "",
        defects=found,
        report=_report(context, run.champion, now, drift),
    )
    return _kept(context, evidence, cards, run.champion.version)


def _kept(context: Context, evidence: Evidence, cards: Sequence[CauseCard], champion: str) -> Output:
    outputs = {"evidence": context.store.put(to_json(evidence.model_dump(mode="json")))}
    outputs |= {"report": evidence.report} if evidence.report else {}
    facts = {
        "rows": evidence.rows,
        "scores": len(evidence.drift),
        "champion": champion,
        "defects": len(evidence.defects),
    }
    if told := told_first(cards):
        outputs["causes"] = context.store.put(to_json([card.model_dump(mode="json") for card in cards]))
        facts["causes"] = told.sentence
    return Output(outputs=outputs, facts=facts)


def _report(context: Context, champion: ChampionRef, now: Look, scores: tuple[DriftScore, ...]) -> str:
    """Store what the window looks like beside the champion's rows."""
    profile = profile_of(context, champion)
    told = computed_columns(now.y, now.prediction, context.spec.task, now.groups)
    counted = now.seen.counted if now.seen else count(profile, now.rows.assign(**told))
    return context.store.put(drift_report(context, profile, counted, scores).model_dump_json().encode())
