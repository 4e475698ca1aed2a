"""Measure one current window: its distance from the champion's reference, and how well the champion did on it."""

from __future__ import annotations

from continuous_training.core.decisions import Evidence
from continuous_training.core.errors import DataInvalid
from continuous_training.steps.champion import load_champion
from continuous_training.steps.context import Context, Output, to_json
from continuous_training.steps.drift import drift_scores
from continuous_training.steps.feedback import feedback_scores
from continuous_training.steps.groups import scored_on_groups
from continuous_training.steps.lines import measure, windows_of_lines
from continuous_training.steps.looks import defects_of, look_at, look_back
from continuous_training.steps.realised import realised_gain
from continuous_training.steps.shadow import shadow_score


def do(context: Context) -> Output:
    """Store the evidence of the run's window."""
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
    evidence = Evidence(
        model=spec.model,
        window=run.window,
        as_of=run.as_of,
        rows=now.size,
        drift=drift,
        performance=measure(context, bundle, {line: looks[window] for line, window in windows.items()}),
        **scored_on_groups(spec, run, ripe),
        feedback=feedback_scores(context),
        shadow=shadow_score(context.within(ripe.window), ripe.rows, bundle, ripe.prediction) if wanted else None,
        realised=realised_gain(context, ripe.rows, bundle) if judged else None,
        defects=found,
    )
    outputs = {"evidence": context.store.put(to_json(evidence.model_dump(mode="json")))}
    facts = {"rows": now.size, "scores": len(drift), "champion": run.champion.version, "defects": len(found)}
    return Output(outputs=outputs, facts=facts)
