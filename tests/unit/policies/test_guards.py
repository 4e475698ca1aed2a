"""What holds a retraining back, and what no guard holds back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from continuous_training.core.decisions import Evidence
from continuous_training.core.defects import Defect
from continuous_training.core.history import OpenEpisode, RetrainingHistory
from continuous_training.core.scores import DriftScore
from continuous_training.core.window import Window
from continuous_training.policies.guards import Blackout, Budget
from continuous_training.policies.signals import SignalPolicy

END = datetime(2013, 3, 8, tzinfo=UTC)
AS_OF = END + timedelta(days=1)
WEEK = timedelta(days=7)
OLD = RetrainingHistory(champion_cutoff=END - timedelta(days=90))
BROKEN = Defect(kind="unit_change", column="wind", text="wind is 1000 times what is usual")
FREEZE = {"start": AS_OF - WEEK, "end": AS_OF + WEEK, "why": "release freeze"}


def seen(statistic: float = 0.31, *, defects: tuple[Defect, ...] = ()) -> Evidence:
    score = DriftScore(
        detector="psi", column="wind", statistic=statistic, measure="statistic", threshold=0.25,
        reference_rows=1000, current_rows=500,
    )  # fmt: skip
    window = Window(start=END - WEEK, end=END)
    return Evidence(model="flights", window=window, as_of=AS_OF, rows=500, drift=(score,), defects=defects)


def policy(**settings: Any) -> SignalPolicy:
    return SignalPolicy(**settings)


def episode(kind: Any, **more: Any) -> OpenEpisode:
    return OpenEpisode(kind=kind, name=f"{kind}:2013-02-01T00:00:00Z", opened_at=END - 5 * WEEK, **more)


# Blackout


def test_evidence_is_not_followed_in_a_blackout_and_its_reason_is_told() -> None:
    decision = policy(blackout=[FREEZE]).decide(seen(), RetrainingHistory())
    assert (decision.answer, decision.reason) == ("no", None)
    assert decision.why == "wind: psi 0.31 above 0.25; but a blackout lasts until 2013-03-16 00:00Z (release freeze)"


@pytest.mark.parametrize(
    ("guard", "past", "said"),
    [
        ({"blackout": [FREEZE]}, {}, "a blackout lasts until 2013-03-16 00:00Z (release freeze)"),
        ({"cooldown": "14 days"}, {"requested": (END,)}, "the last retraining was on 2013-03-08 00:00Z and the cooldown of 14 days"),
        ({"budget": {"runs": 1, "per": "30 days"}}, {"requested": (END,)}, "the budget is used: 1 of 1 retrainings in 30 days"),
        ({"mode": "advise"}, {}, "the policy's mode is advise"),
        ({}, {"champion_cutoff": END}, "the champion was made from data up to 2013-03-08 00:00Z and knows this window already"),
    ],
    ids=["blackout", "cooldown", "budget", "advice", "known"],
)  # fmt: skip
def test_what_held_a_retraining_back_is_kept_apart(guard: dict[str, Any], past: dict[str, Any], said: str) -> None:
    held = policy(**guard).decide(seen(), RetrainingHistory(**past))
    assert (held.answer, held.reason) == ("no", None)
    assert held.held_back.startswith(said)
    assert held.held_back in held.why
    quiet = policy(**guard).decide(seen(0.01), RetrainingHistory(**past))
    broken = policy(**guard).decide(seen(defects=(BROKEN,)), RetrainingHistory(**past))
    assert (quiet.held_back, broken.held_back) == ("", "")


def test_a_blackout_begins_with_its_start_and_is_over_at_its_end() -> None:
    blackout = Blackout(start=END, end=END + WEEK)
    moments = (END - timedelta(seconds=1), END, END + WEEK - timedelta(seconds=1), END + WEEK)
    assert [bool(blackout.hindrance(moment)) for moment in moments] == [False, True, True, False]


def test_a_cause_that_begins_in_a_blackout_asks_after_it() -> None:
    held = policy(blackout=[FREEZE])
    (name,) = held.began(seen(), RetrainingHistory()).values()
    waiting = OpenEpisode(kind="drift", name=name, opened_at=AS_OF)
    after = seen().model_copy(update={"as_of": AS_OF + WEEK})
    decision = held.decide(after, RetrainingHistory(open_episodes=(waiting,)))
    assert decision.reason is not None
    assert decision.reason.episode == name


def test_a_blackout_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValidationError, match="a blackout must start before it ends; got 2013-03-08"):
        Blackout(start=END, end=END)


def test_a_budget_counts_only_the_stretch_of_time_before_the_moment() -> None:
    budget = Budget(runs=1, per=WEEK)
    assert budget.hindrance(AS_OF, [AS_OF - WEEK]) is None
    assert budget.hindrance(AS_OF, [AS_OF - WEEK + timedelta(seconds=1)])


# The fuse


def test_a_champion_that_is_too_old_is_retrained_without_any_signal() -> None:
    decision = policy(max_age="90 days").decide(seen(0.01), OLD)
    assert decision.answer == "yes"
    assert decision.reason is not None
    assert (decision.reason.kind, decision.reason.episode) == ("schedule", "schedule:age:2013-03-08T00:00:00Z")
    assert decision.why == (
        "the champion's data end on 2012-12-08 00:00Z, 90 days before the window's; at most 90 days are allowed"
    )
    assert policy(max_age="91 days").decide(seen(0.01), OLD).answer == "no"
    assert policy(max_age="1 day").decide(seen(0.01), RetrainingHistory()).answer == "no"


def test_the_age_asks_beyond_the_budget_where_drift_does_not() -> None:
    used = OLD.model_copy(update={"requested": (AS_OF - timedelta(days=10),)})
    budget = {"runs": 1, "per": "30 days"}
    assert "the budget is used" in policy(budget=budget).decide(seen(), used).why
    decision = policy(budget=budget, max_age="90 days").decide(seen(), used)
    assert decision.reason is not None
    assert decision.reason.kind == "schedule"


def test_an_episode_that_has_asked_does_not_silence_the_age() -> None:
    asked = OLD.model_copy(update={"open_episodes": (episode("drift", requested_at=END - 4 * WEEK),)})
    assert policy().decide(seen(), asked).answer == "no"
    assert policy(max_age="90 days").decide(seen(), asked).answer == "yes"


def test_the_age_waits_for_the_end_of_the_cooldown_and_of_a_blackout() -> None:
    recent = OLD.model_copy(update={"requested": (AS_OF - timedelta(days=10),)})
    for cooldown, answer in (("11 days", "no"), ("10 days", "yes")):
        assert policy(max_age="90 days", cooldown=cooldown).decide(seen(0.01), recent).answer == answer
    held = policy(max_age="90 days", blackout=[FREEZE]).decide(seen(0.01), OLD)
    assert held.answer == "no"
    assert "at most 90 days are allowed; but a blackout lasts" in held.why


def test_a_broken_window_is_not_trained_on_however_old_the_champion_is() -> None:
    decision = policy(max_age="1 day").decide(seen(defects=(BROKEN,)), OLD)
    assert (decision.answer, decision.reason) == ("no", None)


def test_the_age_opens_no_episode() -> None:
    assert policy(max_age="1 day").began(seen(0.01), OLD) == {}


# Advice


def test_a_policy_that_advises_writes_its_yes_down_and_asks_for_nothing() -> None:
    for settings, statistic in (({}, 0.31), ({"max_age": "90 days"}, 0.01)):
        yes = policy(**settings).decide(seen(statistic), OLD)
        advice = policy(mode="advise", **settings).decide(seen(statistic), OLD)
        assert (yes.answer, advice.answer, advice.reason) == ("yes", "no", None)
        assert advice.why == f"advice only, the policy's mode is advise: {yes.why}"
        assert advice.signals == yes.signals


def test_advice_is_not_given_where_there_was_none() -> None:
    for held in ({"statistic": 0.01}, {"defects": (BROKEN,)}):
        assert "advice" not in policy(mode="advise").decide(seen(**held), RetrainingHistory()).why


# Defects


def test_a_broken_window_is_a_no_that_names_the_defect_and_keeps_the_signals() -> None:
    decision = policy().decide(seen(defects=(BROKEN,)), RetrainingHistory())
    assert decision.answer == "no"
    assert decision.why == "the data is broken and the window quarantined: wind is 1000 times what is usual"
    assert [signal.state for signal in decision.signals] == ["fired"]


def test_a_broken_window_begins_an_episode_of_its_own_and_only_one() -> None:
    broken = seen(defects=(BROKEN,))
    assert policy().began(broken, RetrainingHistory()) == {"defect": "defect:2013-03-08T00:00:00Z"}
    assert policy().began(broken, RetrainingHistory(open_episodes=(episode("defect"),))) == {}
    assert set(policy().began(seen(), RetrainingHistory(open_episodes=(episode("defect"),)))) == {"drift"}


def test_a_broken_window_ends_nothing_and_the_next_whole_one_ends_the_defect() -> None:
    history = RetrainingHistory(open_episodes=(episode("defect"), episode("drift")))
    assert policy().ended(seen(0.01, defects=(BROKEN,)), history) == {}
    assert set(policy().ended(seen(0.01), history)) == {"defect", "drift"}
    assert policy().ended(seen(), history) == {
        "defect": "the window that ends 2013-03-08 00:00Z shows no defect",
    }
