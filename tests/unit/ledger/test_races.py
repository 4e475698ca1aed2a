"""Threads of several processes that all want the same thing at the same time."""

import pytest
import sqlalchemy as sa

from continuous_training.core.errors import Conflict
from continuous_training.ledger import Ledger, champions, tables
from ledger_parts import NOW, RACE, Reports, a_decision, in_threads, moment, promoters, promotion, race, violations

pytest_plugins = ["postgres"]

PROCESSES = 2


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def race_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('race')}/ledger.db"
    return request.getfixturevalue("postgres")


@pytest.fixture(scope="module")
def reports(race_url: str) -> Reports:
    return race(race_url, PROCESSES)


def test_each_fence_has_at_most_one_winner_among_threads_of_processes(race_url: str, reports: Reports) -> None:
    assert len(reports.won) >= 5
    assert violations(Ledger(race_url), reports.won) == []


def test_each_run_is_begun_by_exactly_one_thread_of_all_processes(reports: Reports) -> None:
    assert sorted(reports.begun) == list(range(12))


def test_each_window_is_decided_once_by_threads_of_processes_and_opens_one_episode(
    race_url: str, reports: Reports
) -> None:
    ledger = Ledger(race_url)
    assert len(reports.decided) == PROCESSES * 4 * 8
    assert sorted(set(reports.decided)) == sorted(enumerate(record.seq for record in ledger.decisions(RACE)[::-1]))
    assert len(ledger.episodes(RACE)) == 1
    assert ledger.scored_until(RACE) == moment(7)


SABOTAGES = {
    "the fence": (lambda _, turn: turn, "a fence that was seen won twice"),
    "the cutoff": (lambda _, turn: 9 - turn, "a cutoff went back"),
}


@pytest.mark.parametrize("missing", SABOTAGES)
def test_the_race_shows_when_the_compare_and_set_forgets_half_its_condition(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def unguarded(connection: sa.Connection, model: str, fence: int, cutoff: object) -> bool:
        known = tables.models.c
        not_older = sa.or_(known.newest_cutoff.is_(None), known.newest_cutoff <= cutoff)
        left = not_older if missing == "the fence" else known.fence == fence
        row = sa.update(tables.models).where(known.model == model, left)
        return connection.execute(row.values(fence=known.fence + 1, newest_cutoff=cutoff)).rowcount == 1

    monkeypatch.setattr(champions, "_advance", unguarded)
    cutoff, shown = SABOTAGES[missing]
    assert shown in violations(ledger, promoters(ledger, 0, threads=3, rounds=4, cutoff=cutoff))


def test_of_many_promoters_that_saw_the_same_champion_one_wins_and_the_others_are_told(ledger: Ledger) -> None:
    ledger.promote("m", **promotion(0, seen=0))

    def rival(number: int) -> object:
        try:
            return ledger.promote("m", **promotion(number + 1, seen=1)).fence
        except Conflict as refused:
            return "champion is fence 2" in str(refused)

    reports = in_threads(rival, 8)
    assert sorted(map(str, reports)) == ["2"] + ["True"] * 7


def test_of_many_that_promote_the_same_run_all_get_the_one_promotion(ledger: Ledger) -> None:
    reports = in_threads(lambda _: ledger.promote("m", **promotion(1, seen=0)), 8)
    assert reports == [ledger.champion("m")] * 8
    assert len(ledger.history("m")) == 1


def test_of_many_that_roll_back_the_same_champion_one_goes_back_one_step(ledger: Ledger) -> None:
    for number in range(4):
        ledger.promote("m", **promotion(number + 1, seen=number))

    def rival(_: int) -> bool:
        try:
            ledger.rollback("m", reason="r", now=NOW, fence_seen=4)
        except Conflict:
            return False
        return True

    assert sum(in_threads(rival, 6)) == 1
    assert ledger.champion("m").version == "3"


def test_a_reader_never_takes_a_growing_chain_for_a_broken_one(ledger: Ledger) -> None:
    def one(number: int) -> list[str]:
        if number == 0:
            for day in range(20):
                ledger.record_decision(*a_decision(day), now=NOW)
            return []
        return [problem for _ in range(10) for problem in ledger.verify()]

    assert in_threads(one, 3) == [[], [], []]
