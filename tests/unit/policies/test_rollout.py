"""A rollout's verdicts: on what was seen, at any moment, and how often they are wrong."""

import json
import math
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from continuous_training.core.decisions import Outcome
from continuous_training.core.rollout import (
    LATENCY_BOUNDS,
    LOSS_BUCKETS,
    PROBABILITY_BOUNDS,
    RolloutCounts,
    RolloutSeen,
    VersionCounts,
    bucket,
)  # fmt: skip
from continuous_training.policies.rollout import RolloutPolicy
from continuous_training.policies.rollout_guards import (
    DisagreementGuard,
    ErrorGuard,
    LatencyGuard,
    QualityGuard,
    ScoreGuard,
)

START = datetime(2013, 3, 1, tzinfo=UTC)
STEPS = ({"shadow": "100%", "bake": "1 hour"}, {"canary": "5%", "bake": "1 hour"}, {"canary": 0.5, "bake": "6 hours"})
GUARDS = {
    "errors": {"margin": 0.01},
    "latency": {"times": 2},
    "scores": {"at_most": 0.15},
    "disagreement": {"at_most": 0.1},
    "quality": {"margin": 0.05},
}


def policy(**changes):
    return RolloutPolicy.model_validate({"steps": STEPS, "requests": 500, "at_most": "2 days", **changes})


def counts(requests, errors=0, seconds=0.004, score=0.3, loss=None, apart=0.0):
    latency, scores = [0] * (len(LATENCY_BOUNDS) + 1), [0] * (len(PROBABILITY_BOUNDS) + 1)
    latency[bucket(seconds, LATENCY_BOUNDS)] = requests - errors
    scores[bucket(score, PROBABILITY_BOUNDS)] = requests - errors
    losses = QualityGuard().count([loss] * requests) if loss is not None else ()
    distances = QualityGuard().count([apart] * requests)
    told = {"latency": tuple(latency), "scores": tuple(scores), "losses": losses, "distances": distances}
    return VersionCounts(requests=requests, errors=errors, **told)


def judged(rollout, champion, challenger, step=0, hours=2.0, total=None):
    started = START if total is None else START - timedelta(hours=total - hours)
    seen = RolloutSeen(started=started, step=step, step_started=START, champion=champion, challenger=challenger)
    return rollout.judge(seen, START + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("step", "hours", "requests", "answer", "then"),
    [
        (0, 0.5, 5000, "watch", 0),
        (0, 1, 499, "watch", 0),
        (0, 1, 500, "watch", 1),
        (1, 1, 500, "watch", 2),
        (2, 5.9, 5000, "watch", 2),
        (2, 6, 5000, "promote", 2),
    ],
)
def test_a_healthy_challenger_goes_step_by_step_when_time_and_requests_are_enough(step, hours, requests, answer, then):
    verdict = judged(policy(), counts(5000), counts(requests), step, hours)
    assert (verdict.answer, verdict.step) == (answer, then)


@pytest.mark.parametrize(
    ("guard", "harm"),
    [
        ("errors", {"errors": 100}),
        ("latency", {"seconds": 0.1}),
        ("scores", {"score": 0.8}),
        ("disagreement", {"apart": 0.15}),
        ("quality", {"loss": 0.4}),
    ],
)
def test_shown_harm_rejects_at_once_and_names_the_guard_with_its_numbers(guard, harm):
    verdict = judged(policy(guards=GUARDS), counts(2000, loss=0.1), counts(2000, **{"loss": 0.1, **harm}), hours=0.1)
    assert verdict.answer == "reject"
    rules = {rule.name: rule for rule in verdict.rules}
    assert [name for name, rule in rules.items() if rule.outcome is Outcome.FAIL] == [guard]
    assert rules[guard].text in verdict.text
    assert rules[guard].low > rules[guard].limit or guard == "latency"
    assert {"errors", "latency", "scores", "disagreement", "quality", "requests", "bake"} == rules.keys()


@pytest.mark.parametrize(("guard", "harm"), [("scores", {"score": 0.8}), ("disagreement", {"apart": 0.3})])
def test_scores_of_different_people_are_not_compared(guard, harm):
    rollout = policy(guards=GUARDS)
    old, new = counts(2000, loss=0.1), counts(2000, loss=0.1, **harm)
    assert judged(rollout, old, new, step=0).answer == "reject"
    canary = judged(rollout, old, new, step=1)
    assert canary.answer == "watch"
    assert guard not in {rule.name for rule in canary.rules}
    assert rollout.rehearsed(old, new).answer == "reject"


def test_what_only_looks_bad_is_watched_and_an_expired_rollout_rejected():
    few = judged(policy(), counts(2000), counts(20, errors=1), hours=10)
    assert (few.answer, few.step) == ("watch", 0)
    late = judged(policy(), counts(2000), counts(20, errors=1), hours=10, total=48)
    assert late.answer == "reject"
    assert "not through within 2 days" in late.text
    assert "20 requests, at least 500 are needed" in late.text


def test_the_last_step_that_passes_at_the_last_moment_promotes():
    assert judged(policy(), counts(5000), counts(5000), 2, 6, total=48).answer == "promote"


def test_an_ab_step_waits_until_the_quality_is_shown():
    rollout = policy(steps=[{"ab": 0.5, "bake": "1 hour"}], guards={"quality": {"margin": 0.05}})
    assert judged(rollout, counts(5000), counts(5000)).answer == "watch"
    assert judged(rollout, counts(5, loss=0.1), counts(5000, loss=0.1)).answer == "watch"
    assert judged(rollout, counts(5000, loss=0.1), counts(5000, loss=0.11)).answer == "promote"


def test_a_latency_limit_in_milliseconds_needs_no_champion():
    guard = LatencyGuard(at_most_ms=50)
    assert guard.judge(VersionCounts(), counts(2000, seconds=0.04), 0.01).outcome is Outcome.PASS
    assert guard.judge(VersionCounts(), counts(2000, seconds=0.06), 0.01).outcome is Outcome.FAIL
    assert guard.judge(VersionCounts(), VersionCounts(), 0.01).outcome is Outcome.INCONCLUSIVE


def test_a_fast_model_is_not_rejected_for_milliseconds():
    guard = LatencyGuard(times=1.5)
    assert guard.judge(counts(9000, seconds=0.0005), counts(9000, seconds=0.003), 0.01).outcome is not Outcome.FAIL
    assert guard.judge(counts(9000, seconds=0.0005), counts(9000, seconds=0.02), 0.01).outcome is Outcome.FAIL


def test_nothing_seen_is_inconclusive_to_every_guard():
    for guard in policy(guards=GUARDS).guards.watched:
        assert guard.judge(VersionCounts(), VersionCounts(), 0.01).outcome is Outcome.INCONCLUSIVE


def drawn(source, requests, errors, seconds, score):
    """Return the counts of requests whose latency and score vary around what is given."""
    total = VersionCounts()
    ends = (0.2, 0.4, 0.6, 0.8)
    latency, scores = [0] * (len(LATENCY_BOUNDS) + 1), [0] * (len(ends) + 1)
    failed = sum(source.random() < errors for _ in range(requests))
    for _ in range(requests - failed):
        latency[bucket(seconds * source.lognormvariate(0, 0.5), LATENCY_BOUNDS)] += 1
        scores[bucket(source.gauss(score, 0.15), ends)] += 1
    return total + VersionCounts(requests=requests, errors=failed, latency=tuple(latency), scores=tuple(scores))


def rejected(source, rollout, champion, challenger, looks):
    """Run one rollout with a look after every 5 requests of the challenger; tell whether it was rejected."""
    old, new = VersionCounts(), VersionCounts()
    for _ in range(looks):
        old, new = old + drawn(source, 45, *champion), new + drawn(source, 5, *challenger)
        if judged(rollout, old, new, hours=0.1).answer == "reject":
            return True
    return False


TIGHT = policy(
    steps=[{"shadow": 0.1, "bake": "1 hour"}],
    alpha=0.2,
    guards={"errors": {"margin": 0}, "latency": {"times": 1, "slack_ms": 0}, "scores": {"at_most": 0.01}},
)


def test_a_challenger_that_is_as_good_is_rejected_at_most_alpha_of_the_time_whatever_is_watched():
    source, same = random.Random(11), (0.05, 0.004, 0.4)
    assert sum(rejected(source, TIGHT, same, same, 20) for _ in range(20)) <= 0.2 * 20


@pytest.mark.parametrize("harmful", [(0.5, 0.004, 0.4), (0.05, 0.2, 0.4), (0.05, 0.004, 0.8)])
def test_a_challenger_that_does_harm_is_rejected_within_two_hundred_requests(harmful):
    source = random.Random(12)
    assert all(rejected(source, TIGHT, (0.05, 0.004, 0.4), harmful, 40) for _ in range(5))


COUNT = st.integers(0, 3000)


@settings(max_examples=50)
@given(requests=st.tuples(COUNT, COUNT), errors=st.tuples(st.floats(0, 1), st.floats(0, 1)), more=st.integers(1, 500))
def test_more_failures_of_the_challenger_never_make_a_rejection_go_away(requests, errors, more):
    old, new = (
        VersionCounts(requests=count, errors=int(count * rate)) for count, rate in zip(requests, errors, strict=True)
    )
    worse = VersionCounts(requests=new.requests + more, errors=new.errors + more)
    guard = ErrorGuard(margin=0.01)
    before, after = guard.judge(old, new, 0.01), guard.judge(old, worse, 0.01)
    assert after.low >= before.low - 1e-9
    assert after.outcome is Outcome.FAIL or before.outcome is not Outcome.FAIL
    assert before.low <= before.high


@settings(max_examples=25)
@given(
    parts=st.lists(st.tuples(COUNT, st.floats(0, 1), st.floats(0, 12)), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_counts_of_several_processes_add_up_in_any_order(parts, order):
    pieces = [counts(number, int(number * rate), seconds) for number, rate, seconds in parts]
    whole = sum(pieces, VersionCounts())
    order.shuffle(pieces)
    assert sum(pieces, VersionCounts()) == whole
    assert VersionCounts.model_validate_json(whole.model_dump_json()) == whole


def test_counts_of_two_steps_do_not_add_up():
    one = RolloutCounts(plan="3-20130301T000000-0", champion=counts(5))
    assert (one + one).champion.requests == 10
    with pytest.raises(ValueError, match="do not add up"):
        one + one.model_copy(update={"plan": "3-20130301T000000-1"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests": 1, "errors": 2},
        {"latency": (1, 2)},
        {"losses": (1,) * (LOSS_BUCKETS + 1)},
        {"requests": -1},
    ],
)
def test_impossible_counts_are_refused(wrong):
    with pytest.raises(ValidationError):
        VersionCounts.model_validate(wrong)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": []}, "at least 1"),
        ({"steps": [{"bake": "1 hour"}]}, "exactly one of shadow, canary and ab"),
        ({"steps": [{"shadow": 1, "canary": 1, "bake": "1 hour"}]}, "exactly one of shadow, canary and ab"),
        ({"steps": [{"canary": "500%", "bake": "1 hour"}]}, "less than or equal to 1"),
        ({"steps": [{"canary": "much", "bake": "1 hour"}]}, "valid number"),
        ({"steps": [{"canary": 0.5, "bake": "1 hour"}, {"canary": 0.1, "bake": "1 hour"}]}, "must not fall"),
        ({"steps": [{"ab": 0.5, "bake": "1 hour"}]}, "passes by the guard quality"),
        ({"steps": STEPS[1:], "guards": {"scores": {"at_most": 0.1}}}, "only a shadow step shows them"),
        ({"steps": STEPS[1:], "guards": {"disagreement": {"at_most": 0.1}}}, "the guard disagreement compares both"),
        ({"at_most": "8 hours"}, "less than at_most"),
        ({"guards": {"latency": {}}}, "exactly one of times and at_most_ms"),
        ({"guards": {"latency": {"times": 2, "at_most_ms": 9}}}, "exactly one of times and at_most_ms"),
        ({"alpha": 0.5}, "less than or equal to 0.2"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused_with_what_is_allowed(changes, said):
    with pytest.raises(ValidationError, match=said):
        policy(**changes)


def test_a_step_that_does_not_exist_cannot_be_judged():
    with pytest.raises(ValueError, match="the last of the rollout is 2"):
        judged(policy(), counts(1), counts(1), step=3)


def test_a_plan_says_what_its_step_says_and_keeps_entities_as_the_share_grows():
    rollout = policy(entity="customer", only={"region": ["EU"]})
    given = {
        "fence": 7,
        "begun": START,
        "champion": "3",
        "challenger": "4",
        "url": "http://127.0.0.1:8081",
        "salt": "0123456789",
    }
    small, large = (rollout.plan(step, **given) for step in (1, 2))
    assert (small.mode, small.share, small.entity, small.order) == ("canary", 0.05, "customer", (7, START, 1))
    entities = [str(number) for number in range(5000)]
    early = {entity for entity in entities if small.takes(entity)}
    assert early < {entity for entity in entities if large.takes(entity)}
    assert len(early) == pytest.approx(250, abs=60)


def test_every_score_far_from_the_buckets_is_counted_and_compared():
    guard = ScoreGuard(at_most=0.5)
    assert guard.judge(counts(2000, score=-9), counts(2000, score=9), 0.01).outcome is Outcome.FAIL
    assert guard.judge(counts(2000, score=9), counts(2000, score=9), 0.01).outcome is Outcome.PASS


@pytest.mark.parametrize("prediction", [math.nan, [math.nan, 0.1, 0.9], [0.0, math.nan], 1e9, [5.0, -4.0]])
def test_a_prediction_that_is_no_number_or_absurd_has_the_largest_loss(prediction):
    assert QualityGuard().loss(prediction, 1) == 1


def rejected_for_disagreement(source, mean, limit, looks=60):
    """Tell whether a shadow whose versions are `mean` apart is ever rejected, with a look after every 10 rows."""
    seen, guard = VersionCounts(), DisagreementGuard(at_most=limit)
    for _ in range(looks):
        apart = [source.betavariate(2, 2 / mean - 2) for _ in range(10)]
        seen += VersionCounts(distances=QualityGuard().count(apart))
        if guard.judge(VersionCounts(), seen, 0.2).outcome is Outcome.FAIL:
            return True
    return False


def test_versions_that_are_as_far_apart_as_allowed_are_rejected_at_most_alpha_of_the_time():
    source = random.Random(13)
    assert sum(rejected_for_disagreement(source, 0.2, 0.2) for _ in range(40)) <= 0.2 * 40
    assert all(rejected_for_disagreement(source, 0.2, 0.1) for _ in range(10))


@settings(max_examples=50)
@given(distances=st.lists(st.floats(0, 1), min_size=1, max_size=300), limit=st.floats(0.01, 0.99))
def test_disagreement_is_never_shown_against_the_mean_that_was_seen(distances, limit):
    rule = DisagreementGuard(at_most=limit).judge(
        VersionCounts(), VersionCounts(distances=QualityGuard().count(distances)), 0.05
    )
    mean = sum(distances) / len(distances)
    assert rule.low <= mean <= rule.high
    assert rule.outcome is not (Outcome.FAIL if mean <= limit else Outcome.PASS)


def test_versions_that_say_the_same_are_shown_to_agree_within_a_bucket():
    same = VersionCounts(distances=QualityGuard().count([0.0] * 5000))
    assert DisagreementGuard(at_most=0.03).judge(VersionCounts(), same, 0.01).outcome is Outcome.PASS


def test_the_plan_tells_routers_which_difference_counts_as_one():
    of = {
        "fence": 1,
        "begun": START,
        "champion": "1",
        "challenger": "2",
        "url": "http://127.0.0.1:1",
        "salt": "salt and pepper",
    }
    assert policy(guards={"disagreement": {"at_most": 0.1, "scale": 60}}).plan(0, **of).scale == 60
    assert policy().plan(0, **of).scale == policy(guards=GUARDS).plan(0, **of).scale == 1


def test_a_verdict_survives_json():
    verdict = judged(policy(guards=GUARDS), VersionCounts(), VersionCounts())
    assert type(verdict).model_validate(json.loads(verdict.model_dump_json())) == verdict
