"""A request becomes one frozen run: which rows, seen from when, against which champion."""

from datetime import UTC, datetime, timedelta

import pytest

import small_deployment
from continuous_training.core.errors import DataInvalid, SourceUnavailable
from continuous_training.core.run import Request
from continuous_training.steps.plan import is_complete, newest_end, next_window_end, plan
from small_deployment import NOW, Deployment, day

SPEC = small_deployment.spec()


def test_a_training_ends_at_the_newest_window_whose_labels_have_matured(deployment: Deployment) -> None:
    deployment.land(51)  # the last row is of day 50.98, and its label is a day late
    run = deployment.plan(SPEC)
    assert (run.window.start, run.window.end, run.as_of) == (day(0), day(40), day(41))
    deployment.land(52)
    run = deployment.plan(SPEC)
    assert (run.window.start, run.window.end, run.as_of) == (day(10), day(50), day(51))


@pytest.mark.parametrize(
    ("as_of", "end"),
    [(day(41), 40), (day(41) - timedelta(microseconds=1), 30), (day(50), 40), (day(51), 50), (day(1000), 60)],
)
def test_a_request_looks_from_its_moment_but_never_beyond_the_rows_that_arrived(
    deployment: Deployment, as_of: datetime, end: int
) -> None:
    deployment.land(65)
    run = deployment.plan(SPEC, as_of=as_of)
    assert run.window.end == day(end)
    assert run.as_of == day(end + 1)


def test_rows_dated_in_the_future_do_not_move_the_window_beyond_now(deployment: Deployment) -> None:
    deployment.land(65)
    assert newest_end(SPEC, Request(kind="train"), deployment.settings, day(45)) == day(40)
    assert newest_end(SPEC, Request(kind="train", as_of=day(61)), deployment.settings, day(45)) == day(40)


def test_no_rows_at_all_may_change_by_waiting(deployment: Deployment) -> None:
    (deployment.home / "data" / "rows").mkdir(parents=True)
    with pytest.raises(SourceUnavailable, match="has no rows yet; land data and ask again"):
        deployment.plan(SPEC)
    (deployment.home / "data" / "rows").rmdir()
    with pytest.raises(SourceUnavailable, match="there is nothing at"):
        deployment.plan(SPEC)
    assert deployment.ledger.runs("m") == ()


def test_the_same_request_twice_is_one_run(deployment: Deployment) -> None:
    deployment.land(45)
    first = deployment.plan(SPEC)
    later = plan(SPEC, Request(kind="train"), deployment.settings, now=NOW + timedelta(days=3))
    assert later == first
    assert len(deployment.ledger.runs("m")) == 1
    assert deployment.ledger.run(first.key).began_at == NOW


@pytest.mark.parametrize(
    "change",
    [{"episode": "drift:1"}, {"reason": "drift"}, {"trials": 3}, {"as_of": day(31)}],
    ids=lambda change: next(iter(change)),
)
def test_another_cause_another_search_and_other_rows_are_another_run(
    deployment: Deployment, change: dict[str, object]
) -> None:
    deployment.land(45)
    assert deployment.plan(SPEC, **change).key != deployment.plan(SPEC).key


@pytest.mark.parametrize(
    "change", [{"text": "again"}, {"force": True}, {"dry_run": True}], ids=lambda change: next(iter(change))
)
def test_how_the_same_is_asked_for_is_not(deployment: Deployment, change: dict[str, object]) -> None:
    deployment.land(45)
    asked = deployment.plan(SPEC, **change)
    assert asked.key == deployment.plan(SPEC).key
    assert (asked.force, asked.dry_run) == (bool(change.get("force")), bool(change.get("dry_run")))


def test_manual_requests_of_different_episodes_are_different_runs(deployment: Deployment) -> None:
    deployment.land(45)
    keys = {deployment.plan(SPEC, episode=episode).key for episode in ("a", "b", "a", None)}
    assert len(keys) == 3


@pytest.mark.parametrize(
    "changes",
    [{"seed": 8}, {"min_rows": 500}, {"expectations": {"critical": [{"expect_column_to_exist": {"column": "wind"}}]}}],
    ids=lambda changes: next(iter(changes)),
)
def test_another_specification_is_another_run_on_the_same_rows(
    deployment: Deployment, changes: dict[str, object]
) -> None:
    deployment.land(45)
    other = deployment.plan(small_deployment.spec(**changes))
    run = deployment.plan(SPEC)
    assert other.key != run.key
    assert other.window == run.window


def test_the_reason_is_told_in_words_even_when_nobody_gave_any(deployment: Deployment) -> None:
    deployment.land(45)
    silent, told = deployment.plan(SPEC), deployment.plan(SPEC, reason="config", text="a new feature", episode="e")
    assert silent.reason is not None
    assert told.reason is not None
    assert (silent.reason.kind, silent.reason.text, silent.reason.episode) == (
        "manual",
        "somebody asked for it",
        "manual:2024-02-10T00:00Z",
    )
    assert (told.reason.kind, told.reason.text, told.reason.episode) == ("config", "a new feature", "e")


def test_the_first_plan_stands_when_the_champion_changed_meanwhile(champion: Deployment) -> None:
    """Otherwise a repeated plan would promote a challenger that was compared with another champion."""
    champion.land(55)
    first = champion.plan(SPEC)
    assert first.fence == 1
    ledger = champion.ledger
    ledger.promote(
        "m", run_key="c" * 64, bundle="d" * 64, data_cutoff=day(45), fence_seen=1, reason="other", verdict=None, now=NOW
    )
    assert champion.plan(SPEC) == first
    assert champion.plan(SPEC, episode="new").fence == 2


def test_there_is_nothing_to_watch_before_there_is_a_champion(deployment: Deployment) -> None:
    deployment.land(45)
    assert next_window_end(SPEC, deployment.settings) is None
    with pytest.raises(
        DataInvalid, match="m has no champion yet, so there is nothing to watch; train it first: ct run train m"
    ):
        deployment.plan(SPEC, kind="watch")


@pytest.mark.parametrize(("days", "complete"), [(50, False), (51, False), (52, True), (100, True)])
def test_a_window_is_complete_when_its_rows_and_their_labels_have_arrived(
    champion: Deployment, days: int, complete: bool
) -> None:
    champion.land(days)
    end = next_window_end(SPEC, champion.settings)
    assert end == day(50)
    assert is_complete(SPEC, champion.settings, end) is complete
    if complete:
        run = champion.plan(SPEC, kind="watch")
        assert (run.window.start, run.window.end, run.as_of) == (day(40), day(50), day(51))
        assert run.reason is None
        return
    with pytest.raises(SourceUnavailable, match="ends at 2024-02-20 00:00Z is not complete yet"):
        champion.plan(SPEC, kind="watch")


def test_a_watch_leaves_no_trace_until_it_has_decided_and_windows_follow_one_another(champion: Deployment) -> None:
    champion.land(85)
    assert champion.plan(SPEC, kind="watch") == champion.plan(SPEC, kind="watch")
    assert len(champion.ledger.runs("m")) == 1
    ends = []
    for _ in range(3):
        ends.append(next_window_end(SPEC, champion.settings))
        champion.watch(SPEC)
    assert ends == [day(50), day(60), day(70)]
    assert next_window_end(SPEC, champion.settings) == day(80)


def test_an_earlier_window_can_be_looked_at_again(champion: Deployment) -> None:
    champion.land(85)
    run = champion.plan(SPEC, kind="watch", as_of=day(71))
    assert run.window.end == day(70)
    assert champion.plan(SPEC, kind="watch").window.end == day(50)


def test_a_changed_rule_of_watching_scores_the_window_again(champion: Deployment) -> None:
    champion.land(55)
    other = small_deployment.spec(performance=[{"metric": "roc_auc", "below": 0.6}])
    assert other.digest == SPEC.digest
    assert champion.plan(other, kind="watch").key != champion.plan(SPEC, kind="watch").key


def test_moments_of_a_run_are_in_utc(deployment: Deployment) -> None:
    deployment.land(45)
    assert deployment.plan(SPEC).as_of.tzinfo is UTC
