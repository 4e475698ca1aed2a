"""However often, from wherever and with whatever in between a retraining is asked for: it is one run. Here on SQLite."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from continuous_training.core.run import Request
from continuous_training.ledger import Ledger, runs
from continuous_training.steps import plan
from ledger_parts import in_threads
from trigger_parts import (
    ALARMS_A_DAY,
    DAYS,
    EPISODE,
    GUARDED,
    NOON,
    REASONS,
    SPEC,
    Elsewhere,
    ask,
    most_in,
    planned,
    problems_after_deaths,
    race,
    repeated,
    storm,
    trigger,
)


@pytest.fixture
def deployment(sqlite_url: str, tmp_path: Path) -> Elsewhere:
    """Give a deployment with rows for more than one window."""
    deployment = Elsewhere(tmp_path / "home", sqlite_url)
    deployment.land(55)
    return deployment


def the_one_run(deployment: Elsewhere) -> str:
    (record,) = deployment.ledger.runs(SPEC.model)
    assert record.run.reason.episode == EPISODE
    return record.run.key


def test_ten_thousand_triggers_of_one_episode_begin_one_run(deployment: Elsewhere, sqlite_url: str) -> None:
    run = plan.plan(SPEC, trigger(0), deployment.settings, now=NOON)
    other = Ledger(f"{sqlite_url}.other")
    assert repeated(run, other, 10_000) == 1
    assert len(other.runs(SPEC.model)) == 1


def test_five_hundred_triggers_of_every_kind_from_threads_of_processes_are_one_run(deployment: Elsewhere) -> None:
    told = race(planned, deployment, processes=2, threads=10, each=25)
    assert told == Counter({the_one_run(deployment): 500})


def test_the_triggers_that_race_would_be_several_runs_without_their_episode(deployment: Elsewhere) -> None:
    requests = [trigger(number).model_copy(update={"episode": None}) for number in range(12)]
    keys = {plan.plan(SPEC, request, deployment.settings, now=NOON).key for request in requests}
    assert len(keys) == len(deployment.ledger.runs(SPEC.model)) == len(REASONS)


def test_the_first_plan_of_an_episode_stands_when_rows_land_in_between(deployment: Elsewhere) -> None:
    asked = Request(kind="train", reason="drift", episode=EPISODE)
    first = plan.plan(SPEC, asked, deployment.settings, now=NOON)
    deployment.land(65)
    later = plan.plan(SPEC, asked, deployment.settings, now=NOON + timedelta(hours=1))
    assert later == first
    unnamed = asked.model_copy(update={"episode": None})
    assert plan.plan(SPEC, unnamed, deployment.settings, now=NOON).window.end > first.window.end


def test_the_race_shows_when_a_run_is_not_kept_once(deployment: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sabotage: each trigger gets a key of its own, as if the ledger's unique key were not there."""
    chance = iter(range(1000))
    monkeypatch.setattr(plan, "digest", lambda _: f"{next(chance):064x}")
    keys = in_threads(lambda number: ask(deployment, number).key, 8)
    assert len(set(keys)) == len(deployment.ledger.runs(SPEC.model)) == 8


def test_the_ledger_says_new_to_each_when_the_insert_is_not_unique(
    deployment: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sabotage: a second insert of the same key is called new as well."""
    run = ask(deployment, 0)
    monkeypatch.setattr(runs, "insert_once", lambda *_, **__: True)
    assert repeated(run, deployment.ledger, 10) == 10


# Thirty days of alarms


def test_thirty_days_of_alarms_stay_inside_the_budget_with_one_notice_an_episode(sqlite_url: str) -> None:
    ledger = Ledger(sqlite_url)
    seen = storm(ledger, seed=1)
    budget = GUARDED.retraining.budget
    assert seen.alarms > 0.8 * DAYS * ALARMS_A_DAY
    assert most_in(seen.asked, budget.per) == budget.runs
    assert seen.runs == len(seen.asked) >= budget.runs * DAYS * timedelta(days=1) // budget.per
    notices = ledger.episodes("m")
    assert len(notices) == seen.began > 10
    assert len({notice.opened_by for notice in notices}) == len(notices)
    assert ledger.verify() == []


# Deaths between the decision and the run


def test_a_retraining_decided_by_a_process_that_was_killed_is_done_once_after_the_restart(
    sqlite_url: str, tmp_path: Path
) -> None:
    assert problems_after_deaths(tmp_path / "home", sqlite_url) == []
