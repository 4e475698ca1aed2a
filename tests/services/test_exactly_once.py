"""However often, from wherever and with whatever in between a retraining is asked for: it is one run. Here on PostgreSQL."""

import os
from collections import Counter
from pathlib import Path

import pytest

from continuous_training.ledger import Ledger
from ledger_parts import a_run, in_threads
from trigger_parts import EPISODE, SPEC, Elsewhere, begun, planned, problems_after_deaths, race, repeated

pytest_plugins = ["postgres"]
pytestmark = pytest.mark.services

REPEATS = int(os.environ.get("CT_TEST_REPEATS", "300"))  # PostgreSQL takes 5 to 15 ms to let a client in


def test_hundreds_of_triggers_of_one_episode_begin_one_run(postgres_database: str) -> None:
    ledger = Ledger(postgres_database)
    assert repeated(a_run(1), ledger, REPEATS) == 1
    assert len(ledger.runs("m")) == 1


def test_five_hundred_triggers_of_every_kind_from_threads_of_processes_begin_one_run(
    postgres_database: str, tmp_path: Path
) -> None:
    deployment = Elsewhere(tmp_path, postgres_database)
    told = race(begun, deployment, processes=2, threads=10, each=25)
    assert told == Counter(new=1, known=499)
    assert len(deployment.ledger.runs("m")) == 1


def test_triggers_of_every_kind_that_are_planned_at_the_same_time_are_one_run(
    postgres_database: str, tmp_path: Path
) -> None:
    deployment = Elsewhere(tmp_path / "home", postgres_database)
    deployment.land(55)
    told = in_threads(lambda number: planned(deployment, number), 30)
    (record,) = deployment.ledger.runs(SPEC.model)
    assert record.run.reason.episode == EPISODE
    assert set(told) == {record.run.key}


def test_a_retraining_decided_by_a_process_that_was_killed_is_done_once_after_the_restart(
    postgres_database: str, tmp_path: Path
) -> None:
    assert problems_after_deaths(tmp_path / "home", postgres_database) == []
