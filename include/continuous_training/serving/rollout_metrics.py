"""What the router counts of both versions, as Prometheus' metrics: the arm is a label, and only `ct_router_info` names versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from continuous_training.core.prediction_log import SHADOW
from continuous_training.core.rollout import LATENCY_BOUNDS, RolloutCounts, RolloutPlan
from continuous_training.serving.meter import histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric


def rollout_metrics(model: str, report: dict[str, Any]) -> Iterator[Metric]:
    """Give the metrics of the step in force; none without a rollout. Each step counts from nought.

    Parameters
    ----------
    report
        As `Router.report` gives it.
    """
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if report["plan"] is None:
        return
    plan, counts = RolloutPlan.model_validate(report["plan"]), RolloutCounts.model_validate(report["counts"])
    shadow = plan.mode == SHADOW
    other = "shadow" if shadow else "challenger"
    arms = {"champion": counts.champion, other: counts.challenger}
    of = ["model", "arm"]
    requests = CounterMetricFamily("ct_router_requests", "Requests that count for an arm in this step.", labels=of)
    errors = CounterMetricFamily("ct_router_errors", "Those of them that it failed or was late for.", labels=of)
    seconds = HistogramMetricFamily("ct_router_request_duration_seconds", "Time an arm took for an answer.", labels=of)
    share = GaugeMetricFamily("ct_router_share", "Share of the entities that an arm answers, or is shown.", labels=of)
    info = GaugeMetricFamily(
        "ct_router_info", "1; the labels say which version an arm is.", labels=[*of, "version", "mode"]
    )
    shares = {"champion": 1.0 if shadow else 1 - plan.share, other: plan.share}
    for arm, version in zip(arms, (plan.champion, plan.challenger), strict=True):
        place = [model, arm]
        requests.add_metric(place, arms[arm].requests)
        errors.add_metric(place, arms[arm].errors)
        told = histogram(LATENCY_BOUNDS, arms[arm].latency or [0] * (len(LATENCY_BOUNDS) + 1), 0)
        seconds.add_metric(place, list(zip(told.bounds, told.counts, strict=True)), None)  # nobody keeps the sum
        share.add_metric(place, shares[arm])
        info.add_metric([*place, version, plan.mode], 1)
    yield from (requests, errors, seconds, share, info)
    for name, said, count in (
        ("dropped", "Copies not sent because the challenger was behind.", counts.dropped),
        ("compared", "Predictions of copies that were compared with the champion's.", counts.compared),
        ("differing", "Those of them that differ.", counts.differing),
    ):
        counter = CounterMetricFamily(f"ct_router_{name}", said, labels=of[:1])
        counter.add_metric([model], count)
        yield counter
    largest = GaugeMetricFamily(
        "ct_router_largest_difference", "Largest difference of two compared predictions in this step.", labels=of[:1]
    )
    largest.add_metric([model], counts.largest_difference)
    yield largest
