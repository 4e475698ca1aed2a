"""Evidence asks for a retraining when it is strong, lasting and not answered already."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from continuous_training.core.decisions import Evidence, RetrainingDecision, Signal
from continuous_training.core.history import OpenEpisode, RetrainingHistory
from continuous_training.core.scores import DriftScore, Estimate, PerformanceScore
from continuous_training.core.window import Window
from continuous_training.policies.evidence import signals
from continuous_training.policies.signals import SignalPolicy as RetrainingPolicy

UNHURRIED = settings(deadline=None, max_examples=60)
WEEK = timedelta(days=7)
BEGIN = datetime(2013, 3, 1, tzinfo=UTC)
FIRED, QUIET, UNKNOWN = "fired", "quiet", "inconclusive"
VALUES = {FIRED: 0.31, QUIET: 0.05, UNKNOWN: None}


def psi(value=0.31, column="carrier", *, note="12 rows are too few"):
    return DriftScore(
        detector="psi", column=column, statistic=value, measure="statistic", threshold=0.25,
        reference_rows=1000, current_rows=500, note=note if value is None else "",
    )  # fmt: skip


def ks(value=0.001, column="distance"):
    return DriftScore(
        detector="ks",
        column=column,
        p_value=value,
        measure="p_value",
        threshold=0.01,
        reference_rows=1000,
        current_rows=500,
    )


def quality(value=0.68, *, below=0.70, above=None, matured=1.0, windows=1, note=""):
    interval = {} if value is None else {"low": value - 0.02, "high": value + 0.02}
    estimate = Estimate(metric="roc_auc", value=value, rows=500, note=note, **interval)
    return PerformanceScore(estimate=estimate, matured=matured, below=below, above=above, windows=windows)


def seen(*scores, week=0, rows=500):
    end = BEGIN + (week + 1) * WEEK
    return Evidence(
        model="flights",
        window=Window(start=end - WEEK, end=end),
        as_of=end + timedelta(days=1),
        rows=rows,
        drift=tuple(score for score in scores if isinstance(score, DriftScore)),
        performance=tuple(score for score in scores if isinstance(score, PerformanceScore)),
    )


def past(*windows, **more):
    """Return a history whose windows, newest first, hold signals written as name=state."""
    kinds = {"psi": "drift", "ks": "drift"}
    recent = tuple(
        tuple(
            Signal(name=name, kind=kinds.get(name, "performance"), state=state, text="")
            for name, state in window.items()
        )
        for window in windows
    )
    return RetrainingHistory(recent=recent, **more)


def decided(*scores, history=None, week=0, rows=500, **policy) -> RetrainingDecision:
    return RetrainingPolicy(**policy).decide(seen(*scores, week=week, rows=rows), history or RetrainingHistory())


# Signals


def test_the_scores_of_one_detector_are_one_signal_that_tells_the_worst_number():
    (signal,) = signals(seen(psi(0.26, "origin"), psi(0.31, "carrier"), psi(0.01, "dest")))
    assert (signal.name, signal.kind, signal.state) == ("psi", "drift", "fired")
    assert signal.text == "carrier: psi 0.31 above 0.25; 2 of 3 columns beyond"


def test_the_worst_p_value_is_the_smallest():
    (signal,) = signals(seen(ks(0.5, "a"), ks(0.002, "b"), ks(0.0, "c")))
    assert signal.text == "c: ks p-value 0 below 0.01; 2 of 3 columns beyond"


def test_a_column_beyond_its_own_threshold_is_worse_than_a_larger_number_within_its_own():
    wide = psi(0.4, "wide").model_copy(update={"threshold": 0.5})
    (signal,) = signals(seen(wide, psi(0.26, "narrow")))
    assert signal.text.startswith("narrow: psi 0.26 above 0.25")


def test_a_detector_of_all_columns_together_says_so():
    (signal,) = signals(seen(psi(0.05, None)))
    assert signal.text == "all columns together: psi 0.05 not above 0.25"


def test_columns_that_cannot_be_measured_do_not_hide_the_others():
    (quiet,) = signals(seen(psi(0.05), psi(None, "constant", note="one value")))
    assert quiet.state == QUIET
    assert quiet.text.endswith("1 not measured (one value)")
    (unknown,) = signals(seen(psi(None, "a"), psi(None, "b")))
    assert unknown.state == UNKNOWN
    assert unknown.text == "psi could not be measured: 12 rows are too few"


@pytest.mark.parametrize(
    ("score", "name", "state", "words"),
    [
        (quality(0.68), "roc_auc below 0.7", FIRED, "roc_auc 0.68 below 0.7 (interval 0.66 to 0.7)"),
        (quality(0.72), "roc_auc below 0.7", QUIET, "roc_auc 0.72 not below 0.7"),
        (quality(0.72, below=None, above=0.7), "roc_auc above 0.7", FIRED, "roc_auc 0.72 above 0.7"),
        (
            quality(0.68, matured=0.9),
            "roc_auc below 0.7",
            UNKNOWN,
            "90% of the labels are known, at least 95% are needed",
        ),
        (quality(None, note="only one class"), "roc_auc below 0.7", UNKNOWN, "could not be measured: only one class"),
    ],
)
def test_each_performance_rule_is_a_signal(score, name, state, words):
    (signal,) = signals(seen(score))
    assert (signal.name, signal.kind, signal.state) == (name, "performance", state)
    assert words in signal.text


def test_signals_are_recorded_raw_before_windows_are_counted():
    decision = decided(quality(0.68, windows=3), psi(), persistence={"windows": 2, "of": 2})
    assert [signal.state for signal in decision.signals] == [FIRED, FIRED]
    assert decision.answer == "no"


# Combination


@pytest.mark.parametrize(
    ("first", "second", "any_of", "all_of"),
    [
        (FIRED, FIRED, "yes", "yes"),
        (FIRED, QUIET, "yes", "no"),
        (FIRED, UNKNOWN, "yes", "inconclusive"),
        (QUIET, QUIET, "no", "no"),
        (QUIET, UNKNOWN, "inconclusive", "no"),
        (UNKNOWN, UNKNOWN, "inconclusive", "inconclusive"),
    ],
)
def test_signals_are_combined_in_kleenes_logic(first, second, any_of, all_of):
    scores = psi(VALUES[first]), ks({FIRED: 0.001, QUIET: 0.5, UNKNOWN: None}[second])
    assert decided(*scores, when="any").answer == any_of
    assert decided(*scores, when="all").answer == all_of


def test_the_text_of_a_rule_by_a_column_is_of_the_group_that_is_furthest_beyond():
    slices = [("origin=EWR", 0.69), ("origin=JFK", 0.55), ("origin=LGA", 0.8)]
    scores = [
        PerformanceScore(
            estimate=Estimate(metric="roc_auc", value=value, low=value - 0.01, high=value + 0.01, rows=500),
            slice=where, matured=1.0, below=0.7,
        )
        for where, value in slices
    ]  # fmt: skip
    window = Window(start=datetime(2013, 3, 1, tzinfo=UTC), end=datetime(2013, 3, 8, tzinfo=UTC))
    evidence = Evidence(model="m", window=window, as_of=window.end, rows=500, performance=tuple(scores))
    [signal] = signals(evidence)
    assert signal.text == "roc_auc where origin=JFK 0.55 below 0.7 (interval 0.54 to 0.56); 2 of 3 slices beyond"
    [quiet] = signals(evidence.model_copy(update={"performance": tuple(scores[2:])}))
    assert (quiet.state, quiet.text.startswith("roc_auc where origin=LGA 0.8 not below")) == ("quiet", True)


def test_without_signals_the_answer_is_no():
    for when in ("any", "all"):
        decision = decided(when=when)
        assert (decision.answer, decision.reason) == ("no", None)
        assert "neither a detector nor a rule" in decision.why


def test_a_no_of_all_says_what_fired_and_that_it_was_not_enough():
    why = decided(psi(), ks(0.5), when="all").why
    assert why == "carrier: psi 0.31 above 0.25; but 1 of 2 signals fired, which is not enough"


def test_an_inconclusive_answer_says_which_signal_cannot_tell():
    why = decided(psi(None), ks(0.5)).why
    assert why == "psi cannot tell: psi could not be measured: 12 rows are too few"


def test_a_quiet_window_tells_the_worst_numbers():
    assert decided(psi(0.05), ks(0.5)).why == (
        "no signal fired: carrier: psi 0.05 not above 0.25; distance: ks p-value 0.5 not below 0.01"
    )


def test_a_window_with_too_few_rows_is_inconclusive():
    decision = decided(psi(), rows=29)
    assert decision.answer == "inconclusive"
    assert "the window has 29, at least 30 are needed" in decision.why
    assert [signal.state for signal in decision.signals] == [UNKNOWN]
    assert decided(psi(), rows=30).answer == "yes"


# The reason


def test_the_reason_is_performance_when_a_performance_rule_took_part():
    both = decided(psi(), quality()).reason
    assert (both.kind, both.episode) == ("performance", "performance:2013-03-08T00:00:00Z")
    assert both.text == "carrier: psi 0.31 above 0.25 and roc_auc 0.68 below 0.7 (interval 0.66 to 0.7)"
    drift = decided(psi(), quality(0.9)).reason
    assert (drift.kind, drift.text) == ("drift", "carrier: psi 0.31 above 0.25")


def test_a_long_reason_is_cut_to_what_a_reason_may_hold():
    assert len(decided(psi(column="c" * 600)).reason.text) == 500


def test_an_open_episode_that_has_not_asked_lends_its_name():
    waiting = OpenEpisode(kind="drift", name="drift:2013-02-01T00:00:00Z", opened_at=BEGIN)
    decision = decided(psi(), history=past(open_episodes=(waiting,)))
    assert decision.reason.episode == "drift:2013-02-01T00:00:00Z"


# Persistence


@pytest.mark.parametrize(
    ("windows", "of", "before", "answer"),
    [
        (1, 1, [], "yes"),
        (2, 2, [], "no"),
        (2, 2, [FIRED], "yes"),
        (2, 2, [QUIET, FIRED], "no"),
        (2, 3, [QUIET, FIRED], "yes"),
        (2, 3, [QUIET, QUIET, FIRED], "no"),
        (2, 2, [UNKNOWN], "inconclusive"),
        (3, 3, [UNKNOWN, QUIET], "no"),
    ],
)
def test_a_signal_counts_when_enough_of_the_newest_windows_fired(windows, of, before, answer):
    history = past(*({"psi": state} for state in before))
    decision = decided(psi(), history=history, persistence={"windows": windows, "of": of})
    assert decision.answer == answer


def test_a_window_that_is_quiet_now_does_not_count_on_the_ones_before():
    assert (
        decided(psi(0.05), history=past({"psi": FIRED}, {"psi": FIRED}), persistence={"windows": 2, "of": 3}).answer
        == "no"
    )


def test_a_no_says_how_often_the_signal_has_fired():
    why = decided(psi(), history=past({"psi": QUIET}), persistence={"windows": 2, "of": 3}).why
    assert why == "carrier: psi 0.31 above 0.25; but in 1 of the last 3 windows, and 2 are needed"


@pytest.mark.parametrize(
    ("before", "answer"),
    [([], "no"), ([FIRED], "yes"), ([QUIET, FIRED], "no"), ([UNKNOWN], "inconclusive"), ([FIRED, FIRED], "yes")],
)
def test_a_performance_rule_may_ask_for_windows_in_a_row(before, answer):
    history = past(*({"roc_auc below 0.7": state} for state in before))
    assert decided(quality(windows=2), history=history).answer == answer


def test_a_no_says_how_many_windows_in_a_row_are_missing():
    assert decided(quality(windows=2)).why.endswith("but in 1 of the last 2 windows, and 2 in a row are needed")


def test_windows_in_a_row_are_counted_before_the_persistence():
    name = "roc_auc below 0.7"
    policy = {"persistence": {"windows": 2, "of": 2}}
    assert decided(quality(windows=2), history=past({name: FIRED}), **policy).answer == "no"
    assert decided(quality(windows=2), history=past({name: FIRED}, {name: FIRED}), **policy).answer == "yes"


def test_a_rule_whose_limit_was_changed_starts_to_count_anew():
    assert decided(quality(windows=2), history=past({"roc_auc below 0.65": FIRED})).answer == "no"


# What hinders a retraining


def test_the_cooldown_counts_from_the_last_retraining_of_any_cause():
    asked = BEGIN + timedelta(days=3)
    history = past(requested=(asked, asked - timedelta(days=60)))
    early = decided(psi(), history=history, week=1, cooldown="14 days")
    assert early.answer == "no"
    assert early.why == (
        "carrier: psi 0.31 above 0.25; but the last retraining was on 2013-03-04 00:00Z and the cooldown of 14 days lasts until "
        "2013-03-18 00:00Z"
    )
    assert decided(psi(), history=history, week=2, cooldown="14 days").answer == "yes"


def test_the_moment_the_cooldown_ends_is_after_it():
    asked = seen(week=0).as_of - timedelta(days=14)
    assert decided(psi(), history=past(requested=(asked,)), cooldown="14 days").answer == "yes"
    assert decided(psi(), history=past(requested=(asked + timedelta(seconds=1),)), cooldown="14 days").answer == "no"


def test_the_budget_says_until_when_it_is_used():
    as_of = seen(week=4).as_of
    asked = tuple(as_of - timedelta(days=days) for days in (1, 8, 15, 29))
    budget = {"runs": 4, "per": "30 days"}
    decision = decided(psi(), history=past(requested=asked), week=4, budget=budget)
    assert decision.answer == "no"
    assert "the budget is used: 4 of 4 retrainings in 30 days, until 2013-04-07 00:00Z" in decision.why
    assert decided(psi(), history=past(requested=asked[:3]), week=4, budget=budget).answer == "yes"
    assert (
        decided(psi(), history=past(requested=(*asked[:3], as_of - timedelta(days=30))), week=4, budget=budget).answer
        == "yes"
    )


def open_since(kind="drift", *, asked=BEGIN):
    return OpenEpisode(kind=kind, name=f"{kind}:2013-03-01T00:00:00Z", opened_at=BEGIN, requested_at=asked)


def test_one_episode_is_one_retraining():
    decision = decided(psi(), history=past(open_episodes=(open_since(),), requested=(BEGIN,)), week=40)
    assert decision.answer == "no"
    assert (
        "the drift episode open since 2013-03-01 00:00Z has had its one retraining, on 2013-03-01 00:00Z"
        in decision.why
    )


def test_an_episode_whose_challenger_was_refused_may_ask_again_after_the_cooldown_under_a_new_name():
    history = past(open_episodes=(open_since(),), requested=(BEGIN,))
    assert decided(psi(), history=history, week=0, cooldown="14 days").answer == "no"
    again = decided(psi(), history=history, week=1, cooldown="14 days")
    assert again.answer == "yes"
    assert again.reason.episode == "drift:2013-03-15T00:00:00Z"


def test_an_open_episode_of_drift_does_not_silence_a_loss_of_quality():
    history = past(open_episodes=(open_since(),))
    assert decided(quality(), history=history).answer == "yes"


def test_a_champion_made_from_the_window_is_not_retrained_because_of_it():
    end = seen(week=3).window.end
    known = decided(psi(), history=past(champion_cutoff=end), week=3)
    assert known.answer == "no"
    assert "the champion was made from data up to 2013-03-29 00:00Z and knows this window already" in known.why
    assert decided(psi(), history=past(champion_cutoff=end - WEEK), week=3).answer == "yes"


# Episodes


def test_an_episode_begins_when_its_cause_first_fires_even_in_the_cooldown():
    policy = RetrainingPolicy(cooldown="14 days")
    evidence = seen(psi())
    assert policy.began(evidence, past(requested=(BEGIN,))) == {"drift": "drift:2013-03-08T00:00:00Z"}
    assert policy.began(evidence, past(open_episodes=(open_since(),))) == {}
    assert policy.began(seen(psi(0.05)), past()) == {}
    assert policy.began(evidence, past(champion_cutoff=evidence.window.end)) == {}
    assert RetrainingPolicy(persistence={"windows": 2, "of": 2}).began(evidence, past()) == {}


@pytest.mark.parametrize(
    ("scores", "kinds"),
    [
        ((psi(0.05), ks(0.5), quality(0.9)), {"drift", "performance"}),
        ((psi(0.05), ks(0.001), quality(0.9)), {"performance"}),
        ((psi(0.05), ks(None), quality(0.9)), {"performance"}),
        ((psi(0.31), quality(0.68)), set()),
        ((quality(0.68),), {"drift"}),
    ],
)
def test_an_episode_ends_when_all_signals_of_its_kind_are_quiet(scores, kinds):
    history = past(open_episodes=(open_since("drift"), open_since("performance"), open_since("manual")))
    ended = RetrainingPolicy().ended(seen(*scores), history)
    assert set(ended) == kinds
    assert all("2013-03-08 00:00Z" in why for why in ended.values())


def test_a_window_with_too_few_rows_ends_nothing():
    assert RetrainingPolicy().ended(seen(psi(0.05), rows=3), past(open_episodes=(open_since(),))) == {}


# Settings


@pytest.mark.parametrize("schedule", ["0 3 * * MON", "*/15 * * * *", "0 0 1,15 * *", "0 3 * MAR-APR FRI", None])
def test_a_cron_schedule_of_five_fields_is_taken(schedule):
    assert RetrainingPolicy(schedule=schedule).schedule == schedule


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("* * *", "3 fields"),
        ("@daily", "1 fields"),
        ("0 0 * * * *", "6 fields"),
        ("61 * * * *", "out of range"),
        ("0 3 * * MNO", "not acceptable"),
        ("0 0 30 2 *", "failed to find next date"),
        ("R R * * *", "random"),
        ("H(0-5) 3 * * *", "random"),
    ],
)
def test_a_schedule_that_is_not_cron_is_refused_with_an_example(schedule, words):
    with pytest.raises(ValidationError) as error:
        RetrainingPolicy(schedule=schedule)
    assert words in str(error.value)
    assert "'0 3 * * MON' for Mondays at 03:00" in str(error.value)


@pytest.mark.parametrize(
    ("zone", "meant"),
    [("America/New_Yrok", "America/New_York"), ("../etc/passwd", "IANA"), ("", "IANA"), ("America", "IANA")],
)
def test_an_unknown_time_zone_is_refused_with_the_nearest(zone, meant):
    with pytest.raises(ValidationError) as error:
        RetrainingPolicy(timezone=zone)
    assert f"{zone!r} is not a time zone" in str(error.value)
    assert meant in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"persistence": {"windows": 3, "of": 2}},
        {"persistence": {"windows": 0, "of": 2}},
        {"budget": {"runs": 0, "per": "30 days"}},
        {"budget": {"runs": 1, "per": "0 days"}},
        {"cooldown": "99999 days"},
        {"when": "some"},
        {"rows": 0},
    ],
)
def test_settings_without_a_meaning_are_refused(wrong):
    with pytest.raises(ValidationError):
        RetrainingPolicy(**wrong)


def test_every_setting_is_described():
    fields = RetrainingPolicy.model_json_schema()["properties"]
    assert [name for name, field in fields.items() if not field.get("description")] == ["kind"]


# Properties: a policy is fed its own decisions, week after week


class Ledger:
    """What the ledger keeps for the policy, in memory."""

    def __init__(self):
        self.recent, self.requested, self.open, self.asked, self.cutoff = [], [], {}, {}, None

    @property
    def history(self):
        return RetrainingHistory(
            recent=tuple(self.recent[:50]),
            requested=tuple(self.requested),
            open_episodes=tuple(self.open.values()),
            champion_cutoff=self.cutoff,
        )

    def record(self, decision, *, began, ended):
        for kind in ended:
            self.open.pop(kind, None)
        for kind, name in began.items():
            self.open.setdefault(kind, OpenEpisode(kind=kind, name=name, opened_at=decision.as_of))
        if decision.answer == "yes":
            kind = decision.reason.kind
            episode = self.open[kind]
            self.open[kind] = episode.model_copy(update={"requested_at": episode.requested_at or decision.as_of})
            self.asked.setdefault((kind, episode.opened_at), []).append(decision.as_of)
            self.requested.insert(0, decision.as_of)
        self.recent.insert(0, decision.signals)

    def promote(self, cutoff):
        self.open.clear()
        self.cutoff = cutoff


states = st.sampled_from([FIRED, QUIET, UNKNOWN])
weeks = st.lists(st.tuples(states, states, states, st.sampled_from(["", "promote", "manual"])), min_size=1, max_size=15)
policies = st.builds(
    RetrainingPolicy,
    when=st.sampled_from(["any", "all"]),
    persistence=st.sampled_from([{"windows": 1, "of": 1}, {"windows": 2, "of": 3}, {"windows": 3, "of": 3}]),
    cooldown=st.sampled_from(["0 days", "10 days", "21 days"]),
    budget=st.sampled_from([None, {"runs": 1, "per": "20 days"}, {"runs": 2, "per": "35 days"}]),
)


def scores_of(first, second, third):
    return (
        psi(VALUES[first]),
        ks({FIRED: 0.001, QUIET: 0.5, UNKNOWN: None}[second]),
        quality({FIRED: 0.68, QUIET: 0.9, UNKNOWN: None}[third], windows=2),
    )


def lived(policy, story):
    """Return every decision with the history it was made on, and the ledger at the end."""
    ledger, told = Ledger(), []
    for week, (first, second, third, event) in enumerate(story):
        evidence, history = seen(*scores_of(first, second, third), week=week), ledger.history
        decision = policy.decide(evidence, history)
        told.append((decision, history))
        ledger.record(decision, began=policy.began(evidence, history), ended=policy.ended(evidence, history))
        if event == "promote" and decision.answer == "yes":
            ledger.promote(evidence.window.end)
        if event == "manual":
            ledger.requested.insert(0, evidence.as_of + timedelta(days=1))
    return told, ledger


def yes_moments(told):
    return [decision.as_of for decision, _ in told if decision.answer == "yes"]


@UNHURRIED
@given(policies, weeks)
def test_evidence_never_asks_for_more_than_the_budget(policy, story):
    told, _ = lived(policy, story)
    if policy.budget is not None:
        for decision, history in told:
            if decision.answer == "yes":
                earlier = [moment for moment in history.requested if moment > decision.as_of - policy.budget.per]
                assert len(earlier) < policy.budget.runs


@UNHURRIED
@given(policies, weeks)
def test_evidence_never_asks_in_the_cooldown(policy, story):
    for decision, history in lived(policy, story)[0]:
        if decision.answer == "yes":
            assert all(decision.as_of - moment >= policy.cooldown for moment in history.requested)


@UNHURRIED
@given(policies, weeks)
def test_an_episode_asks_once_and_again_only_after_the_cooldown(policy, story):
    for moments in lived(policy, story)[1].asked.values():
        assert len(moments) == 1 or policy.cooldown
        assert all(later - earlier >= policy.cooldown for earlier, later in itertools.pairwise(moments))


@UNHURRIED
@given(policies, weeks)
def test_no_two_yes_decisions_share_an_episode_name(policy, story):
    names = [decision.reason.episode for decision, _ in lived(policy, story)[0] if decision.answer == "yes"]
    assert len(names) == len(set(names))


@UNHURRIED
@given(policies, weeks)
def test_the_same_evidence_and_history_give_the_same_decision_with_a_reason_only_on_yes(policy, story):
    told, _ = lived(policy, story)
    assert told == lived(policy, story)[0]
    for decision, _ in told:
        assert decision.why
        assert (decision.reason is not None) == (decision.answer == "yes")
        assert RetrainingDecision.model_validate_json(decision.model_dump_json()) == decision


@UNHURRIED
@given(policies, st.lists(st.tuples(st.just(UNKNOWN), st.just(UNKNOWN), st.just(UNKNOWN), st.just("")), max_size=5))
def test_evidence_that_cannot_be_measured_never_asks(policy, story):
    assert yes_moments(lived(policy, story)[0]) == []


@UNHURRIED
@given(policies, weeks, st.tuples(states, states, states))
def test_whatever_satisfies_all_satisfies_any(policy, story, now):
    history = lived(policy, story)[1].history
    evidence = seen(*scores_of(*now), week=len(story))
    if policy.model_copy(update={"when": "all"}).decide(evidence, history).answer == "yes":
        assert policy.model_copy(update={"when": "any"}).decide(evidence, history).answer == "yes"


@UNHURRIED
@given(st.lists(states, max_size=6), states, st.integers(1, 4), st.integers(1, 4))
def test_a_longer_persistence_never_turns_a_no_into_a_yes(before, now, windows, more):
    history = past(*({"psi": state} for state in before))
    strict = decided(psi(VALUES[now]), history=history, persistence={"windows": windows + more, "of": 8})
    loose = decided(psi(VALUES[now]), history=history, persistence={"windows": windows, "of": 8})
    assert strict.answer != "yes" or loose.answer == "yes"
