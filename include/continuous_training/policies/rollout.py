"""Whether a challenger under real requests goes on, is promoted or is rejected: what was seen in, a verdict out.

The verdict depends on counts and on the time alone, so whoever drives the rollout may look at any moment, twice, or again
after a crash. Each step is judged on its own requests: within one step both versions have the same share of every hour.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from continuous_training.core.decisions import Outcome, Rule
from continuous_training.core.duration import Duration, format_duration
from continuous_training.core.frozen import Frozen
from continuous_training.core.rollout import (
    PROBABILITY_BOUNDS,
    Mode,
    RolloutPlan,
    RolloutSeen,
    RolloutVerdict,
    VersionCounts,
)
from continuous_training.policies.rollout_guards import (
    DisagreementGuard,
    ErrorGuard,
    LatencyGuard,
    QualityGuard,
    ScoreGuard,
)

LONGEST = timedelta(days=366)
_SAME_REQUESTS = (ScoreGuard, DisagreementGuard)
_PERCENT = re.compile(r"\s*(\d+(\.\d+)?)\s*%\s*")


def _share(value: object) -> object:
    """Read `5%` as 0.05 and leave numbers as they are."""
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    return float(found[1]) / 100 if found else value


Share = Annotated[
    float, BeforeValidator(_share, json_schema_input_type=float | str), Field(gt=0, le=1, examples=["5%", 0.05])
]


class Step(Frozen):
    """One step of a rollout: exactly one of shadow, canary and ab with its share, and how long it bakes."""

    shadow: Share | None = Field(
        None, description="Share of the requests of which the challenger gets a copy; the champion answers all."
    )
    canary: Share | None = Field(
        None, description="Share of the entities that the challenger answers; the step passes unless harm is shown."
    )
    ab: Share | None = Field(
        None,
        description="Share of the entities that the challenger answers; the step passes once the guard quality has shown that it "
        "is at most the margin worse.",
    )
    bake: Duration = Field(gt=timedelta(0), le=LONGEST, description="How long the step lasts at least.")

    @model_validator(mode="after")
    def _one_mode(self) -> Self:
        given = [name for name in ("shadow", "canary", "ab") if getattr(self, name) is not None]
        if len(given) != 1:
            msg = f"give exactly one of shadow, canary and ab with a share such as 5%; got {', '.join(given) or 'none'}"
            raise ValueError(msg)
        return self

    @property
    def mode(self) -> Mode:
        """Return what the step does."""
        return "shadow" if self.shadow is not None else "canary" if self.canary is not None else "ab"

    @property
    def share(self) -> float:
        """Return its share."""
        return next(share for share in (self.shadow, self.canary, self.ab) if share is not None)


class Guards(Frozen):
    """What is watched in every step; a guard that is not named is not watched, except errors."""

    errors: ErrorGuard = ErrorGuard()
    latency: LatencyGuard | None = Field(None, description="The slowest answers, against a limit or the champion's.")
    scores: ScoreGuard | None = Field(
        None, description="How the scores are distributed on the same requests, in shadow steps."
    )
    disagreement: DisagreementGuard | None = Field(
        None, description="How far the two versions' predictions of the same request are apart, in shadow steps."
    )
    quality: QualityGuard | None = Field(None, description="How good predictions with a known outcome were.")

    @property
    def watched(self) -> tuple[ErrorGuard | LatencyGuard | ScoreGuard | DisagreementGuard | QualityGuard, ...]:
        """Return the guards that are watched."""
        named = (self.errors, self.latency, self.scores, self.disagreement, self.quality)
        return tuple(each for each in named if each is not None)


class RolloutPolicy(Frozen):
    """How a challenger that passed the promotion gate meets real requests, step by step, before it is the champion."""

    steps: tuple[Step, ...] = Field(min_length=1, max_length=20, description="Passed one after another.")
    guards: Guards = Field(default_factory=Guards, description="What rejects the challenger as soon as harm is shown.")
    alpha: float = Field(
        0.05,
        gt=0,
        le=0.2,
        description="Probability that a challenger without fault is rejected by any guard in any step, however often one looks.",
    )
    requests: int = Field(1000, ge=1, description="Requests that the challenger must have had for a step to pass.")
    at_most: Duration = Field(
        timedelta(days=7), le=LONGEST, description="A rollout that is not through by then is rejected."
    )
    entity: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Column of the requests that names who asks, so that one asker always gets one version; the header "
        "`ct-entity` goes before it. Without either each request is drawn for itself.",
    )
    only: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Column to values, such as regions: requests with other values take no part in the rollout.",
    )
    timeout_ms: int = Field(
        1000,
        ge=1,
        le=60_000,
        description="Milliseconds that the challenger may take for an answer before the champion gives it.",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        bakes = sum((step.bake for step in self.steps), timedelta())
        if bakes >= self.at_most:
            msg = (
                f"the steps bake for {format_duration(bakes)} together, which must be less than at_most "
                f"({format_duration(self.at_most)})"
            )
            raise ValueError(msg)
        if any(step.mode == "ab" for step in self.steps) and self.guards.quality is None:
            msg = "an ab step passes by the guard quality; add guards: {quality: {margin: 0.01}} or make it a canary"
            raise ValueError(msg)
        named = [name for name in ("scores", "disagreement") if getattr(self.guards, name)]
        if named and all(step.mode != "shadow" for step in self.steps):
            msg = (
                f"the guard {named[0]} compares both versions on the same requests, which only a shadow step shows them; begin with "
                "{shadow: 100%, bake: 1 hour} or remove the guard"
            )
            raise ValueError(msg)
        shares = [step.share for step in self.steps if step.mode != "shadow"]
        if shares != sorted(shares):
            msg = "the shares of canary and ab steps must not fall, or entities would go back to the champion"
            raise ValueError(msg)
        return self

    def plan(
        self,
        step: int,
        *,
        fence: int,
        begun: datetime,
        champion: str,
        challenger: str,
        url: str,
        salt: str,
        score_bounds: tuple[float, ...] = PROBABILITY_BOUNDS,
    ) -> RolloutPlan:
        """Return what the router is to do in a step.

        Parameters
        ----------
        step
            Its number, from 0.
        fence, begun, champion, challenger
            The champion's fence, when the rollout began, and the two versions.
        url
            Where the challenger answers.
        salt
            Key of the hash, the same in all steps of one rollout.
        score_bounds
            Where scores are cut into buckets; the default suits probabilities.
        """
        wanted = self.steps[step]
        return RolloutPlan(
            fence=fence,
            begun=begun,
            step=step,
            mode=wanted.mode,
            share=wanted.share,
            champion=champion,
            challenger=challenger,
            url=url,
            salt=salt,
            entity=self.entity,
            only=self.only,
            timeout=self.timeout_ms / 1000,
            score_bounds=score_bounds,
            scale=(self.guards.disagreement and self.guards.disagreement.scale) or 1.0,
        )

    def judge(self, seen: RolloutSeen, now: datetime) -> RolloutVerdict:
        """Return the verdict with every guard's numbers.

        Parameters
        ----------
        seen
            Where the rollout stands, with the counts of the present step alone.
        now
            The present moment.

        Raises
        ------
        ValueError
            There is no such step.
        """
        if seen.step >= len(self.steps):
            msg = f"step {seen.step} does not exist; the last of the rollout is {len(self.steps) - 1}"
            raise ValueError(msg)
        same = self.steps[seen.step].mode == "shadow"
        guards = self._guarded(seen.champion, seen.challenger, same_requests=same)
        rules = (*guards, self._requests(seen), self._bake(seen, now), *self._shown(seen, guards))
        harm = next((rule for rule in guards if rule.outcome is Outcome.FAIL), None)
        waiting = next((rule for rule in rules[len(guards) :] if rule.outcome is not Outcome.PASS), None)
        name = f"step {seen.step + 1} of {len(self.steps)} ({self._named(seen.step)})"
        if harm:
            return _verdict("reject", seen.step, f"Reject the challenger in {name}: {harm.text}.", rules)
        if waiting is None and seen.step + 1 == len(self.steps):
            return _verdict("promote", seen.step, f"Promote the challenger: it has passed {name}.", rules)
        if now - seen.started >= self.at_most:
            missing = waiting.text if waiting else f"{name} was not the last"
            text = f"Reject the challenger: not through within {format_duration(self.at_most)}, in {name}: {missing}."
            return _verdict("reject", seen.step, text, rules)
        if waiting:
            return _verdict("watch", seen.step, f"Keep watching {name}: {waiting.text}.", rules)
        following = f"{self._named(seen.step + 1)}"
        return _verdict("watch", seen.step + 1, f"Go on to {following}: {name} has passed.", rules)

    def rehearsed(self, champion: VersionCounts, challenger: VersionCounts) -> RolloutVerdict:
        """Return whether a challenger that answered logged requests may meet real ones: reject it where a guard shows harm."""
        guards = self._guarded(champion, challenger, same_requests=True)
        harm = next((rule for rule in guards if rule.outcome is Outcome.FAIL), None)
        if harm:
            text = f"Reject the challenger before any client met it: on logged requests, {harm.text}."
            return _verdict("reject", 0, text, guards)
        return _verdict("watch", 0, f"Begin: {challenger.requests:,} logged requests showed no harm.", guards)

    def _guarded(self, champion: VersionCounts, challenger: VersionCounts, *, same_requests: bool) -> tuple[Rule, ...]:
        # the rehearsal and each step are judged once, each by every guard
        alpha = self.alpha / (len(self.guards.watched) * (len(self.steps) + 1))
        # 5 % of the entities are other people with other scores: that two such groups differ says nothing of the versions
        watched = (guard for guard in self.guards.watched if same_requests or not isinstance(guard, _SAME_REQUESTS))
        return tuple(guard.judge(champion, challenger, alpha) for guard in watched)

    def _named(self, step: int) -> str:
        return f"{self.steps[step].mode} {100 * self.steps[step].share:g}%"

    def _requests(self, seen: RolloutSeen) -> Rule:
        count = seen.challenger.requests
        return Rule(
            name="requests",
            outcome=Outcome.PASS if count >= self.requests else Outcome.INCONCLUSIVE,
            text=f"the challenger had {count:,} requests, at least {self.requests:,} are needed",
            value=count,
            limit=self.requests,
        )

    def _bake(self, seen: RolloutSeen, now: datetime) -> Rule:
        wanted, passed = self.steps[seen.step].bake, now - seen.step_started
        return Rule(
            name="bake",
            outcome=Outcome.PASS if passed >= wanted else Outcome.INCONCLUSIVE,
            text=f"{format_duration(max(passed, timedelta()))} of {format_duration(wanted)} have passed",
            value=passed.total_seconds(),
            limit=wanted.total_seconds(),
        )

    def _shown(self, seen: RolloutSeen, guards: tuple[Rule, ...]) -> list[Rule]:
        """Return what an A/B step waits for: that the challenger's quality is shown, not only not refuted."""
        if self.steps[seen.step].mode != "ab":
            return []
        quality = next(rule for rule in guards if rule.name == "quality")
        return [quality.model_copy(update={"name": "quality shown"})]


def _verdict(answer: str, step: int, text: str, rules: tuple[Rule, ...]) -> RolloutVerdict:
    return RolloutVerdict.model_validate({"answer": answer, "step": step, "text": text, "rules": rules})
