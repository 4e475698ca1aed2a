"""What a model file will do, in words, for the person who has to approve it.

Kinds are described by their own docstrings and by the descriptions of their fields, so that a new kind needs nothing
here.
"""

import inspect
import re
import textwrap
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cron_descriptor import ExpressionDescriptor, FormatError, Options
from croniter import croniter
from pydantic import BaseModel

from continuous_training.core.data_check import Suite
from continuous_training.core.duration import format_duration
from continuous_training.core.window import Window
from continuous_training.detectors import AnyDetector
from continuous_training.policies import AnyRetrainingPolicy, SignalPolicy
from continuous_training.policies.estimation import estimate_signal
from continuous_training.policies.fairness import limits_in_words
from continuous_training.policies.feedback import FeedbackRule
from continuous_training.policies.performance import PerformanceRule
from continuous_training.policies.rollout import RolloutPolicy
from continuous_training.spec import ModelSpec

_WIDTH = 100
_LIMITS = ("threshold", "p_value")


def explain(spec: ModelSpec, *, now: datetime | None = None) -> str:
    """Return what `spec` will do, in paragraphs of lines of at most 100 characters.

    Parameters
    ----------
    spec
        A model file that loaded.
    now
        The moment the example dates and the next runs are counted from; the present by default.
    """
    moment = datetime.now(UTC) if now is None else now
    paragraphs = [
        _subject(spec),
        _data(spec, moment),
        _training(spec),
        _schedule(spec, moment),
        _evidence(spec),
        *_metrics(spec),
        _gate(spec),
        *([_rollout(spec.rollout)] if spec.rollout else []),
        f"Serving ({spec.deployment.kind}): {_described(spec.deployment)} {_handover(spec)}".strip(),
        *([f"Prediction log: {_described(log)}"] if (log := getattr(spec.deployment, "log", None)) else []),
        f"Where work runs ({spec.runner.kind}): {_described(spec.runner)}",
        *([f"In Airflow: {_described(spec.airflow)}"] if spec.airflow.model_fields_set else []),
    ]
    return "\n\n".join(map(_wrapped, paragraphs)) + "\n"


def _subject(spec: ModelSpec) -> str:
    features = [
        f"{len(names)} {kind} column{'s' * (len(names) != 1)} ({', '.join(names)})"
        for kind, names in (("numeric", spec.features.numeric), ("categorical", spec.features.categorical))
        if names
    ]
    return f"{spec.model} predicts {spec.task.label} ({spec.task.kind}) from {' and '.join(features)}. {_beside(spec)}{spec.description}"


def _beside(spec: ModelSpec) -> str:
    return f"It is measured by {', '.join(spec.beside)}, which it never gets. " if spec.beside else ""


def _data(spec: ModelSpec, moment: datetime) -> str:
    task, windows = spec.task, spec.window
    end = windows.last_end(moment - task.label_delay)
    begins = f"begins before the source has rows up to {_at(end + task.label_delay)}."
    begins = f"Nothing {begins}" if not spec.looks_early else f"No training {begins} {_EARLY}"
    young = f" A label younger than {format_duration(task.label_delay)} is not read." if task.label_delay else ""
    return (
        f"Data ({spec.source.kind}): {_described(spec.source)} The time of a row is {task.event_time}.{young} Windows end every "
        f"{format_duration(windows.every)}, counted from {_at(windows.anchor)}. Seen from {_at(moment)}, the newest window whose "
        f"labels can all be known ends at {_at(end)}: a training would take {format_duration(windows.reference)}, "
        f"{_span(windows.reference_window(end))}, and a look would score {format_duration(windows.current)}, "
        f"{_span(windows.current_window(end))}. {begins}"
    )


_EARLY = (
    "A look does not wait for labels: it begins when its rows have arrived, and what needs labels is measured on the newest "
    "window whose labels are known by then."
)


def _training(spec: ModelSpec) -> str:
    trainer, split = spec.trainer, spec.split
    given = ", ".join(f"{name} {_plain(value)}" for name, value in trainer.parameters.items())
    tuning = trainer.tuning
    stop = f" for at most {format_duration(tuning.time)}" if tuning.time else ""
    search = (
        f"A search tries {tuning.trials} sets of parameters{stop}."
        if tuning.trials
        else "There is no search for better ones."
    )
    again = (
        "With those parameters the challenger is fitted again, on all but the hold-out to be judged, and on all rows to serve. "
        if spec.refits
        else ""
    )
    return (
        f"Training ({trainer.kind}): {_described(trainer)} {f'Parameters given: {given}' if given else 'No parameters are given'}. "
        f"{search} In order of time, the oldest {split.train:.0%} of the rows train the model, the next {split.tune:.0%} choose its "
        f"parameters, and the newest {1 - split.train - split.tune:.0%} are the hold-out it is judged on. "
        f"{again}{_checks(spec.expectations)} A window with fewer than {spec.min_rows:,} labelled rows is not trained on."
    )


def _checks(suite: str | Suite | None) -> str:
    if suite is None:
        return "No data checks run before it."
    if isinstance(suite, str):
        return f"Before it run the data checks in {suite}: a critical one that fails stops the run, and the champion keeps serving."
    return (
        f"Before it run {len(suite.critical)} critical data checks, of which one that fails stops the run while the champion keeps "
        f"serving, and {len(suite.warning)} that only warn."
    )


def _schedule(spec: ModelSpec, moment: datetime) -> str:
    policy = spec.retraining
    by_hand = (
        f"Anybody may ask for one by hand: with the trigger form of {spec.model}.train, or ct run train {spec.model}."
    )
    if policy.schedule is None:
        return f"Retraining by schedule: never, for the model file has none. {by_hand}"
    times = croniter(policy.schedule, moment.astimezone(ZoneInfo(policy.timezone)))
    ahead = ", ".join(f"{times.get_next(datetime):%a %Y-%m-%d %H:%M %Z}" for _ in range(3))
    return f"Retraining by schedule: {_cron(policy.schedule)}, in the time zone {policy.timezone}. Next: {ahead}. {by_hand}"


def _cron(schedule: str) -> str:
    options = Options()
    options.locale_code = "en_GB"
    options.use_24hour_time_format = True
    try:
        words = ExpressionDescriptor(schedule, options).get_description()
    except FormatError:  # a few schedules that run have no words
        return f"at the times of {schedule}"
    return f"{words[:1].lower()}{words[1:]} ({schedule})"


def _evidence(spec: ModelSpec) -> str:
    policy = spec.retraining
    signals = [*map(_detector, spec.drift), *map(_rule, spec.performance), *map(_self_check, spec.estimates)]
    signals += map(_limit, limits_in_words(spec.fairness).items()) if spec.fairness else []
    signals += map(_feedback, spec.feedback)
    every = (
        f"every {format_duration(spec.window.every)}, the newest {format_duration(spec.window.current)} are compared with what the "
        "champion was made from."
    )
    watched = [f"- {signal}" for signal in signals]
    if not isinstance(policy, SignalPolicy):
        opening = f"Retraining by evidence: {every} {_WORDS[policy.kind]}"
        noted = "These signals are written down as well, and do not decide:" if signals else ""
        return "\n".join(part for part in (opening, noted, *watched, _restraint(spec)) if part)
    if not signals:
        return "Retraining by evidence: never, for the model file has neither a detector nor a rule."
    groups = () if isinstance(policy.when, str) else policy.when
    enough = {"any": "any one of them is enough", "all": "all of them must fire"}.get(str(policy.when)) or (
        "all of any one group must fire: " + " or ".join(" with ".join(group) for group in groups)
    )
    opening = f"Retraining by evidence: {every} These signals are watched, and {enough}:"
    names = [detector.known_as for detector in spec.drift]
    together = "Detectors of one name count as one signal. " if len(set(names)) < len(names) else ""
    return "\n".join([opening, *watched, together + _restraint(spec)])


_WORDS = {
    "regret": "A model refitted on the rows just before them, which has not seen them either, is compared with the champion; "
    "the champion is retrained when what it would have saved adds up past the policy's threshold.",
    "net_value": "A model refitted on the rows just before them, which has not seen them either, is compared with the champion; "
    "the champion is retrained when the gain is worth more than a retraining costs, with confidence.",
}


def _detector(detector: AnyDetector) -> str:
    columns = getattr(detector, "columns", None)
    where = (
        "" if columns is None else f" in {'every feature it can measure' if columns == 'all' else ', '.join(columns)}"
    )
    where += f", in each {detector.by} by itself" if detector.by else ""
    limits = [
        f"{name} {_plain(getattr(detector, name))}: {field.description}"
        for name, field in type(detector).model_fields.items()
        if name in _LIMITS
    ]
    return " ".join([f"{detector.kind}{where}: {_described(detector)}", *limits])


def _rule(rule: PerformanceRule) -> str:
    side, limit = ("above", rule.above) if rule.below is None else ("below", rule.below)
    long = f" in {rule.windows} windows in a row" if rule.windows > 1 else ""
    where = f" where it has at least {rule.rows:,} rows of one {rule.by}" if rule.by else ""
    return f"{rule.signal}: the champion's {rule.metric} {_LINES[rule.line]}{where} is {side} {limit:g}{long}."


def _limit(limit: tuple[str, tuple[str, str]]) -> str:
    name, (what, side) = limit
    return f"{name}: {what} is shown to be {side}."


def _feedback(rule: FeedbackRule) -> str:
    where = f" where it has one {rule.by}" if rule.by else ""
    return f"{rule.signal}: {rule.kind} is shown on more than {rule.above:.2%} of the champion's predictions{where}."


_LINES = {
    "final": "on the labels of the window",
    "provisional": "on the labels known so far",
    "estimated": "as its predictions alone lead to expect",
}


def _self_check(metric: str) -> str:
    return f"{estimate_signal(metric)}: labels have shown that the estimate cannot be believed, and it is switched off."


def _counting(policy: AnyRetrainingPolicy) -> list[str]:
    if not isinstance(policy, SignalPolicy):
        return []
    lasting = policy.persistence
    counts = f"once it fired in {lasting.windows} of the last {lasting.of} windows, the newest among them"
    told = [f"A signal counts {counts if lasting.of > 1 else 'in the first window in which it fires'}."]
    if policy.hysteresis:
        told.append(f"One that fired is quiet once it came back by {policy.hysteresis:.0%} of its threshold.")
    if policy.demote_below is not None:
        told.append(
            f"A signal is written down and not counted once under {policy.demote_below:.0%} of the retrainings that followed it are "
            "shown to have been worth it."
        )
    if policy.advise:
        told.append(f"Written down and not counted: {', '.join(policy.advise)}.")
    return told


def _restraint(spec: ModelSpec) -> str:
    policy = spec.retraining
    parts = [
        *_counting(policy),
        "One continuing cause is one episode, and an episode leads to one retraining.",
    ]
    parts.append(
        f"A retraining is labelled worth it, neutral or harmful by what it gained over the {policy.judged_over} windows after it."
    )
    if policy.cooldown:
        parts.append(
            f"Evidence is not followed for {format_duration(policy.cooldown)} after a retraining, whatever its cause; an episode "
            "that goes on after that may ask once more."
        )
    if policy.budget:
        parts.append(
            f"It is not followed either when the last {format_duration(policy.budget.per)} have seen {policy.budget.runs} "
            "retrainings, those by schedule and by hand included."
        )
    parts += [
        f"It is not followed from {_at(each.start)} to before {_at(each.end)}{f' ({each.why})' if each.why else ''}."
        for each in policy.blackout
    ]
    if policy.max_age:
        parts.append(
            f"A champion whose data ended {format_duration(policy.max_age)} ago is retrained without any signal and beyond the budget."
        )
    if policy.mode == "advise":
        parts.append("The policy only advises: its yes is written down and starts nothing.")
    if spec.triage is not None:
        parts.append("A window in which the data itself is broken is quarantined and retrains nothing.")
    if spec.triage is not None and spec.triage.season is not None:
        before = format_duration(spec.triage.season)
        parts.append(f"A drift that leaves the window as it was in the same season, {before} before, does not count.")
    parts.append(
        f"A window with fewer than {policy.rows:,} rows decides nothing. Every no is kept in the ledger with its reason."
    )
    return " ".join(parts)


def _metrics(spec: ModelSpec) -> list[str]:
    told = [f"- {metric.kind}: {_described(metric)}" for metric in spec.metrics]
    opening = "Metrics beside the built-in ones, with which every challenger is measured as well:"
    return ["\n".join([opening, *told])] if told else []


def _gate(spec: ModelSpec) -> str:
    gate = spec.promotion
    sure = f"{gate.confidence * 100:.4g}%"
    bar = "better"
    if gate.margin:
        bar = f"better by more than {gate.margin:g}" if gate.margin > 0 else f"at most {-gate.margin:g} worse"
    rules = [
        f"the {gate.metric} of the challenger is {bar}: the whole {sure} interval of the difference says so",
        f"at least {gate.rows:,} hold-out rows have a known label",
    ]
    if gate.floor is not None:
        rules.append(
            f"the challenger's own {gate.metric} is no worse than {gate.floor:g}: its whole {sure} interval says so"
        )
    if gate.slices:
        rules.append(
            f"on no value of {' or '.join(gate.slices)} with at least {gate.slice_rows:,} rows is it shown to be worse by more than "
            f"{gate.slice_drop:g}"
        )
    if gate.negative_flips is not None:
        rules.append(f"it is wrong where the champion is right on at most {gate.negative_flips:.2%} of the rows")
    if spec.fairness is not None:
        rules += [f"{what} is shown not to be {limit}" for what, limit in limits_in_words(spec.fairness).values()]
    if gate.asks is not None:
        always = gate.asks.when == "always"
        rules.append("a person has approved it in Airflow" + ("" if always else ", where a rule of `when` wants one"))
    opening = (
        "Promotion: a challenger replaces the champion only when, on the same hold-out rows, all of this is shown:"
    )
    closing = "What cannot be shown keeps the champion. The first model has no champion to beat."
    return "\n".join([opening, *(f"- {rule}" for rule in rules), closing])


def _rollout(rollout: RolloutPolicy) -> str:
    steps = [
        f"- {step.mode} {100 * step.share:g}%, for {format_duration(step.bake)} at least"
        + (", until the guard quality has shown that it is not worse" if step.mode == "ab" else "")
        for step in rollout.steps
    ]
    guards = [f"{_described(guard)}" for guard in rollout.guards.watched]
    opening = "Rollout: a challenger that passed meets real requests before it is the champion, in these steps:"
    closing = (
        f"Each step needs {rollout.requests:,} requests. What rejects it at once, falsely with a probability of "
        f"{rollout.alpha:g} at most: {' '.join(guards)} A rollout that is not through within "
        f"{format_duration(rollout.at_most)} is rejected."
    )
    return "\n".join([opening, *steps, closing])


def _handover(spec: ModelSpec) -> str:
    return (
        ""
        if spec.deployment.kind == "none"
        else "The champion before keeps serving when the new one does not answer as in training."
    )


def _described(part: BaseModel) -> str:
    """Return the first sentence of a kind's docstring, and the settings that the model file gives it."""
    text = " ".join((inspect.getdoc(type(part)) or "").split()).replace("`", "")
    first = re.match(r".+?\.(?=\s|$)", text)
    given = ", ".join(
        f"{name} {_plain(getattr(part, name))}"
        for name in type(part).model_fields
        if name in part.model_fields_set and name not in {"kind", "columns", "parameters", "tuning", *_LIMITS}
    )
    return " ".join(filter(None, [first and first[0], f"Given: {given}." if given else ""]))


def _plain(value: object) -> str:
    if isinstance(value, BaseModel):
        return ", ".join(f"{name} {_plain(getattr(value, name))}" for name in type(value).model_fields)
    if isinstance(value, timedelta):
        return format_duration(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%MZ}"


def _span(window: Window) -> str:
    return f"from {_at(window.start)} to before {_at(window.end)}"


def _wrapped(paragraph: str) -> str:
    return "\n".join(
        textwrap.fill(
            line,
            _WIDTH,
            subsequent_indent="  " if line.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in paragraph.splitlines()
    )
