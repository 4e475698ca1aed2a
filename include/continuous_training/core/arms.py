"""Count what the two versions of a rollout do, as plain numbers: in the router for each request, in a rehearsal for each logged one."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from continuous_training.core.rollout import LATENCY_BOUNDS, LOSS_BOUNDS, LOSS_BUCKETS, VersionCounts, bucket

SAME = 1e-9
"""Predictions that differ by less are the same."""

_MOST_COMPARED = 256 * 2**10
_LARGEST = sys.float_info.max


class Arm:
    """What one version does."""

    def __init__(self, score_bounds: tuple[float, ...]) -> None:
        self.requests = 0
        self._bounds = score_bounds
        self._causes: dict[str, int] = {}
        self._latency = [0] * (len(LATENCY_BOUNDS) + 1)
        self._scores = [0] * (len(score_bounds) + 1)

    def answered(self, seconds: float | None, predictions: list[Any]) -> None:
        """Count an answer, and how long it took where that is known."""
        self.requests += 1
        if seconds is not None:
            self._latency[bucket(seconds, LATENCY_BOUNDS)] += 1
        for prediction in predictions:
            self._scores[bucket(score(prediction), self._bounds)] += 1

    def failed(self, cause: str) -> None:
        """Count a request that got no answer of use."""
        self.requests += 1
        self._causes[cause] = self._causes.get(cause, 0) + 1

    def counts(self) -> VersionCounts:
        """Return what was counted."""
        return VersionCounts(
            requests=self.requests,
            errors=sum(self._causes.values()),
            causes=dict(sorted(self._causes.items())),
            latency=tuple(self._latency),
            scores=tuple(self._scores),
        )


class Comparison:
    """By how much two versions' answers to the same requests differ.

    Parameters
    ----------
    scale
        The difference that counts as the distance 1; probabilities of several classes are half the sum of their differences apart.
    """

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._distances = [0] * LOSS_BUCKETS
        self._compared = 0
        self._differing = 0
        self._largest = 0.0

    def add(self, champion: list[Any], challenger: list[Any]) -> None:
        """Count the answers to one request."""
        pairs = [*zip(champion, challenger, strict=False)]
        if len(champion) != len(challenger):
            pairs.append(([], [0.0]))
        distances = [_distance(one, other) for one, other in pairs]
        for one, other in pairs:
            self._distances[bucket(min(1.0, _apart(one, other) / self._scale), LOSS_BOUNDS)] += 1
        self._compared += len(distances)
        self._differing += sum(distance > SAME for distance in distances)
        self._largest = max([self._largest, *(each for each in distances if math.isfinite(each))])

    def counts(self) -> dict[str, Any]:
        """Return what was counted, as `RolloutCounts` names it, but for `distances`."""
        return {"compared": self._compared, "differing": self._differing, "largest_difference": self._largest}

    @property
    def distances(self) -> tuple[int, ...]:
        """Return the predictions by how far they are apart, as `VersionCounts.distances` holds them."""
        return tuple(self._distances)


def predictions(body: bytes) -> list[Any]:
    """Return the predictions in an answer, in MLflow's form or the Open Inference Protocol's; none where it is large or other.

    An answer in which one is no finite number has none.

    >>> predictions(b'{"predictions": [0.25]}'), predictions(b'{"outputs": [{"name": "p", "data": [0.5]}]}')
    ([0.25], [0.5])
    """
    if len(body) > _MOST_COMPARED:
        return []
    try:
        answer = json.loads(body)
        found = answer["predictions"] if "predictions" in answer else answer["outputs"][0]["data"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    return found if isinstance(found, list) and all(map(_is_prediction, found)) else []


def score(prediction: Any) -> float:
    """Return what is counted of a prediction: the number, or with several classes the highest probability."""
    return float(max(prediction) if isinstance(prediction, list) else prediction)


def _is_prediction(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    # What is counted must be a float that has an order: JSON of Python's knows NaN and whole numbers without end.
    return bool(numbers) and all(isinstance(each, int | float) and abs(each) <= _LARGEST for each in numbers)


def _differences(one: Any, other: Any) -> list[float]:
    left, right = (value if isinstance(value, list) else [value] for value in (one, other))
    if len(left) != len(right):
        return [math.inf]
    return [abs(float(a) - float(b)) for a, b in zip(left, right, strict=True)]


def _distance(one: Any, other: Any) -> float:
    return max(_differences(one, other), default=0.0)


def _apart(one: Any, other: Any) -> float:
    """Return the distance of two values, or of two distributions over classes (total variation)."""
    found = _differences(one, other)
    return sum(found) / 2 if len(found) > 1 else _distance(one, other)
