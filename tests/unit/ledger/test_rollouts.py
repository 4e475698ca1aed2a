"""A rollout has one beginning and one end, whoever looks and however often, and one goes on at a time."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from continuous_training.core.errors import Conflict
from continuous_training.core.rollout import RolloutCounts, RolloutVerdict, VersionCounts
from continuous_training.ledger import Ledger
from ledger_parts import NOW, in_threads, key, promotion


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.promote("m", **promotion(1, seen=0))
    return ledger


def begin(ledger: Ledger, number: int = 2, *, fence: int = 1, minutes: int = 0) -> Any:
    of = {"run_key": key(number), "fence": fence, "bundle": f"b{number:063x}", "version": f"2.{number}"}
    return ledger.begin_rollout("m", **of, now=NOW + timedelta(minutes=minutes))


def move(ledger: Ledger, answer: str, step: int, *, minutes: int = 1, number: int = 2) -> Any:
    verdict = RolloutVerdict(answer=answer, step=step, text=f"{answer} {step}")
    counts = RolloutCounts(plan="p", challenger=VersionCounts(requests=minutes))
    return ledger.move_rollout("m", key(number), verdict, counts, now=NOW + timedelta(minutes=minutes))


def test_steps_go_forward_and_each_has_its_beginning(ledger: Ledger) -> None:
    assert begin(ledger).step == 0
    assert move(ledger, "watch", 0, minutes=1).step_started == NOW
    assert move(ledger, "watch", 1, minutes=2).step_started == NOW + timedelta(minutes=2)
    back = move(ledger, "watch", 0, minutes=3)
    assert (back.step, back.step_started, back.counts.challenger.requests) == (1, NOW + timedelta(minutes=2), 2)
    end = move(ledger, "promote", 1, minutes=4)
    assert (end.ended, end.started, end.step_started) == (True, NOW, NOW + timedelta(minutes=2))
    assert ledger.rollout("m") == ledger.rollout("m", key(2)) == end
    assert ledger.verify() == []


def test_an_end_stands(ledger: Ledger) -> None:
    begin(ledger)
    move(ledger, "reject", 0)
    assert move(ledger, "promote", 1, minutes=2).answer == "reject"
    assert begin(ledger, minutes=3).answer == "reject"


def test_one_goes_on_at_a_time_and_the_next_begins_after_its_end(ledger: Ledger) -> None:
    begin(ledger)
    with pytest.raises(Conflict, match="goes on"):
        begin(ledger, 3)
    move(ledger, "reject", 0)
    assert begin(ledger, 3, minutes=5).run_key == key(3)
    assert ledger.rollout("m").run_key == key(3)  # type: ignore[union-attr]


def test_it_begins_only_beside_the_champion_it_was_planned_with(ledger: Ledger) -> None:
    with pytest.raises(Conflict, match="has fence 1 by now"):
        begin(ledger, fence=2)
    assert ledger.rollout("m") is None


def test_of_many_that_begin_and_end_it_at_once_one_does(ledger: Ledger) -> None:
    assert len({begin_and_key(ledger) for _ in range(3)}) == 1
    ends = in_threads(lambda n: move(ledger, "promote" if n % 2 else "reject", 0, minutes=n + 1).answer, 8)
    assert len(set(ends)) == 1
    assert ledger.verify() == []


def begin_and_key(ledger: Ledger) -> str:
    found: str = begin(ledger).run_key
    return found
