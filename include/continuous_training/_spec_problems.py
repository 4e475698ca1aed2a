"""What does not fit together in a model file, part with part."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from continuous_training import suites
from continuous_training.core.duration import format_duration
from continuous_training.core.quality import ESTIMATED, GREATER_IS_BETTER, METRICS
from continuous_training.core.windows import LONGEST
from continuous_training.detectors import ATTRIBUTION_PREFIX, COMPUTED_COLUMNS
from continuous_training.metrics import BUILT_IN, KINDS
from continuous_training.policies import SignalPolicy
from continuous_training.policies.estimation import estimate_signal

if TYPE_CHECKING:
    from continuous_training.spec import ModelSpec


def problems_of(spec: ModelSpec) -> list[str]:
    """Return in words what parts of a model file contradict each other."""
    problems = [
        *_metric_problems(spec),
        *_column_problems(spec),
        *_fairness_problems(spec),
        *_signal_problems(spec),
        *_season_problems(spec),
        *_part_problems(spec),
        *_rollout_problems(spec),
        *_log_problems(spec),
    ]
    if spec.deployment.in_pod and spec.runner.kind != "kubernetes":
        problems.append("deployment.via: pod needs the runner kubernetes, whose pods it is like; or write via: api")
    return problems


def _metric_problems(spec: ModelSpec) -> list[str]:
    fitting = [*METRICS[spec.task.kind], *(metric.name for metric in spec.metrics)]
    named = {"promotion.metric": spec.promotion.metric}
    named |= {f"performance[{number}].metric": rule.metric for number, rule in enumerate(spec.performance)}
    if spec.fairness and spec.fairness.worst_group:
        named["fairness.worst_group.metric"] = spec.fairness.worst_group.metric
    problems = _declaration_problems(spec)
    problems += [
        f"{path}: {name} {f'does not fit {spec.task.kind}' if name in GREATER_IS_BETTER else 'is not a metric'}; use one of "
        f"{', '.join(fitting)}{suites.did_you_mean(name.lower(), fitting)}"
        for path, name in named.items()
        if name not in fitting
    ]
    problems += [
        f"performance[{number}].line: {rule.metric} cannot be estimated without labels; use line provisional or final, or one "
        f"of {', '.join(ESTIMATED)}"
        for number, rule in enumerate(spec.performance)
        if rule.line == "estimated" and rule.metric not in ESTIMATED
    ]
    if spec.task.kind != "classification" and spec.promotion.negative_flips is not None:
        problems.append(f"promotion.negative_flips: a {spec.task.kind} has no right and wrong to flip; remove it")
    return problems


def _declaration_problems(spec: ModelSpec) -> list[str]:
    kinds = [each.model_fields["kind"].default for each in KINDS if each.fits == spec.task.kind]
    names = [metric.name for metric in spec.metrics]
    problems = [
        f"metrics[{number}].kind: {metric.kind} does not fit {spec.task.kind}; "
        + (f"use one of {', '.join(kinds)}" if kinds else "no kind does, so remove it")
        for number, metric in enumerate(spec.metrics)
        if metric.fits != spec.task.kind
    ]
    return problems + [
        f"metrics[{number}].name: {name} is the name of {'a built-in' if name in BUILT_IN else 'another'} metric; choose one "
        "of its own"
        for number, name in enumerate(names)
        if name in BUILT_IN or name in names[:number]
    ]


def _signal_problems(spec: ModelSpec) -> list[str]:
    limited = spec.fairness.limits if spec.fairness else {}
    given = [*limited, *(each.name for each in (*spec.drift, *spec.performance, *spec.feedback) if each.name)]
    problems = [
        f"two signals are named {name!r}; name each once" for name in sorted({n for n in given if given.count(n) > 1})
    ]
    if not isinstance(spec.retraining, SignalPolicy):
        return problems
    known = {*(detector.known_as for detector in spec.drift), *(rule.signal for rule in spec.performance)}
    known |= {estimate_signal(metric) for metric in spec.estimates} | {*limited}
    known |= {rule.signal for rule in spec.feedback}
    return problems + [
        f"retraining: no signal is called {name!r}; the signals are {', '.join(sorted(known)) or 'none'}"
        for name in sorted(spec.retraining.names - known)
    ]


def _season_problems(spec: ModelSpec) -> list[str]:
    season = spec.triage.season if spec.triage else None
    if season is None or spec.window.current <= season <= LONGEST:
        return []
    msg = (
        f"triage.season: {format_duration(season)} is not between the length of the current window, "
        f"{format_duration(spec.window.current)}, and {format_duration(LONGEST)}"
    )
    return [msg]


def _part_problems(spec: ModelSpec) -> list[str]:
    part = spec.window.part
    if part is None:
        return []
    problems = []
    if spec.task.group is not None:
        problems.append("window.part: a ranking's groups cannot be cut; remove it, its windows are read whole")
    if spec.triage is not None and part % timedelta(days=1):
        told = format_duration(part)
        problems.append(f"window.part: {told} is not whole days, as triage judges them; write 1 day, or triage: null")
    return problems


def _rollout_problems(spec: ModelSpec) -> list[str]:
    if spec.rollout is None:
        return []
    problems = [
        f"rollout.only: {name} is not a categorical feature"
        for name in spec.rollout.only
        if name not in spec.features.categorical
    ]
    if not spec.deployment.rolls_out:
        problems.append(
            f"rollout: the deployment {spec.deployment.kind} cannot serve two versions; use local, or "
            "kubernetes with via: api, or remove it"
        )
    quality = spec.rollout.guards.quality
    if quality and getattr(spec.deployment, "log", None) is None:
        problems.append("rollout.guards.quality: needs deployment.log, which outcomes are joined with")
    if quality and spec.task.kind == "ranking":
        problems.append("rollout.guards.quality: a ranking has no loss of a single prediction; remove it")
    elif quality and (quality.scale is None) is (spec.task.kind == "regression"):
        needed = "needs scale, the error that counts as 1" if quality.scale is None else "has no scale; remove it"
        problems.append(f"rollout.guards.quality: a {spec.task.kind} {needed}")
    disagreement = spec.rollout.guards.disagreement
    if disagreement and (disagreement.scale is None) is not (spec.task.kind == "classification"):
        needed = (
            "needs scale, the difference that counts as 1" if disagreement.scale is None else "has no scale; remove it"
        )
        problems.append(f"rollout.guards.disagreement: a {spec.task.kind} {needed}")
    return problems


def _log_problems(spec: ModelSpec) -> list[str]:
    known = set(spec.features.columns)
    log = getattr(spec.deployment, "log", None)
    problems = [
        f"feedback[{number}].by: {rule.by} is not a feature that deployment.log keeps as it is"
        for number, rule in enumerate(spec.feedback)
        if log is not None and rule.by is not None and not (rule.by in known and log.keeps(rule.by))
    ]
    if spec.feedback and log is None:
        problems.append("feedback: needs deployment.log, which feedback is joined with")
    named = {part: getattr(log, part, ()) for part in ("keep", "hash", "drop")}
    return problems + [
        f"deployment.log.{part}: {name} is not a feature, and nothing else is written down"
        for part, names in named.items()
        for name in (() if names == "all" else names)
        if name not in known
    ]


def _fairness_problems(spec: ModelSpec) -> list[str]:
    fairness, mitigation = spec.fairness, spec.trainer.mitigation
    problems = []
    if mitigation is not None and (fairness is None or mitigation.by not in fairness.sensitive):
        problems.append(f"trainer.mitigation.by: {mitigation.by} is not one of fairness.sensitive; name it there")
    if fairness is None:
        return problems
    problems += [
        f"features: {name} is sensitive and no feature; remove it there, or allow it with fairness.as_feature: [{name}]"
        for name in spec.features.columns
        if name in fairness.sensitive and name not in fairness.as_feature
    ]
    problems += [
        f"fairness.as_feature: {name} is not a feature; remove it there"
        for name in fairness.as_feature
        if name not in spec.features.columns
    ]
    problems += [
        f"fairness.sensitive: {name} is the label, the event time, the group or computed; name a column of its own"
        for name in fairness.sensitive
        if name in {*spec.task.columns, *COMPUTED_COLUMNS} or name.startswith(ATTRIBUTION_PREFIX)
    ]
    problems += [
        f"fairness.{limit}: a {spec.task.kind} selects nobody; remove it, and limit worst_group"
        for limit in ("demographic_parity", "equalised_odds")
        if spec.task.kind != "classification" and getattr(fairness, limit) is not None
    ]
    if spec.source.kind == "predictions" and spec.beside:
        problems.append(
            f"fairness.sensitive: a prediction log holds features only, so {spec.beside[0]} cannot be read; use a source that has it"
        )
    return problems


def _column_problems(spec: ModelSpec) -> list[str]:
    group = ", the group" if spec.task.group else ""
    problems = [
        f"features.{kind}: {name} is the label{group} or the event time and cannot be a feature"
        for kind, names in (("numeric", spec.features.numeric), ("categorical", spec.features.categorical))
        for name in names
        if name in spec.task.columns
    ]
    problems += [
        f"features.{kind}: {name} is the name of a column that is computed; rename the feature at the source"
        for kind, names in (("numeric", spec.features.numeric), ("categorical", spec.features.categorical))
        for name in names
        if name in COMPUTED_COLUMNS or name.startswith(ATTRIBUTION_PREFIX)
    ]
    known = {*spec.features.columns, spec.task.label, *COMPUTED_COLUMNS}
    for number, detector in enumerate(spec.drift):
        columns = getattr(detector, "columns", "all")
        unknown = [] if columns == "all" else [name for name in columns if name not in known]
        problems += [
            f"drift[{number}].columns: {name} is not a feature, the label, {' or '.join(COMPUTED_COLUMNS)}"
            for name in unknown
        ]
    problems += [
        f"{part}[{number}].by: {each.by} is not a categorical feature"
        for part, given, allowed in (
            ("drift", spec.drift, spec.features.categorical),
            ("performance", spec.performance, (*spec.features.categorical, *spec.beside)),
        )
        for number, each in enumerate(given)
        if each.by is not None and each.by not in allowed
    ]
    problems += [
        f"promotion.slices: {name} is not a categorical feature"
        for name in spec.promotion.slices
        if name not in (*spec.features.categorical, *spec.beside)
    ]
    return problems
