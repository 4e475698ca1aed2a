from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite

from continuous_training.core.decisions import Evidence, RetrainingDecision
from continuous_training.core.errors import UsageError
from continuous_training.core.history import OpenEpisode, RetrainingHistory
from continuous_training.core.scores import Estimate, PerformanceScore
from continuous_training.core.window import Window
from continuous_training.ledger import Ledger
from continuous_training.ledger.chain import GENESIS
from continuous_training.ledger.tables import Utc
from ledger_parts import NOW, a_decision, a_run, dump, key, moment, promotion

pytest_plugins = ["postgres"]

EARLIEST = datetime(1900, 1, 1)  # noqa: DTZ001 - hypothesis wants bounds without a zone


def test_a_decision_comes_back_as_it_was_with_its_evidence(ledger: Ledger) -> None:
    decision, evidence = a_decision(7, answer="yes")
    assert ledger.record_decision(decision, evidence, now=NOW) == 1
    (record,) = ledger.decisions("m")
    assert (record.decision, record.evidence, record.recorded_at, record.seq) == (decision, evidence, NOW, 1)
    assert record.hash != GENESIS


def test_the_first_decision_on_a_window_stands(ledger: Ledger) -> None:
    seq = ledger.record_decision(*a_decision(7), now=NOW)
    ledger.record_decision(*a_decision(14), now=NOW)
    before = dump(ledger)
    assert ledger.record_decision(*a_decision(7, answer="yes"), now=NOW, opened={"drift": "d"}) == seq
    assert dump(ledger) == before


def test_the_decision_that_stands_for_a_window_is_found_by_it(ledger: Ledger) -> None:
    for day in (7, 14):
        ledger.record_decision(*a_decision(day), now=NOW)
    window = Window(start=moment(0), end=moment(7))
    assert ledger.decision("m", window).decision == a_decision(7)[0]
    for model, other in [("other", window), ("m", Window(start=moment(1), end=moment(7)))]:
        with pytest.raises(UsageError, match=f"nothing was decided on {model} 2013-01-0"):
            ledger.decision(model, other)


def test_the_decision_at_a_moment_is_that_of_the_first_window_that_ends_then_or_holds_it(ledger: Ledger) -> None:
    for day in (7, 14, 28):
        ledger.record_decision(*a_decision(day), now=NOW)
    ends = {day: found.decision.window.end for day in range(30) if (found := ledger.decision_at("m", moment(day)))}
    assert ends == {
        **dict.fromkeys(range(8), moment(7)), **dict.fromkeys(range(8, 15), moment(14)), **dict.fromkeys(range(21, 29), moment(28)),
    }  # fmt: skip
    assert ledger.decision_at("other", moment(7)) is None


def test_windows_that_end_together_but_begin_apart_are_two(ledger: Ledger) -> None:
    decision, evidence = a_decision(7)
    day = {"window": Window(start=moment(6), end=moment(7))}
    ledger.record_decision(decision, evidence, now=NOW)
    assert ledger.record_decision(decision.model_copy(update=day), evidence.model_copy(update=day), now=NOW) == 2


def test_evidence_of_another_window_or_model_is_refused(ledger: Ledger) -> None:
    for evidence in (a_decision(14)[1], a_decision(7, "other")[1]):
        with pytest.raises(UsageError, match="cannot rest on evidence of"):
            ledger.record_decision(a_decision(7)[0], evidence, now=NOW)


def test_decisions_come_with_the_newest_window_first_and_only_as_many_as_asked(ledger: Ledger) -> None:
    for day in (14, 7, 28, 21):
        ledger.record_decision(*a_decision(day), now=NOW)
    assert [record.decision.window.end for record in ledger.decisions("m", limit=3)] == [
        moment(28),
        moment(21),
        moment(14),
    ]


def test_scored_until_follows_the_newest_window_and_never_goes_back(ledger: Ledger) -> None:
    seen = [ledger.scored_until("m")]
    for day in (7, 21, 14):
        ledger.record_decision(*a_decision(day), now=NOW)
        seen.append(ledger.scored_until("m"))
    assert seen == [None, moment(7), moment(21), moment(21)]
    assert ledger.scored_until("other") is None


def test_a_yes_because_of_drift_opens_an_episode_with_its_name_and_notes_the_request(ledger: Ledger) -> None:
    seq = ledger.record_decision(*a_decision(7, answer="yes", episode="drift 1"), now=NOW)
    (episode,) = ledger.open_episodes("m")
    told = {"kind": "drift", "name": "drift 1", "opened_at": moment(8), "requested_at": moment(8)}
    more = {"model": "m", "opened_by": seq, "text": "why 7", "closed_at": None, "closed_why": None}
    assert episode.model_dump() == {**told, **more}


def test_a_later_yes_in_the_same_episode_moves_the_request_and_opens_nothing(ledger: Ledger) -> None:
    ledger.record_decision(*a_decision(7), now=NOW, opened={"drift": "d"})
    assert ledger.open_episodes("m")[0].requested_at is None
    for day in (14, 21):
        ledger.record_decision(*a_decision(day, answer="yes", episode="another name"), now=NOW)
    (episode,) = ledger.episodes("m")
    assert (episode.name, episode.opened_at, episode.requested_at) == ("d", moment(8), moment(22))


@pytest.mark.parametrize("kind", ["schedule", "manual", "config"])
def test_a_yes_for_a_cause_that_is_not_measured_opens_no_episode(ledger: Ledger, kind: str) -> None:
    ledger.record_decision(*a_decision(7, answer="yes", kind=kind), now=NOW)
    assert ledger.episodes("m") == ()


def test_one_episode_of_each_kind_is_open_and_a_new_one_opens_after_it_ended(ledger: Ledger) -> None:
    ledger.record_decision(*a_decision(7), now=NOW, opened={"drift": "d1", "performance": "p1"})
    ledger.record_decision(*a_decision(14), now=NOW, opened={"drift": "ignored"})
    ledger.record_decision(*a_decision(21), now=NOW, closed={"drift": "quiet for 3 windows"})
    ledger.record_decision(*a_decision(28), now=NOW, opened={"drift": "d2"})
    told = [(e.kind, e.name, e.closed_at, e.closed_why) for e in ledger.episodes("m")]
    closed = ("drift", "d1", moment(22), "quiet for 3 windows")
    assert told == [("drift", "d2", None, None), closed, ("performance", "p1", None, None)]
    assert [e.name for e in ledger.open_episodes("m")] == ["d2", "p1"]


def test_an_episode_can_end_and_another_of_its_kind_begin_with_one_decision(ledger: Ledger) -> None:
    ledger.record_decision(*a_decision(7), now=NOW, opened={"drift": "d1"})
    ledger.record_decision(*a_decision(14), now=NOW, closed={"drift": "another column"}, opened={"drift": "d2"})
    assert [(e.name, e.closed_why) for e in ledger.episodes("m")] == [("d2", None), ("d1", "another column")]


def test_the_history_of_an_unknown_model_is_empty(ledger: Ledger) -> None:
    assert ledger.retraining_history("m") == RetrainingHistory()


def test_the_history_holds_the_signals_of_the_fifty_newest_windows(ledger: Ledger) -> None:
    for day in range(52):
        ledger.record_decision(*a_decision(day), now=NOW)
    recent = ledger.retraining_history("m").recent
    assert [signals[0].text for signals in recent] == [f"day {day}" for day in range(51, 1, -1)]


def test_the_history_holds_what_was_seen_of_the_present_champion(ledger: Ledger) -> None:
    """Windows after the data of a new champion may have been scored, early, with the one before."""

    def lines(day: int, *names: str) -> tuple[RetrainingDecision, Evidence]:
        decision, evidence = a_decision(day)
        ripe = Window(start=moment(day - 21), end=moment(day - 14))
        scores = [
            PerformanceScore(estimate=Estimate(metric="f1", value=0.5), line=name, matured=1, window=where)
            for name, where in zip(names, (None, None, ripe), strict=False)
        ]
        return decision, evidence.model_copy(update={"performance": tuple(scores)})

    ledger.promote("m", **promotion(1, seen=0, cutoff=0))
    ledger.record_decision(*lines(14, "estimated", "provisional", "final"), now=NOW)
    ledger.promote("m", **promotion(2, seen=1, cutoff=7))
    assert ledger.retraining_history("m").performance == ()
    assert ledger.retraining_history("m").recent == ()
    for day in (21, 28):
        ledger.record_decision(*lines(day, "estimated", "provisional", "final"), now=NOW)
    ledger.record_decision(*lines(35, "final"), now=NOW)
    history = ledger.retraining_history("m")
    assert [signals[0].text for signals in history.recent] == ["day 35", "day 28", "day 21"]
    assert [(score.line, score.window.end) for score in history.performance if score.window] == [
        ("estimated", moment(21)), ("final", moment(7)), ("estimated", moment(28)), ("final", moment(14)),
    ]  # fmt: skip


def test_the_history_tells_the_champions_cutoff_and_the_open_episodes(ledger: Ledger) -> None:
    ledger.promote("m", **promotion(1, seen=0, cutoff=3))
    ledger.promote("m", **promotion(2, seen=1, cutoff=5))
    ledger.rollback("m", reason="r", now=NOW)
    ledger.record_decision(*a_decision(7, answer="yes", episode="d"), now=NOW)
    history = ledger.retraining_history("m")
    assert history.champion_cutoff == moment(3)
    assert history.open_episodes == (OpenEpisode(kind="drift", name="d", opened_at=moment(8), requested_at=moment(8)),)


def test_a_retraining_counts_once_for_each_episode_at_its_latest_moment_and_dry_runs_never(ledger: Ledger) -> None:
    ledger.record_decision(*a_decision(7, answer="yes", episode="asked and begun"), now=NOW)
    ledger.record_decision(*a_decision(14, answer="yes", episode="only asked"), now=NOW)
    ledger.record_decision(*a_decision(40, answer="no"), now=NOW)
    ledger.record_decision(*a_decision(60, answer="yes", episode="begun and asked again"), now=NOW)
    ledger.begin_run(a_run(9, episode="asked and begun"), now=NOW)
    ledger.begin_run(a_run(10, episode="begun and asked again"), now=NOW)
    for number, outcome in [(20, "failed"), (21, "dry_run"), (22, "promoted")]:
        ledger.begin_run(a_run(number), now=NOW)
        ledger.finish_run(key(number), outcome, "", now=NOW)
    ledger.begin_run(a_run(50, kind="watch"), now=NOW)
    ledger.begin_run(a_run(51, "other"), now=NOW)
    assert ledger.retraining_history("m").requested == tuple(moment(day) for day in (61, 22, 20, 15, 9))


@given(st.datetimes(min_value=EARLIEST, max_value=EARLIEST.replace(year=2200)), st.integers(-14 * 60, 14 * 60))
def test_moments_are_kept_to_the_microsecond_in_utc_whatever_their_zone(naive: datetime, minutes: int) -> None:
    local = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        kept = Utc().process_bind_param(local, dialect)
        assert Utc().process_result_value(kept, dialect) == local
        assert Utc().process_result_value(kept, dialect).tzinfo is UTC


@pytest.mark.parametrize(
    "day", [moment(3), moment(3).astimezone(timezone(timedelta(hours=-5))), moment(3).replace(tzinfo=None)]
)
def test_moments_of_any_zone_are_the_same_moment_in_the_database(ledger: Ledger, day: datetime) -> None:
    ledger.promote("m", **{**promotion(1, seen=0), "data_cutoff": day})
    assert ledger.champion("m").data_cutoff == moment(3)
    assert ledger.verify() == []
