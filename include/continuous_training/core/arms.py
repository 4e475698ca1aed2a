"""Count what the two versions of a rollout do, as plain numbers: in the router for each request, in a rehearsal for each logged one."""

from __future__ import annotations

import json
import math
from typing import Any

from continuous_training.core.rollout import LATENCY_BOUNDS, VersionCounts, bucket

SAME = 1e-9
"""Predictions that differ by less are the same."""

_MOST_COMPARED = 256 * 2**10


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
    """By how much two versions' answers to the same requests differ."""

    def __init__(self) -> None:
        self._compared = 0
        self._differing = 0
        self._largest = 0.0

    def add(self, champion: list[Any], challenger: list[Any]) -> None:
        """Count the answers to one request."""
        distances = [_distance(one, other) for one, other in zip(champion, challenger, strict=False)]
        if len(champion) != len(challenger):
            distances.append(math.inf)
        self._compared += len(distances)
        self._differing += sum(distance > SAME for distance in distances)
        self._largest = max([self._largest, *(each for each in distances if math.isfinite(each))])

    def counts(self) -> dict[str, Any]:
        """Return what was counted, as `RolloutCounts` names it."""
        return {"compared": self._compared, "differing": self._differing, "largest_difference": self._largest}


def predictions(body: bytes) -> list[Any]:
    """Return the predictions in an answer, in MLflow's form or the Open Inference Protocol's; none where it is large or other.

    >>> predictions(b'{"predictions": [0.25]}'), predictions(b'{"outputs": [{"name": "p", "data": [0.5]}]}')
    ([0.25], [0.5])
    """
    if len(body) > _MOST_COMPARED:
        return []
    try:
        answer = json.loads(body)
        found = answer["predictions"] if "predictions" in answer else answer["outputs"][0]["data"]
    except (ValueError, LookupError, TypeError):
        return []
    return found if isinstance(found, list) and all(map(_is_prediction, found)) else []


def score(prediction: Any) -> float:
    """Return what is counted of a prediction: the number, or with several classes the highest probability."""
    return float(max(prediction) if isinstance(prediction, list) else prediction)


def _is_prediction(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, int | float) for each in value)
    return isinstance(value, int | float)


def _distance(one: Any, other: Any) -> float:
    left, right = (value if isinstance(value, list) else [value] for value in (one, other))
    if len(left) != len(right):
        return math.inf
    return max((abs(float(a) - float(b)) for a, b in zip(left, right, strict=True)), default=0.0)
