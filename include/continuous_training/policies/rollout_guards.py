"""What a rollout watches: each guard compares the two versions' counts and says whether harm is shown.

A guard has two questions with one pair of intervals. Harm is shown when everything the intervals allow is worse than the limit
(fail), safety when nothing they allow is (pass); else the guard is inconclusive. Both versions' bounds are wrong with
probability `alpha / 2` at most each, so harm is shown falsely with probability `alpha` at most however often one looks, and
whatever the two versions have to do with each other: in a shadow they see the same requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Self

from pydantic import Field, model_validator

from continuous_training.core.decisions import Outcome, Rule
from continuous_training.core.frozen import Frozen
from continuous_training.core.rollout import LATENCY_BOUNDS, LOSS_BOUNDS, LOSS_BUCKETS, VersionCounts, bucket
from continuous_training.policies.sequential import lower_bound, rate_bounds, shown_above, upper_bound

_ENDS = (0.0, *LOSS_BOUNDS, 1.0)
_LOSSES = tuple((number + 0.5) / LOSS_BUCKETS for number in range(LOSS_BUCKETS))


class ErrorGuard(Frozen):
    """The challenger may not fail more often than the champion."""

    margin: float = Field(
        0.005, ge=0, lt=1, description="How much higher its share of failed requests may be, for example 0.005."
    )

    def judge(self, champion: VersionCounts, challenger: VersionCounts, alpha: float) -> Rule:
        """Compare the shares of requests that failed."""
        old = rate_bounds(champion.errors, champion.requests, alpha / 2)
        new = rate_bounds(challenger.errors, challenger.requests, alpha / 2)
        seen = f"{_share(challenger.errors, challenger.requests)} against {_share(champion.errors, champion.requests)}"
        return _difference("errors", f"failed requests: {seen}", old, new, self.margin)


class LatencyGuard(Frozen):
    """The slowest of the challenger's answers may not be much slower than the champion's.

    Latency is counted in buckets, so what is shown is shown up to the end of one.
    """

    quantile: float = Field(0.99, gt=0, lt=1, description="Which latency is compared; 0.99 is the p99.")
    times: float | None = Field(None, ge=1, le=100, description="At most this many times the champion's.")
    at_most_ms: float | None = Field(
        None, gt=0, le=10_000, description="At most this many milliseconds, whatever the champion's is."
    )
    slack_ms: float = Field(
        5, ge=0, le=10_000, description="Milliseconds added to `times` the champion's: no model is judged by less."
    )

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.times is None) == (self.at_most_ms is None):
            msg = "give exactly one of times and at_most_ms"
            raise ValueError(msg)
        return self

    def judge(self, champion: VersionCounts, challenger: VersionCounts, alpha: float) -> Rule:
        """Compare the quantile of the challenger's latency with the limit or with the champion's."""
        if self.times is None:
            assert self.at_most_ms is not None
            low, high = self._bounds(challenger, alpha)
            limits, what = (self.at_most_ms / 1000,) * 2, f"{self.at_most_ms:g} ms"
        else:
            low, high = self._bounds(challenger, alpha / 2)
            old_low, old_high = self._bounds(champion, alpha / 2)
            limits = (old_low * self.times + self.slack_ms / 1000, old_high * self.times + self.slack_ms / 1000)
            what = (
                f"{self.times:g} times the champion's, which is between {_ms(old_low)} and {_ms(old_high)}, "
                f"and {self.slack_ms:g} ms"
            )
        outcome = Outcome.INCONCLUSIVE
        if low >= limits[1]:  # the quantile is above `low`, not at it
            outcome = Outcome.FAIL
        elif high <= limits[0]:
            outcome = Outcome.PASS
        text = (
            f"latency: the challenger's p{100 * self.quantile:g} is between {_ms(low)} and {_ms(high)}, {_CLAIM[outcome]} "
            f"at most {what}"
        )
        limit = None if limits[1] == _INFINITE else limits[1]
        return Rule(
            name="latency",
            outcome=outcome,
            text=text,
            low=low,
            high=None if high == _INFINITE else high,
            limit=limit,
        )

    def _bounds(self, counts: VersionCounts, alpha: float) -> tuple[float, float]:
        """Return between which ends of buckets the quantile lies.

        The quantile is above the end of a bucket when more than `1 - quantile` of the answers are, and that is a rate. The
        more answers are above, the higher both bounds of the rate, so the bucket in which the quantile truly lies decides alone
        whether a bound is wrong: nothing is to be divided over the buckets.
        """
        total, slower = sum(counts.latency), 1 - self.quantile
        if not total:
            return 0.0, _INFINITE
        above = [total - below for below in accumulate(counts.latency[:-1])]
        low, high = 0.0, _INFINITE
        for end, events in zip(LATENCY_BOUNDS, above, strict=True):
            if shown_above(events, total, slower, alpha):
                low = end
            elif shown_above(total - events, total, self.quantile, alpha):
                return low, end
        return low, high


class ScoreGuard(Frozen):
    """The challenger's scores may not be distributed all too differently from the champion's on the same requests.

    The distance is the largest difference of the two cumulative distributions at the ends of the score buckets, which is
    Kolmogorov's and Smirnov's up to the buckets.
    """

    at_most: float = Field(gt=0, lt=1, description="Largest distance allowed, from 0 (the same) to 1.")

    def judge(self, champion: VersionCounts, challenger: VersionCounts, alpha: float) -> Rule:
        """Compare the shares of scores up to each end of a bucket; `alpha` is divided over the ends."""
        ends = max(len(champion.scores), len(challenger.scores)) - 1
        distances = [
            self._distance(champion.scores, challenger.scores, end, alpha / (4 * ends)) for end in range(ends)
        ] or [(0.0, 1.0)]
        low, high = max(low for low, _ in distances), max(high for _, high in distances)
        outcome = Outcome.INCONCLUSIVE
        if low > self.at_most:
            outcome = Outcome.FAIL
        elif high <= self.at_most:
            outcome = Outcome.PASS
        text = f"scores: their distributions are between {low:.3g} and {high:.3g} apart, {_CLAIM[outcome]} at most {self.at_most:g}"
        return Rule(name="scores", outcome=outcome, text=text, low=low, high=high, limit=self.at_most)

    def _distance(
        self, champion: tuple[int, ...], challenger: tuple[int, ...], end: int, alpha: float
    ) -> tuple[float, float]:
        (old_low, old_high), (new_low, new_high) = (
            rate_bounds(sum(counts[: end + 1]), sum(counts), alpha) for counts in (champion, challenger)
        )
        return max(0.0, new_low - old_high, old_low - new_high), max(new_high - old_low, old_high - new_low)


class DisagreementGuard(Frozen):
    """The challenger may not say something all too different from the champion about the same request.

    The distance of two predictions is their difference: of probabilities as it is, with several classes half the sum of the
    differences, of values in units of `scale`, where more counts as 1. What is limited is the mean. It sees what `scores` cannot,
    the right scores for the wrong rows, and needs no label; but it tells a change and not whether it is for the worse, so a
    challenger that is far better is rejected too. Distances are counted in 50 buckets, so what is shown is shown up to the end of
    one.
    """

    at_most: float = Field(gt=0, lt=1, description="Largest mean distance allowed, from 0 (the same) to 1.")
    scale: float | None = Field(
        None, gt=0, description="Regression: the difference that counts as 1, for example 60; ranking: of two scores."
    )

    def judge(self, champion: VersionCounts, challenger: VersionCounts, alpha: float) -> Rule:  # noqa: ARG002 - as of every guard
        """Compare the mean distance of the two versions' predictions with the limit."""
        counts = challenger.distances or (0,) * LOSS_BUCKETS
        low, high = lower_bound(_ENDS[:-1], counts, alpha), upper_bound(_ENDS[1:], counts, alpha)
        outcome = Outcome.INCONCLUSIVE
        if low > self.at_most:
            outcome = Outcome.FAIL
        elif high <= self.at_most:
            outcome = Outcome.PASS
        text = (
            f"disagreement: predictions of the same {sum(counts):,} rows are between {low:.3g} and {high:.3g} apart in the mean, "
            f"{_CLAIM[outcome]} at most {self.at_most:g}"
        )
        return Rule(name="disagreement", outcome=outcome, text=text, low=low, high=high, limit=self.at_most)


class QualityGuard(Frozen):
    """The challenger may not err more than the champion, by the outcomes that are known of its predictions.

    In classification the loss of a prediction is its Brier score from 0 to 1: half of the sum of the squared errors of the classes'
    probabilities. In regression it is the absolute error in units of `scale`, where a larger error than `scale` counts as 1.
    Losses are counted in 50 buckets.
    """

    margin: float = Field(0.01, ge=0, lt=1, description="How much higher its mean loss may be.")
    scale: float | None = Field(None, gt=0, description="Regression: the error that counts as 1, for example 60.")

    def loss(self, prediction: float | Sequence[float], outcome: float) -> float:
        """Return the loss of one prediction.

        Parameters
        ----------
        prediction
            Probability of the second of two classes, or of each of more classes, or a value.
        outcome
            Number of the class, from 0, or the value.

        Examples
        --------
        >>> round(QualityGuard().loss(0.9, 1), 3), round(QualityGuard().loss([0.1, 0.9], 1), 3)
        (0.01, 0.01)
        >>> QualityGuard(scale=60).loss(30, 45)
        0.25
        """
        if isinstance(prediction, Sequence):
            loss = sum((each - (place == outcome)) ** 2 for place, each in enumerate(prediction)) / 2
        else:
            loss = (prediction - outcome) ** 2 if self.scale is None else abs(prediction - outcome) / self.scale
        return loss if loss < 1 else 1.0  # NaN has no order, and a version that says it must not look perfect

    def count(self, losses: list[float]) -> tuple[int, ...]:
        """Return the losses as `VersionCounts.losses` holds them."""
        counts = [0] * LOSS_BUCKETS
        for loss in losses:
            counts[bucket(loss, LOSS_BOUNDS)] += 1
        return tuple(counts)

    def judge(self, champion: VersionCounts, challenger: VersionCounts, alpha: float) -> Rule:
        """Compare the mean losses."""
        old, new = (
            (lower_bound(_LOSSES, counts, alpha / 2), upper_bound(_LOSSES, counts, alpha / 2))
            for counts in (each.losses or (0,) * LOSS_BUCKETS for each in (champion, challenger))
        )
        seen = f"{_mean(challenger.losses)} against {_mean(champion.losses)}"
        return _difference("quality", f"mean loss of predictions with a known outcome: {seen}", old, new, self.margin)


_INFINITE = float("inf")
_CLAIM = {
    Outcome.PASS: "shown to be",
    Outcome.FAIL: "shown not to be",
    Outcome.INCONCLUSIVE: "not shown whether it is",
}


def _difference(name: str, text: str, old: tuple[float, float], new: tuple[float, float], margin: float) -> Rule:
    low, high = new[0] - old[1], new[1] - old[0]
    outcome = Outcome.FAIL if low > margin else Outcome.PASS if high <= margin else Outcome.INCONCLUSIVE
    text = f"{text}; the difference is between {low:.3g} and {high:.3g}, {_CLAIM[outcome]} at most {margin:g}"
    return Rule(name=name, outcome=outcome, text=text, low=low, high=high, limit=margin)


def _share(events: int, total: int) -> str:
    return f"{events:,} of {total:,}"


def _mean(losses: tuple[int, ...]) -> str:
    total = sum(losses)
    if not total:
        return "none known"
    return f"{sum(value * count for value, count in zip(_LOSSES, losses, strict=True)) / total:.4g} ({total:,})"


def _ms(seconds: float) -> str:
    return "any length" if seconds == _INFINITE else f"{seconds * 1000:g} ms"
