"""What a rollout is asked to do and what it has seen: values that the router, the policy and their drivers pass around."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from continuous_training.core.decisions import Rule
from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Moment

Mode = Literal["shadow", "canary", "ab"]
Version = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,100}$")]
Column = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0)]

LATENCY_BOUNDS = (
    0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper ends of the latency buckets in seconds, each included; one bucket more holds what is slower."""

PROBABILITY_BOUNDS = tuple(number / 20 for number in range(1, 20))
"""Upper ends of the score buckets of a classification."""

LOSS_BUCKETS = 50
"""Buckets of equal width from 0 to 1 that losses and distances are counted in."""

LOSS_BOUNDS = tuple((number + 1) / LOSS_BUCKETS for number in range(LOSS_BUCKETS - 1))
"""Upper ends of these buckets."""


def bucket(value: float, bounds: tuple[float, ...]) -> int:
    """Return the number of the bucket that `value` falls into.

    >>> bucket(0.05, (0.05, 0.1)), bucket(0.07, (0.05, 0.1)), bucket(9, (0.05, 0.1))
    (0, 1, 2)
    """
    return bisect_left(bounds, value)


class RolloutPlan(Frozen):
    """Which requests the challenger gets, as the router reads it from `rollout.json`.

    In a shadow the champion answers all requests and the challenger gets copies; in a canary and in A/B the challenger
    answers its share, always the same entities, and a share that grows keeps those that it had.
    """

    fence: int = Field(ge=1, description="Fence of the champion; a plan for an earlier one is not followed.")
    begun: Moment = Field(description="When the rollout began; with one fence a later one replaces an earlier one.")
    step: int = Field(0, ge=0, description="Number of the step; within a rollout it never goes down.")
    mode: Mode
    share: float = Field(ge=0, le=1, description="Share of the entities that the challenger answers, or is shown.")
    champion: Version
    challenger: Version
    url: str = Field(
        pattern=r"^http://[A-Za-z0-9.-]+(:[0-9]{1,5})?$", max_length=200, description="Where the challenger answers."
    )
    salt: str = Field(min_length=8, max_length=64, description="Key of the hash; another salt, other entities.")
    entity: Column | None = Field(None, description="Column that names who asks; none means each request for itself.")
    only: dict[Column, tuple[str, ...]] = Field(
        default_factory=dict, description="Column to values: other requests take no part."
    )
    timeout: float = Field(1.0, gt=0, le=60, description="Seconds after which the champion answers instead.")
    lease: float | None = Field(
        None,
        gt=0,
        description="Seconds after which a plan that nobody has renewed is not followed: whoever drives the rollout may be gone.",
    )
    score_bounds: tuple[float, ...] = Field(
        PROBABILITY_BOUNDS, max_length=100, description="Upper ends of the score buckets."
    )
    scale: float = Field(1.0, gt=0, description="Difference of two predictions that counts as the distance 1.")

    @model_validator(mode="after")
    def _two_versions(self) -> Self:
        if self.champion == self.challenger:
            msg = f"champion and challenger are both version {self.champion}; name two versions"
            raise ValueError(msg)
        if list(self.score_bounds) != sorted(set(self.score_bounds)):
            msg = "score_bounds must rise"
            raise ValueError(msg)
        return self

    @property
    def order(self) -> tuple[int, datetime, int]:
        """Return what never goes down from one plan to the next."""
        return self.fence, self.begun, self.step

    @property
    def name(self) -> str:
        """Return what counts of this step are filed under."""
        return f"{self.fence}-{self.begun:%Y%m%dT%H%M%S}-{self.step}"

    def takes(self, entity: str) -> bool:
        """Tell whether `entity` is in the challenger's share; the answer changes only from no to yes as the share grows.

        >>> plan = RolloutPlan(
        ...     fence=3, begun=datetime(2013, 3, 1), mode="canary", share=0.1, champion="3", challenger="4",
        ...     url="http://127.0.0.1:1", salt="pepper and salt",
        ... )
        >>> sum(plan.takes(str(number)) for number in range(10_000))
        1056
        """
        digest = hashlib.blake2b(entity.encode(), digest_size=8, key=self.salt.encode()).digest()
        return int.from_bytes(digest, "big") < self.share * 2**64


class VersionCounts(Frozen):
    """What one version did in one step, as counts only, so that those of several processes add up."""

    requests: Count = 0
    errors: Count = Field(0, description="Requests that it failed, was late for, or could not be reached for.")
    causes: dict[str, Count] = Field(default_factory=dict, description="The errors by cause.")
    latency: tuple[Count, ...] = Field((), description="Answers in each bucket of `LATENCY_BOUNDS`.")
    scores: tuple[Count, ...] = Field((), description="Predictions in each bucket of the plan's `score_bounds`.")
    losses: tuple[Count, ...] = Field((), description="Predictions with a known outcome in each of the loss buckets.")
    distances: tuple[Count, ...] = Field(
        (),
        description="Predictions in each of the loss buckets by how far they are from the other version's of the same row.",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.errors > self.requests:
            msg = f"{self.errors} of {self.requests} requests cannot have failed"
            raise ValueError(msg)
        for name, counts, length in (
            ("latency", self.latency, len(LATENCY_BOUNDS) + 1),
            ("losses", self.losses, LOSS_BUCKETS),
            ("distances", self.distances, LOSS_BUCKETS),
        ):
            if counts and len(counts) != length:
                msg = f"{name} has {len(counts)} buckets instead of {length}"
                raise ValueError(msg)
        return self

    def __add__(self, other: VersionCounts) -> VersionCounts:
        """Return the counts of both.

        >>> (VersionCounts(requests=2, errors=1) + VersionCounts(requests=3)).requests
        5
        """
        names = self.causes.keys() | other.causes.keys()
        return VersionCounts(
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            causes={name: self.causes.get(name, 0) + other.causes.get(name, 0) for name in sorted(names)},
            latency=_sum(self.latency, other.latency),
            scores=_sum(self.scores, other.scores),
            losses=_sum(self.losses, other.losses),
            distances=_sum(self.distances, other.distances),
        )


class RolloutCounts(Frozen):
    """What the router counted since the plan of one step is in force."""

    plan: str = Field(description="Name of the plan.")
    champion: VersionCounts = VersionCounts()
    challenger: VersionCounts = VersionCounts()
    dropped: Count = Field(0, description="Requests that were not mirrored because the challenger was behind.")
    compared: Count = Field(0, description="Mirrored predictions that were compared with the champion's.")
    differing: Count = Field(0, description="Those of them that differ by more than 1e-9.")
    largest_difference: float = Field(0.0, ge=0)

    def __add__(self, other: RolloutCounts) -> RolloutCounts:
        """Return the counts of both, which must be of the same step."""
        if self.plan != other.plan:
            msg = f"counts of {self.plan} and of {other.plan} do not add up"
            raise ValueError(msg)
        return RolloutCounts(
            plan=self.plan,
            champion=self.champion + other.champion,
            challenger=self.challenger + other.challenger,
            dropped=self.dropped + other.dropped,
            compared=self.compared + other.compared,
            differing=self.differing + other.differing,
            largest_difference=max(self.largest_difference, other.largest_difference),
        )


class RolloutSeen(Frozen):
    """Where a rollout stands: what its policy judges."""

    started: Moment
    step: int = Field(ge=0, description="Number of the step in force.")
    step_started: Moment
    champion: VersionCounts = VersionCounts()
    challenger: VersionCounts = VersionCounts()


class RolloutVerdict(Frozen):
    """Promote or reject the challenger, or keep watching, with every guard's numbers."""

    answer: Literal["promote", "reject", "watch"]
    step: int = Field(ge=0, description="The step to be in now; higher than before when that one has passed.")
    text: str
    rules: tuple[Rule, ...] = ()


def _sum(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True)) if one and other else one or other
