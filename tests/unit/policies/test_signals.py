"""A policy of signals counts those it names, in the groups it names, and never more than it was told to."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import small_model
from continuous_training.core.decisions import Evidence, RetrainingDecision, Signal
from continuous_training.core.history import OpenEpisode, RetrainingHistory
from continuous_training.core.scores import DriftScore, Estimate, PerformanceScore
from continuous_training.core.window import Window
from continuous_training.policies.evidence import signals
from continuous_training.policies.signals import SignalPolicy

END = datetime(2013, 3, 8, tzinfo=UTC)
FIRED, QUIET, UNKNOWN = "fired", "quiet", "inconclusive"
VALUES = {FIRED: 0.9, QUIET: 0.1, UNKNOWN: None}
NAMES = ("a", "b", "c")


def drift(name: str, value: float | None, *, measure: Any = "statistic", threshold: float = 0.5) -> DriftScore:
    number = {"statistic" if measure == "statistic" else "p_value": value}
    return DriftScore(
        detector=name, column="wind", measure=measure, threshold=threshold, reference_rows=1000, current_rows=500, **number
    )  # fmt: skip


def quality(value: float | None, *, where: str = "", rule: str = "low", below: float = 0.7) -> PerformanceScore:
    estimate = Estimate(metric="roc_auc", value=value, rows=500)
    return PerformanceScore(estimate=estimate, rule=rule, slice=where, matured=1.0, below=below)


def seen(*scores: DriftScore | PerformanceScore) -> Evidence:
    return Evidence(
        model="flights",
        window=Window(start=END - timedelta(days=7), end=END),
        as_of=END + timedelta(days=1),
        rows=500,
        drift=tuple(score for score in scores if isinstance(score, DriftScore)),
        performance=tuple(score for score in scores if isinstance(score, PerformanceScore)),
    )


def states(*given: str) -> Evidence:
    """Return evidence whose detectors a, b, c are in these states."""
    return seen(*(drift(name, VALUES[state]) for name, state in zip(NAMES, given, strict=False)))


def decided(evidence: Evidence, history: RetrainingHistory | None = None, **policy: Any) -> RetrainingDecision:
    return SignalPolicy(**policy).decide(evidence, history or RetrainingHistory())


def after(**last: Any) -> RetrainingHistory:
    """Return a history whose last window had these states of drift."""
    recent = tuple(Signal(name=name, kind="drift", state=state, text="") for name, state in last.items())
    return RetrainingHistory(recent=(recent,))


# Groups


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ((FIRED, FIRED, QUIET), "yes"),
        ((QUIET, QUIET, FIRED), "yes"),
        ((FIRED, QUIET, QUIET), "no"),
        ((FIRED, UNKNOWN, QUIET), "inconclusive"),
        ((QUIET, UNKNOWN, QUIET), "no"),
        ((UNKNOWN, UNKNOWN, FIRED), "yes"),
        ((QUIET, FIRED, UNKNOWN), "inconclusive"),
        ((FIRED, FIRED), "yes"),
        ((FIRED, QUIET), "inconclusive"),
    ],
)
def test_all_of_any_one_group_must_fire_and_a_signal_that_is_missing_cannot_tell(
    given: tuple[str, ...], answer: str
) -> None:
    assert decided(states(*given), when=[["a", "b"], ["c"]]).answer == answer


def test_a_signal_in_no_group_is_written_down_and_does_not_count() -> None:
    decision = decided(states(QUIET, QUIET, FIRED), when=[["a", "b"]])
    assert decision.answer == "no"
    assert {signal.name: signal.state for signal in decision.signals} == {"a": QUIET, "b": QUIET, "c": FIRED}


STATES = st.sampled_from([FIRED, QUIET, UNKNOWN])
GROUPS = st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True), min_size=1, max_size=3)


@settings(deadline=None, max_examples=60)
@given(GROUPS, st.tuples(STATES, STATES, STATES))
def test_groups_answer_what_every_way_to_fill_in_the_unknown_ones_agrees_on(
    groups: list[list[str]], given: tuple[str, str, str]
) -> None:
    ways: list[dict[str, str]] = [{}]
    for name, state in zip(NAMES, given, strict=True):
        options = [FIRED, QUIET] if state == UNKNOWN else [state]
        ways = [{**way, name: option} for way in ways for option in options]
    answers = {any(all(way[name] == FIRED for name in group) for group in groups) for way in ways}
    expected = {frozenset({True}): "yes", frozenset({False}): "no"}.get(frozenset(answers), "inconclusive")
    assert decided(states(*given), when=groups).answer == expected


def test_one_group_of_all_is_all_and_groups_of_one_are_any() -> None:
    for chosen in ((FIRED, FIRED, QUIET), (FIRED, FIRED, FIRED), (UNKNOWN, QUIET, FIRED), (UNKNOWN, FIRED, FIRED)):
        evidence = states(*chosen)
        assert decided(evidence, when=[NAMES]).answer == decided(evidence, when="all").answer
        assert decided(evidence, when=[["a"], ["b"], ["c"]]).answer == decided(evidence, when="any").answer


@pytest.mark.parametrize("when", [[], [[]], [["a"], []]])
def test_an_empty_group_is_refused(when: list[list[str]]) -> None:
    with pytest.raises(ValidationError, match="at least one group with at least one name"):
        SignalPolicy(when=when)


# Names


@pytest.mark.parametrize("policy", [{"when": [["psi", "eror"]]}, {"advise": ["eror"]}], ids=["when", "advise"])
def test_a_model_file_that_names_an_unknown_signal_is_refused_with_those_it_has(policy: dict[str, Any]) -> None:
    rules = [{"name": "low", "metric": "roc_auc", "below": 0.6}, {"metric": "f1", "below": 0.5}]
    expected = "no signal is called 'eror'; the signals are f1 below 0.5, low, psi"
    with pytest.raises(ValidationError, match=expected):
        small_model.spec(retraining=policy, performance=rules)


def test_detectors_and_rules_are_known_by_their_names() -> None:
    model = small_model.spec(
        drift=[{"kind": "psi", "name": "wind_psi", "columns": ["wind"]}, {"kind": "ks", "columns": ["wind"]}],
        performance=[{"name": "low", "metric": "roc_auc", "below": 0.6}, {"metric": "f1", "below": 0.5}],
        retraining={"when": [["wind_psi", "low"], ["f1 below 0.5"]], "advise": ["ks"]},
    )
    assert model.retraining.kind == "signals"


# Advice of single signals


def test_a_signal_that_only_advises_neither_asks_nor_hinders_and_is_written_down() -> None:
    decision = decided(states(FIRED, QUIET), advise=["a"])
    assert decision.answer == "no"
    assert {signal.name: signal.state for signal in decision.signals} == {"a": FIRED, "b": QUIET}
    assert decided(states(QUIET, FIRED), when="all", advise=["a"]).answer == "yes"
    assert decided(states(UNKNOWN, QUIET), advise=["a"]).answer == "no"


def test_a_signal_that_only_advises_neither_begins_nor_keeps_an_episode() -> None:
    policy = SignalPolicy(advise=["a"])
    assert policy.began(states(FIRED, QUIET), RetrainingHistory()) == {}
    lasting = OpenEpisode(kind="drift", name="drift:x", opened_at=END)
    assert set(policy.ended(states(FIRED, QUIET), RetrainingHistory(open_episodes=(lasting,)))) == {"drift"}


# Hysteresis


@pytest.mark.parametrize(("value", "state"), [(0.51, FIRED), (0.45, FIRED), (0.41, FIRED), (0.39, QUIET)])
def test_a_signal_that_fired_stays_until_it_has_come_back_far_enough(value: float, state: str) -> None:
    (signal,) = decided(seen(drift("a", value)), after(a=FIRED), hysteresis=0.2).signals
    assert signal.state == state


@pytest.mark.parametrize("last", [{}, {"a": QUIET}, {"a": UNKNOWN}, {"b": FIRED}], ids=str)
def test_a_signal_that_had_not_fired_keeps_its_own_threshold(last: dict[str, str]) -> None:
    evidence = seen(drift("a", 0.45))
    assert decided(evidence, after(**last), hysteresis=0.2).answer == "no"
    assert decided(evidence, after(a=FIRED)).answer == "no"


def test_the_hysteresis_of_a_p_value_and_of_a_metric_is_on_their_other_side() -> None:
    p_value = drift("a", 0.011, measure="p_value", threshold=0.01)
    held = frozenset({"a", "low"})
    assert [signal.state for signal in signals(seen(p_value, quality(0.75)))] == [QUIET, QUIET]
    assert [signal.state for signal in signals(seen(p_value, quality(0.75)), held=held, hysteresis=0.1)] == [FIRED] * 2
    wide = seen(p_value.model_copy(update={"p_value": 0.012}), quality(0.78))
    assert [signal.state for signal in signals(wide, held=held, hysteresis=0.1)] == [QUIET, QUIET]


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1), st.floats(0, 0.9), st.floats(0, 0.09))
def test_more_hysteresis_never_quiets_a_signal(value: float, share: float, more: float) -> None:
    (less_held,) = signals(seen(drift("a", value)), held=frozenset({"a"}), hysteresis=share)
    (more_held,) = signals(seen(drift("a", value)), held=frozenset({"a"}), hysteresis=share + more)
    assert less_held.state == QUIET or more_held.state == FIRED


# A rule for each region


def test_a_rule_for_each_region_is_one_signal_that_fires_for_the_worst_region() -> None:
    (signal,) = signals(seen(quality(0.9, where="origin=EWR"), quality(0.6, where="origin=JFK")))
    assert (signal.name, signal.state) == ("low", FIRED)
    assert signal.text == "roc_auc where origin=JFK 0.6 below 0.7; 1 of 2 slices beyond"


def test_a_region_that_cannot_be_measured_does_not_hide_the_others() -> None:
    (signal,) = signals(seen(quality(None, where="origin=EWR"), quality(0.9, where="origin=JFK")))
    assert signal.state == QUIET
    (signal,) = signals(seen(quality(None, where="origin=EWR"), quality(None, where="origin=JFK")))
    assert signal.state == UNKNOWN


def test_two_rules_of_one_metric_are_told_apart_by_their_names() -> None:
    found = signals(seen(quality(0.6, rule="low"), quality(0.6, rule="very_low", below=0.5), quality(0.6, rule="")))
    assert [(signal.name, signal.state) for signal in found] == [
        ("low", FIRED), ("very_low", QUIET), ("roc_auc below 0.7", FIRED),
    ]  # fmt: skip


def test_the_column_of_a_rule_must_be_a_categorical_feature() -> None:
    rule = {"metric": "roc_auc", "below": 0.6, "by": "wind"}
    with pytest.raises(ValidationError, match=r"performance\[0\].by: wind is not a categorical feature"):
        small_model.spec(performance=[rule])


# What a drift signal says


def said(*scores: DriftScore) -> str:
    (signal,) = decided(seen(*scores)).signals
    return f"{signal.state}: {signal.text}"


def test_a_score_of_one_value_of_a_column_says_where_and_all_of_them_are_one_signal() -> None:
    jfk, lga = (
        drift("psi", value).model_copy(update={"slice": f"origin={name}"})
        for name, value in (("JFK", 0.9), ("LGA", 0.1))
    )
    assert said(jfk, lga) == "fired: wind where origin=JFK: psi 0.9 above 0.5; 1 of 2 slices beyond"
    assert said(drift("psi", 0.9)) == "fired: wind: psi 0.9 above 0.5"


def test_a_seasonal_score_is_quiet_and_says_so_and_one_that_could_not_be_compared_says_why() -> None:
    same = drift("psi", 0.9).model_copy(update={"season": 0.03, "seasonal": True})
    assert said(same) == "quiet: wind: psi 0.9 above 0.5, but as in the same season before (0.03)"
    alone = drift("psi", 0.9).model_copy(update={"note": "not compared with the season before"})
    assert said(alone) == "fired: wind: psi 0.9 above 0.5 (not compared with the season before)"


def test_a_seasonal_score_stays_quiet_where_hysteresis_holds_its_signal() -> None:
    same = drift("a", 0.9).model_copy(update={"season": 0.03, "seasonal": True})
    assert decided(seen(same), after(a=FIRED), hysteresis=0.2).answer == "no"
