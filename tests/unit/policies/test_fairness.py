"""A limit for groups of people is a rule of the gate with three values, and a signal that fires when it is shown to be broken."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

import small_model
from continuous_training.core.comparison import Comparison
from continuous_training.core.decisions import Evidence, Outcome
from continuous_training.core.fairness import Disparity
from continuous_training.core.feedback import FeedbackScore, share_bounds
from continuous_training.core.history import OpenEpisode, RetrainingHistory
from continuous_training.core.scores import Estimate
from continuous_training.core.window import Window
from continuous_training.policies import SignalPolicy
from continuous_training.policies.evidence import signals
from continuous_training.policies.fairness import FairnessPolicy
from continuous_training.policies.promotion import PromotionPolicy

WINDOW = Window(start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 1, 8, tzinfo=UTC))
POLICY = FairnessPolicy(sensitive=("sex", "region"), demographic_parity=0.1, windows=2)
SHOWN_BEYOND, SHOWN_WITHIN, OPEN = (0.25, 0.2, 0.3), (0.04, 0.0, 0.09), (0.12, 0.05, 0.19)


def disparity(value: Any = 0.25, low: Any = 0.2, high: Any = 0.3, *, column: str = "sex", **more: Any) -> Disparity:
    estimate = Estimate(
        metric="demographic_parity_difference", value=value, low=low, high=high, note="" if low else "why"
    )
    given = {"text": "selection rate 0.5 where it is m, 0.25 where it is f", "above": 0.1, "windows": 2, **more}
    return Disparity(measure="demographic_parity", column=column, estimate=estimate, **given)


def verdict(challenger: Any, champion: Any = None) -> Any:
    estimate = Estimate(metric="accuracy", value=0.8, low=0.78, high=0.82, rows=5000)
    better = Estimate(metric="accuracy", value=0.02, low=0.01, high=0.03, rows=5000)
    comparison = Comparison(
        metric="accuracy",
        rows=5000,
        challenger=estimate,
        champion=estimate if champion else None,
        difference=better if champion else None,
        disparities=(disparity(*challenger),),
        champion_disparities=(disparity(*champion),) if champion else (),
    )
    return PromotionPolicy(metric="accuracy").judge(comparison, POLICY.rules(comparison))


@pytest.mark.parametrize(
    ("challenger", "champion", "outcome"),
    [
        (SHOWN_WITHIN, None, Outcome.PASS),
        (SHOWN_BEYOND, None, Outcome.FAIL),
        (OPEN, None, Outcome.INCONCLUSIVE),
        ((None, None, None), None, Outcome.INCONCLUSIVE),
        ((0.3, None, None), None, Outcome.INCONCLUSIVE),
        (OPEN, SHOWN_WITHIN, Outcome.INCONCLUSIVE),
        (OPEN, OPEN, Outcome.INCONCLUSIVE),
        (OPEN, SHOWN_BEYOND, Outcome.PASS),
        (SHOWN_BEYOND, SHOWN_BEYOND, Outcome.FAIL),
        ((None, None, None), SHOWN_BEYOND, Outcome.INCONCLUSIVE),
    ],
)
def test_a_challenger_passes_when_it_is_shown_to_keep_the_limit(
    challenger: Any, champion: Any, outcome: Outcome
) -> None:
    found = verdict(challenger, champion)
    rule = found.rules[-1]
    assert (rule.name, rule.outcome, rule.limit) == ("demographic_parity sex", outcome, 0.1)
    assert (rule.value, rule.low, rule.high) == challenger
    assert found.outcome is outcome
    if outcome is not Outcome.PASS:
        assert rule.text in found.text


def test_the_rule_says_who_is_how_far_apart() -> None:
    text = verdict(SHOWN_BEYOND).rules[-1].text
    assert text == (
        "the challenger's demographic parity difference by sex is 0.25 (between 0.2 and 0.3), above 0.1: selection rate 0.5 where it "
        "is m, 0.25 where it is f"
    )
    assert "not shown whether it is above 0.1" in verdict(OPEN).rules[-1].text
    assert "not above 0.1" in verdict(SHOWN_WITHIN).rules[-1].text
    assert "could not be measured (why)" in verdict((None, None, None)).rules[-1].text
    assert verdict(OPEN, SHOWN_BEYOND).rules[-1].text.endswith("the champion's is shown to be")


def evidence(*disparities: Disparity, **more: Any) -> Evidence:
    return Evidence(model="m", window=WINDOW, as_of=WINDOW.end, rows=1000, disparities=disparities, **more)


@pytest.mark.parametrize(
    ("numbers", "state"),
    [
        ([SHOWN_WITHIN, SHOWN_BEYOND], "fired"),
        ([OPEN, SHOWN_WITHIN], "quiet"),
        ([OPEN, (None, None, None)], "quiet"),
        ([(None, None, None)], "inconclusive"),
    ],
)
def test_a_limit_is_one_signal_that_fires_when_a_column_is_shown_to_be_beyond(numbers: Any, state: str) -> None:
    given = [disparity(*number, column=column) for number, column in zip(numbers, ("sex", "region"), strict=False)]
    [signal] = signals(evidence(*given))
    assert (signal.name, signal.kind, signal.state) == ("demographic_parity", "fairness", state)
    if state == "fired":
        assert signal.text.startswith(
            "demographic parity difference by region is 0.25 (between 0.2 and 0.3), above 0.1"
        )
        assert signal.text.endswith("; 1 of 2 columns beyond")


def test_it_counts_once_it_fired_in_so_many_windows_in_a_row() -> None:
    policy = SignalPolicy()
    seen = evidence(disparity())
    first = policy.decide(seen, RetrainingHistory())
    assert first.answer == "no"
    assert "in 1 of the last 2 windows, and 2 in a row are needed" in first.why
    second = policy.decide(seen, RetrainingHistory(recent=(first.signals,)))
    assert second.answer == "yes"
    assert second.reason is not None
    assert (second.reason.kind, second.reason.text[:29]) == ("performance", "demographic parity difference")


def feedback(value: float, low: float | None, high: float | None, where: str = "region=emea") -> FeedbackScore:
    estimate = Estimate(metric="complaint", value=value, low=low, high=high, rows=500, note="" if low else "why")
    return FeedbackScore(estimate=estimate, rule="complaint above 0.02", slice=where, above=0.02)


def test_feedback_is_a_reason_and_an_episode_of_its_own() -> None:
    policy = SignalPolicy()
    seen = evidence(feedback=(feedback(0.01, 0.002, 0.03, "region=apac"), feedback(0.05, 0.03, 0.07)))
    decision = policy.decide(seen, RetrainingHistory())
    assert decision.answer == "yes"
    assert decision.reason is not None
    assert decision.reason.kind == "feedback"
    assert decision.reason.text == (
        "complaint where region=emea on 5.00% of 500 predictions (interval 3.00% to 7.00%), above 2.00%; 1 of 2 slices beyond"
    )
    assert policy.began(seen, RetrainingHistory()) == {"feedback": decision.reason.episode}
    opened = OpenEpisode(kind="feedback", name=decision.reason.episode, opened_at=WINDOW.end, requested_at=WINDOW.end)
    history = RetrainingHistory(open_episodes=(opened,))
    again = policy.decide(seen, history)
    assert "the feedback episode open since" in again.why
    assert policy.ended(seen, history) == {}
    assert policy.ended(evidence(feedback=(feedback(0.01, 0.002, 0.03),)), history).keys() == {"feedback"}
    [unknown] = signals(evidence(feedback=(feedback(0.01, None, None),)))
    assert (unknown.state, unknown.text) == ("inconclusive", "complaint where region=emea could not be counted: why")


def test_a_fall_of_quality_says_more_than_what_people_tell() -> None:
    both = evidence(disparity(windows=1), feedback=(feedback(0.05, 0.03, 0.07),))
    decision = SignalPolicy().decide(both, RetrainingHistory())
    assert decision.reason is not None
    assert decision.reason.kind == "performance"
    assert "complaint" in decision.reason.text


def test_the_interval_of_a_share_is_wilsons() -> None:
    from scipy.stats import binomtest

    for count, of in ((0, 40), (3, 100), (100, 100)):
        theirs = binomtest(count, of).proportion_ci(0.95, method="wilson")
        assert share_bounds(count, of, 0.95) == pytest.approx((theirs.low, theirs.high))


SENSITIVE = {"sensitive": ["sex"]}
LOGGED = {"kind": "local", "log": {}}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"fairness": {"sensitive": ["carrier"]}}, r"carrier is sensitive and no feature; remove it there, or allow it with fairness.as_feature: \[carrier\]"),
        ({"fairness": {**SENSITIVE, "as_feature": ["sex"]}}, "fairness.as_feature: sex is not a feature"),
        ({"fairness": {**SENSITIVE, "as_feature": ["age"]}}, "as_feature names age, which is not under sensitive"),
        ({"fairness": {"sensitive": ["late"]}}, "late is the label"),
        ({"fairness": {"sensitive": ["error"]}}, "error is the label, the event time, the group or computed"),
        ({"fairness": {"sensitive": ["sex", "sex"]}}, "sensitive names more than once: sex"),
        ({"fairness": {"sensitive": []}}, "at least 1 item"),
        ({"fairness": {**SENSITIVE, "worst_group": {"metric": "rmse", "above": 3}}}, "fairness.worst_group.metric: rmse does not fit classification"),
        ({"fairness": {**SENSITIVE, "worst_group": {"metric": "f1"}}}, "exactly one of below and above"),
        (
            {
                "task": {**small_model.document()["task"], "kind": "regression"},
                "promotion": {"metric": "rmse"},
                "fairness": {**SENSITIVE, "equalised_odds": 0.1},
            },
            "fairness.equalised_odds: a regression selects nobody; remove it, and limit worst_group",
        ),
        ({"fairness": SENSITIVE, "source": {"kind": "predictions", "path": "{predictions}/m"}}, "so sex cannot be read"),
        ({"drift": [{"kind": "psi", "columns": ["wind"], "name": "demographic_parity"}], "fairness": {**SENSITIVE, "demographic_parity": 0.1}}, "two signals are named 'demographic_parity'"),
        ({"trainer": {"kind": "lightgbm", "mitigation": {"kind": "balanced", "by": "sex"}}}, "trainer.mitigation.by: sex is not one of fairness.sensitive"),
        ({"feedback": [{"kind": "complaint", "above": 0.02}]}, "feedback: needs deployment.log"),
        ({"feedback": [{"kind": "complaint", "above": 0.02, "by": "sex"}], "deployment": LOGGED, "fairness": SENSITIVE}, r"feedback\[0\].by: sex is not a feature that deployment.log keeps"),
        ({"feedback": [{"kind": "complaint", "above": 0.02, "by": "carrier"}], "deployment": {"kind": "local", "log": {"drop": ["carrier"]}}}, "carrier is not a feature that deployment.log keeps"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_when_the_model_file_is_read(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        small_model.spec(**changes)


def test_groups_of_people_are_slices_like_any_others() -> None:
    changes: dict[str, Any] = {
        "fairness": {"sensitive": ["sex", "carrier"], "as_feature": ["carrier"], "demographic_parity": 0.1},
        "performance": [{"metric": "roc_auc", "below": 0.6, "by": "sex"}],
        "promotion": {**small_model.document()["promotion"], "slices": ["sex"]},
        "retraining": {"advise": ["demographic_parity"]},
    }
    spec = small_model.spec(**changes)
    assert (spec.columns, spec.beside) == (("wind", "carrier", "sex"), ("sex",))
    assert (
        small_model.spec(drift=[], fairness={**SENSITIVE, "demographic_parity": 0.1}, retraining={}).retraining.kind
        == "signals"
    )
    assert small_model.spec(drift=[], fairness=SENSITIVE, retraining={}).retraining.kind == "regret"
