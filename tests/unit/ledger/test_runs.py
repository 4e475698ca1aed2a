import pytest

from continuous_training.core.errors import UsageError
from continuous_training.ledger import Ledger
from ledger_parts import NOW, a_run, key

pytest_plugins = ["postgres"]


def test_a_run_begins_once_and_the_first_plan_stands(ledger: Ledger) -> None:
    first = a_run(1)
    assert ledger.begin_run(first, now=NOW)
    assert not ledger.begin_run(first.model_copy(update={"trials": 5}), now=NOW)
    record = ledger.run(key(1))
    assert (record.run, record.began_at, record.outcome, record.finished_at) == (first, NOW, None, None)


def test_a_run_that_ended_does_not_begin_again(ledger: Ledger) -> None:
    ledger.begin_run(a_run(1), now=NOW)
    ledger.finish_run(key(1), "failed", "the disk was full", now=NOW)
    assert not ledger.begin_run(a_run(1), now=NOW)


def test_the_latest_outcome_stands_until_the_run_is_promoted(ledger: Ledger) -> None:
    ledger.begin_run(a_run(1), now=NOW)
    for outcome in ("failed", "dry_run", "kept", "promoted"):
        record = ledger.finish_run(key(1), outcome, f"it {outcome}", now=NOW)
        assert (record.outcome, record.text, record.finished_at) == (outcome, f"it {outcome}", NOW)
    record = ledger.finish_run(key(1), "failed", "deployment failed", now=NOW)
    assert (record.outcome, record.text) == ("promoted", "it promoted")
    assert ledger.run(key(1)) == record


def test_an_outcome_that_does_not_exist_is_refused_before_it_is_written(ledger: Ledger) -> None:
    ledger.begin_run(a_run(1), now=NOW)
    with pytest.raises(UsageError, match=r"'lost' is not how a run ends; allowed are promoted, kept"):
        ledger.finish_run(key(1), "lost", "", now=NOW)
    assert ledger.run(key(1)).outcome is None


def test_a_run_that_never_began_is_not_found_and_cannot_end(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match=f"no run {key(1)[:12]} has begun"):
        ledger.run(key(1))
    with pytest.raises(UsageError, match="has begun"):
        ledger.finish_run(key(1), "kept", "", now=NOW)


def test_runs_of_a_model_come_newest_first_and_only_as_many_as_asked(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        ledger.begin_run(a_run(number), now=NOW.replace(hour=number))
    ledger.begin_run(a_run(4, "other", kind="watch"), now=NOW)
    assert [record.run.key for record in ledger.runs("m", limit=2)] == [key(3), key(2)]
    assert [record.run.kind for record in ledger.runs("other")] == ["watch"]


def test_runs_of_one_episode_are_found_by_its_name(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        ledger.begin_run(a_run(number, episode="wet" if number < 3 else "dry"), now=NOW.replace(hour=number))
    ledger.begin_run(a_run(4, "other", episode="wet"), now=NOW)
    assert [record.run.key for record in ledger.runs("m", episode="wet")] == [key(2), key(1)]
