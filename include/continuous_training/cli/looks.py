"""`ct explain MODEL --window TIME`: what was decided on a window, on which evidence, and what followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.cli.explained import with_interval
from continuous_training.cli.tables import cell, show
from continuous_training.ledger import Ledger
from continuous_training.policies.evidence import severity
from continuous_training.steps.explained import explain_look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from continuous_training.core.decisions import Evidence
    from continuous_training.core.scores import DriftScore
    from continuous_training.ledger import Episode, RunRecord
    from continuous_training.settings import Settings
    from continuous_training.steps.explained import ExplainedLook

_OF_DRIFT = ("column", "detector", "state", "value", "threshold", "effect", "note")
_OF_QUALITY = ("metric", "line", "rows where", "value", "limit", "state", "window")
_OF_FAIRNESS = ("measure", "column", "value", "limit", "state", "groups")
_OF_CAUSES = ("part", "kind", "value", "low", "high")
_STATES = {True: "beyond", False: "within", None: "not measured"}


def explain(model: str, moment: datetime, settings: Settings, *, as_json: bool) -> int:
    """Print what is known of the look at the window that ends at a moment or holds it, and return the exit code."""
    seen = explain_look(Ledger(settings.ledger), model, moment)
    if as_json:
        print(seen.model_dump_json(indent=1))
    else:
        _tell(seen)
    return 0


def _tell(seen: ExplainedLook) -> None:
    decision, evidence = seen.record.decision, seen.record.evidence
    for line in _opening(seen):
        print(cell(line))
    show(
        "Defects of the data",
        ("kind", "column", "what was seen"),
        ((d.kind, d.column, d.text) for d in evidence.defects),
    )
    signals = ((s.name, s.kind, s.state, "" if s.counts else "written down only", s.text) for s in decision.signals)
    show("Signals", ("signal", "kind", "state", "", "the number behind it"), signals)
    show("Drift by column, the worst first", _OF_DRIFT, map(_drift, sorted(evidence.drift, key=_order)))
    show("Quality of the champion", _OF_QUALITY, _quality(evidence))
    show("Limits of fairness", _OF_FAIRNESS, _fairness(evidence))
    for cause in evidence.causes[:1]:
        where = f" where {cause.slice}" if cause.slice else ""
        parts = ((c.name, c.kind, c.value, c.low, c.high) for c in evidence.causes)
        show(cell(f"What changed {cause.metric}{where}"), _OF_CAUSES, parts)
    if evidence.no_causes:
        print(cell(evidence.no_causes))


def _opening(seen: ExplainedLook) -> Iterator[str]:
    record, decision = seen.record, seen.record.decision
    yield (
        f"look at {decision.window} of {decision.model}, {record.evidence.rows:,} rows, as they were known at "
        f"{decision.as_of:%Y-%m-%d %H:%MZ}; decided on {record.recorded_at:%Y-%m-%d %H:%MZ}"
    )
    yield f"champion then: {f'version {seen.champion.version}, fence {seen.champion.fence}' if seen.champion else 'none'}"
    yield f"answer: {decision.answer}: {decision.why}"
    if decision.held_back:
        yield f"held back by: {decision.held_back}"
    yield from map(_episode, seen.episodes)
    if decision.reason is None:
        yield "what followed: nothing, for it asked for no retraining"
    elif not seen.runs:
        yield f"what followed: no run of the episode {decision.reason.episode} has begun yet"
    else:
        yield from map(_followed, seen.runs)


def _episode(seen: Episode) -> str:
    asked = f", asked for a retraining on {seen.requested_at:%Y-%m-%d %H:%MZ}" if seen.requested_at else ""
    end = f", ended on {seen.closed_at:%Y-%m-%d %H:%MZ}: {seen.closed_why}" if seen.closed_at else ", goes on"
    return f"episode of {seen.kind}: since {seen.opened_at:%Y-%m-%d %H:%MZ}{asked}{end}"


def _followed(run: RunRecord) -> str:
    return f"what followed: run {run.run.key[:12]}: {run.state}{f': {run.text}' if run.text else ''}"


def _order(score: DriftScore) -> tuple[object, ...]:
    beyond, times = severity(score)
    # a p-value of 0 is as far as another, an effect is not
    return score.value is None, not beyond, -times, -abs(score.effect or 0.0), score.column or "", score.detector


def _drift(score: DriftScore) -> tuple[object, ...]:
    column = score.column or "all columns together"
    return (
        f"{column} where {score.slice}" if score.slice else column,
        score.detector,
        "seasonal" if score.seasonal else _STATES[score.exceeded],
        score.value,
        f"{'above' if score.measure == 'statistic' else 'below'} {score.threshold:.4g}",
        score.effect,
        score.note,
    )


def _quality(evidence: Evidence) -> Iterator[tuple[object, ...]]:
    for score in evidence.performance:
        limits = (("below", score.below), ("above", score.above))
        limit = " or ".join(f"{side} {value:.4g}" for side, value in limits if value is not None)
        state = _STATES[score.exceeded] if score.limited else "written down"
        window = f"of {score.window}" if score.window else ""
        yield (
            score.estimate.metric,
            score.line,
            score.slice or "all",
            with_interval(score.estimate),
            limit,
            state,
            window,
        )
    for told in evidence.feedback:
        rate, limit = told.estimate, f"above {told.above:.4g}"
        yield rate.metric, "feedback", told.slice or "all", with_interval(rate), limit, _STATES[told.exceeded], ""
    if evidence.realised is not None:
        gain = evidence.realised.difference
        against = f"gain over fence {evidence.realised.against}"
        yield gain.metric, against, "all", with_interval(gain), "", "written down", ""


def _fairness(evidence: Evidence) -> Iterator[tuple[object, ...]]:
    for each in evidence.disparities:
        yield each.measure, each.column, with_interval(each.estimate), each.limit, _STATES[each.exceeded], each.text
