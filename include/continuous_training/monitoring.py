"""What the ledger says of every model, as Prometheus metrics.

They are read from the ledger when they are asked for: nothing is counted beside it, so nothing is lost with a process, and
every exporter of one deployment says the same. Labels are names of the model file (model, detector, signal, metric) and
words of the product; columns, categories and reasons in words are none, for they have no bound.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from continuous_training.core.decisions import EpisodeKind
from continuous_training.core.scores import DriftScore, PerformanceScore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from prometheus_client.core import Metric

    from continuous_training.ledger import Ledger
    from continuous_training.ledger.overview import Overview

STATES = {"quiet": 0, "fired": 1, "inconclusive": -1}
ANSWERS = {"no": 0, "yes": 1, "inconclusive": -1}

_MODEL = ["model"]


class Models(Collector):
    """Every model of a ledger.

    Parameters
    ----------
    ledger:
        Read at each collection.
    now:
        The clock, for ages.

    Examples
    --------
    >>> import tempfile
    >>> from datetime import UTC, datetime
    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> from continuous_training.ledger import Ledger
    >>> moment = datetime(2013, 3, 1, tzinfo=UTC)
    >>> folder = tempfile.TemporaryDirectory()
    >>> ledger = Ledger(f"sqlite:///{folder.name}/ledger.db")
    >>> made = {"bundle": "b" * 64, "data_cutoff": moment, "reason": "first", "verdict": None}
    >>> champion = ledger.promote("flights", run_key="a" * 64, fence_seen=0, now=moment, **made)
    >>> registry = CollectorRegistry()
    >>> registry.register(Models(ledger, now=lambda: datetime(2013, 3, 2, tzinfo=UTC)))
    >>> print([line for line in generate_latest(registry).decode().splitlines() if line.startswith("ct_model_age")])
    ['ct_model_age_seconds{model="flights"} 86400.0']
    >>> folder.cleanup()
    """

    def __init__(self, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._now = now

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the ledger need not be there when the exporter starts."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric.

        Raises
        ------
        StoreUnavailable
            The ledger cannot be read.
        """
        models, now = self._ledger.overview(), self._now()
        yield from _champions(models, now)
        yield from _looks(models)
        yield from _drift(models)
        yield from _performance(models)
        yield from _rollouts(models)
        yield from _counts(models)


def _champions(models: Iterable[Overview], now: datetime) -> Iterator[Metric]:
    info = GaugeMetricFamily("ct_model_info", "The champion of the model.", labels=["model", "version"])
    fence = GaugeMetricFamily("ct_model_fence", "Champions that the model has had, rollbacks included.", labels=_MODEL)
    age = GaugeMetricFamily("ct_model_age_seconds", "Time since the champion was promoted.", labels=_MODEL)
    data = GaugeMetricFamily("ct_model_data_age_seconds", "Age of the newest data in the champion.", labels=_MODEL)
    for each in models:
        fence.add_metric([each.model], each.fence)
        if each.promoted_at and each.data_cutoff:
            info.add_metric([each.model, each.version], 1)
            age.add_metric([each.model], (now - each.promoted_at).total_seconds())
            data.add_metric([each.model], (now - each.data_cutoff).total_seconds())
    yield from (info, fence, age, data)


def _looks(models: Iterable[Overview]) -> Iterator[Metric]:
    end = GaugeMetricFamily("ct_window_end_timestamp_seconds", "End of the newest window looked at.", labels=_MODEL)
    rows = GaugeMetricFamily("ct_window_rows", "Rows of that window.", labels=_MODEL)
    defects = GaugeMetricFamily("ct_window_defects", "Faults in that window's data.", labels=_MODEL)
    answer = GaugeMetricFamily(
        "ct_decision", "Whether that window asks for a retraining: 1 yes, 0 no, -1 inconclusive.", labels=_MODEL
    )
    signal = GaugeMetricFamily(
        "ct_signal",
        "Each signal in that window: 1 fired, 0 quiet, -1 inconclusive.",
        labels=["model", "signal", "kind"],
    )
    for each in models:
        if each.decision is None or each.evidence is None:
            continue
        end.add_metric([each.model], each.evidence.window.end.timestamp())
        rows.add_metric([each.model], each.evidence.rows)
        defects.add_metric([each.model], len(each.evidence.defects))
        answer.add_metric([each.model], ANSWERS[each.decision.answer])
        for one in each.decision.signals:
            signal.add_metric([each.model, one.name, one.kind], STATES[one.state])
    yield from (end, rows, defects, answer, signal)


def _drift(models: Iterable[Overview]) -> Iterator[Metric]:
    labels = ["model", "detector"]
    effect = GaugeMetricFamily("ct_drift_effect", "Largest effect over columns and slices.", labels=labels)
    moved = GaugeMetricFamily("ct_drift_exceeded", "Columns and slices beyond the threshold.", labels=labels)
    measured = GaugeMetricFamily("ct_drift_measured", "Columns and slices that were measured.", labels=labels)
    for each in models:
        found: dict[str, list[DriftScore]] = {}
        for score in each.evidence.drift if each.evidence else ():
            found.setdefault(score.detector, []).append(score)
        for detector, scores in found.items():
            effects = [abs(score.effect) for score in scores if score.effect is not None]
            if effects:
                effect.add_metric([each.model, detector], max(effects))
            moved.add_metric([each.model, detector], sum(score.exceeded is True for score in scores))
            measured.add_metric([each.model, detector], sum(score.exceeded is not None for score in scores))
    yield from (effect, moved, measured)


def _performance(models: Iterable[Overview]) -> Iterator[Metric]:
    labels = ["model", "metric", "line"]
    value = GaugeMetricFamily("ct_performance", "Quality of the champion, of all rows.", labels=labels)
    low = GaugeMetricFamily("ct_performance_low", "Lower end of its interval.", labels=labels)
    high = GaugeMetricFamily("ct_performance_high", "Upper end of its interval.", labels=labels)
    matured = GaugeMetricFamily("ct_performance_matured", "Share of the rows whose label is known.", labels=labels)
    limit = GaugeMetricFamily("ct_performance_limit", "Limit of the rule that it crosses.", labels=[*labels, "side"])
    for each in models:
        for score in _of_all_rows(each):
            at = [each.model, score.estimate.metric, score.line]
            for family, number in (
                (value, score.estimate.value),
                (low, score.estimate.low),
                (high, score.estimate.high),
            ):
                if number is not None and math.isfinite(number):
                    family.add_metric(at, number)
            matured.add_metric(at, score.matured)
            for side, bound in (("below", score.below), ("above", score.above)):
                if bound is not None:
                    limit.add_metric([*at, side], bound)
    yield from (value, low, high, matured, limit)


def _of_all_rows(model: Overview) -> Iterator[PerformanceScore]:
    """Yield one score for each metric and line: slices have no bound, and the newest window speaks for the line."""
    found: dict[tuple[str, str], PerformanceScore] = {}
    for score in model.evidence.performance if model.evidence else ():
        key = score.estimate.metric, score.line
        if not score.slice and (key not in found or _newer(score, found[key])):
            found[key] = score
    yield from found.values()


def _newer(one: PerformanceScore, other: PerformanceScore) -> bool:
    if one.window == other.window:
        return one.limited and not other.limited
    return one.window is None or (other.window is not None and one.window.end > other.window.end)


def _rollouts(models: Iterable[Overview]) -> Iterator[Metric]:
    goes_on = GaugeMetricFamily("ct_rollout_active", "1 while a challenger meets real requests.", labels=_MODEL)
    step = GaugeMetricFamily("ct_rollout_step", "Step of the newest rollout, from 1.", labels=_MODEL)
    labels = ["model", "arm"]
    requests = GaugeMetricFamily(
        "ct_rollout_requests", "Requests in the step that the newest verdict was made of.", labels=labels
    )
    errors = GaugeMetricFamily("ct_rollout_errors", "Those that failed.", labels=labels)
    ended = CounterMetricFamily("ct_rollouts", "Rollouts that ended.", labels=["model", "answer"])
    for each in models:
        record = each.rollout
        goes_on.add_metric([each.model], record is not None and not record.ended)
        step.add_metric([each.model], 0 if record is None else record.step + 1)
        for arm in ("champion", "challenger"):
            counts = getattr(record.counts, arm) if record and record.counts else None
            requests.add_metric([each.model, arm], counts.requests if counts else 0)
            errors.add_metric([each.model, arm], counts.errors if counts else 0)
        for answer in ("promote", "reject"):
            ended.add_metric([each.model, answer], each.rollouts.get(answer, 0))
    yield from (goes_on, step, requests, errors, ended)


def _counts(models: Iterable[Overview]) -> Iterator[Metric]:
    episodes = GaugeMetricFamily("ct_episodes_open", "1 while a cause of this kind goes on.", labels=["model", "kind"])
    champions = CounterMetricFamily("ct_champions", "Promotions and rollbacks.", labels=["model", "kind"])
    answers = CounterMetricFamily("ct_decisions", "Windows decided.", labels=["model", "answer"])
    labels = ["model", "reason", "outcome"]
    trainings = CounterMetricFamily("ct_retrainings", "Trainings that ended.", labels=labels)
    seconds = CounterMetricFamily("ct_retraining_seconds", "Time they took, waiting included.", labels=labels)
    for each in models:
        for cause in get_args(EpisodeKind):
            episodes.add_metric([each.model, cause], cause in each.episodes)
        for kind, count in each.champions.items():
            champions.add_metric([each.model, kind], count)
        for answer, count in each.answers.items():
            answers.add_metric([each.model, answer], count)
        for one in each.trainings:
            trainings.add_metric([each.model, one.reason, one.outcome], one.runs)
            seconds.add_metric([each.model, one.reason, one.outcome], one.seconds)
    yield from (episodes, champions, answers, trainings, seconds)
