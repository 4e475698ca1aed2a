import pytest

from continuous_training.core.errors import Conflict, UsageError
from continuous_training.ledger import Ledger
from ledger_parts import NOW, VERDICT, a_decision, a_run, dump, key, moment, promotion

pytest_plugins = ["postgres"]


def promote(ledger: Ledger, *numbers: int) -> None:
    for number in numbers:
        champion = ledger.champion("m")
        ledger.promote("m", **promotion(number, seen=champion.fence if champion else 0, cutoff=number))


def test_a_model_without_promotions_has_no_champion_no_previous_and_no_history(ledger: Ledger) -> None:
    assert (ledger.champion("m"), ledger.previous("m"), ledger.history("m")) == (None, None, ())


def test_the_first_promotion_makes_the_champion_with_everything_it_was_given(ledger: Ledger) -> None:
    champion = ledger.promote("m", **promotion(1, seen=0, cutoff=3))
    assert champion == ledger.champion("m")
    assert champion.model_dump() == {
        "model": "m",
        "fence": 1,
        "version": "1",
        "kind": "promotion",
        "run_key": key(1),
        "bundle": f"b{1:063x}",
        "data_cutoff": moment(3),
        "reason": "run 1",
        "verdict": VERDICT.model_dump(),
        "returns_to": None,
        "promoted_at": promotion(1, seen=0)["now"],
        "registry_version": None,
        "serving": None,
    }


def test_models_do_not_share_champions_or_fences(ledger: Ledger) -> None:
    promote(ledger, 1, 2)
    assert ledger.promote("other", **promotion(1, seen=0)).fence == 1
    assert ledger.champion("m").fence == 2


def test_each_promotion_raises_the_fence_by_one_and_history_is_newest_first(ledger: Ledger) -> None:
    promote(ledger, 1, 2, 3)
    assert [(c.fence, c.version, c.returns_to) for c in ledger.history("m")] == [
        (3, "3", 2),
        (2, "2", 1),
        (1, "1", None),
    ]
    assert ledger.previous("m").fence == 2


def test_a_challenger_compared_with_an_earlier_champion_is_refused_and_told_who_is_champion(ledger: Ledger) -> None:
    promote(ledger, 1, 2)
    before = dump(ledger)
    with pytest.raises(Conflict) as refused:
        ledger.promote("m", **promotion(3, seen=1, cutoff=9))
    for part in (
        key(3)[:12],
        "compared with fence 1",
        "champion is fence 2",
        key(2)[:12],
        "start a new retraining",
        "a retry",
    ):
        assert part in str(refused.value)
    assert refused.value.exit_code == 6
    assert dump(ledger) == before


@pytest.mark.parametrize("seen", [1, 7])
def test_a_challenger_that_saw_a_champion_is_refused_where_there_is_none(ledger: Ledger, seen: int) -> None:
    with pytest.raises(Conflict, match="there is no champion"):
        ledger.promote("m", **promotion(1, seen=seen))
    assert dump(ledger)["ct_models"] == []


def test_older_data_never_replaces_newer_data(ledger: Ledger) -> None:
    ledger.promote("m", **promotion(1, seen=0, cutoff=5))
    with pytest.raises(Conflict, match=r"its data ends 2013-01-05 .* before 2013-01-06 "):
        ledger.promote("m", **promotion(2, seen=1, cutoff=4))
    assert ledger.champion("m").fence == 1


def test_the_same_data_may_replace_itself(ledger: Ledger) -> None:
    ledger.promote("m", **promotion(1, seen=0, cutoff=5))
    assert ledger.promote("m", **promotion(2, seen=1, cutoff=5)).fence == 2


@pytest.mark.parametrize("seen", [0, 1, 2, 9])
def test_a_run_that_was_promoted_is_not_promoted_again_whatever_it_says_it_saw(ledger: Ledger, seen: int) -> None:
    promote(ledger, 1, 2)
    before = dump(ledger)
    again = ledger.promote("m", **promotion(1, seen=seen))
    assert (again.fence, again.data_cutoff) == (1, moment(1))
    assert dump(ledger) == before


def test_a_run_that_was_rolled_back_does_not_come_back_by_promoting_it_again(ledger: Ledger) -> None:
    promote(ledger, 1, 2)
    ledger.rollback("m", reason="worse", now=NOW)
    assert ledger.promote("m", **promotion(2, seen=3, cutoff=2)).fence == 2
    assert ledger.champion("m").run_key == key(1)


def test_a_promotion_ends_its_run_and_the_open_episodes_of_its_model_in_the_same_step(ledger: Ledger) -> None:
    ledger.begin_run(a_run(1), now=NOW)
    for model in ("m", "other"):
        decision, evidence = a_decision(1, model, answer="yes")
        ledger.record_decision(decision, evidence, now=NOW, opened={"performance": "p", "feedback": "f", "defect": "d"})
    promote(ledger, 1)
    assert ledger.run(key(1)).outcome == "promoted"
    assert [episode.kind for episode in ledger.open_episodes("m")] == ["defect"]
    assert {episode.closed_why for episode in ledger.episodes("m")} == {None, "fence 1 is the champion"}
    assert len(ledger.open_episodes("other")) == 4


def test_a_promotion_does_not_end_the_run_of_another_model_with_the_same_key(ledger: Ledger) -> None:
    ledger.begin_run(a_run(1, "other"), now=NOW)
    promote(ledger, 1)
    assert ledger.run(key(1)).outcome is None


def test_a_rollback_is_a_step_forward_to_the_bundle_before(ledger: Ledger) -> None:
    promote(ledger, 1, 2)
    back = ledger.rollback("m", reason="more complaints", now=NOW)
    first = ledger.history("m")[-1]
    assert (back.fence, back.version, back.kind, back.reason) == (3, "1", "rollback", "more complaints")
    assert (back.run_key, back.bundle, back.data_cutoff, back.verdict) == (key(1), first.bundle, moment(1), VERDICT)
    assert back == ledger.champion("m")


def test_rolling_back_twice_goes_back_twice_and_then_says_there_is_no_more(ledger: Ledger) -> None:
    promote(ledger, 1, 2, 3)
    assert [ledger.rollback("m", reason="r", now=NOW).version for _ in range(2)] == ["2", "1"]
    assert ledger.previous("m") is None
    with pytest.raises(UsageError, match="no champion before version 1"):
        ledger.rollback("m", reason="r", now=NOW)


def test_a_promotion_after_a_rollback_returns_to_what_it_replaced(ledger: Ledger) -> None:
    promote(ledger, 1, 2)
    ledger.rollback("m", reason="r", now=NOW)
    promote(ledger, 4)
    assert ledger.previous("m").fence == 3
    assert ledger.rollback("m", reason="r", now=NOW).version == "1"


def test_a_rollback_can_name_any_fence_also_to_take_a_rollback_back(ledger: Ledger) -> None:
    promote(ledger, 1, 2, 3)
    ledger.rollback("m", reason="r", now=NOW, to=1)
    assert ledger.rollback("m", reason="r", now=NOW, to=3).version == "3"
    assert ledger.previous("m").fence == 2


@pytest.mark.parametrize("to", [0, 3, -1])
def test_a_rollback_to_a_fence_that_never_was_says_which_there_are(ledger: Ledger, to: int) -> None:
    promote(ledger, 1, 2)
    with pytest.raises(UsageError, match=f"fence {to}; its fences are 1 to 2"):
        ledger.rollback("m", reason="r", now=NOW, to=to)


def test_a_rollback_without_a_champion_is_refused(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="has no champion"):
        ledger.rollback("m", reason="r", now=NOW)


@pytest.mark.parametrize("to", [1, 3])
def test_a_rollback_to_the_version_that_is_champion_changes_nothing(ledger: Ledger, to: int) -> None:
    promote(ledger, 1, 2)
    ledger.rollback("m", reason="r", now=NOW)
    before = dump(ledger)
    assert ledger.rollback("m", reason="again", now=NOW, to=to).fence == 3
    assert dump(ledger) == before


def test_a_repeated_rollback_that_names_what_it_takes_back_goes_back_once(ledger: Ledger) -> None:
    promote(ledger, 1, 2, 3)
    ledger.rollback("m", reason="r", now=NOW, fence_seen=3)
    with pytest.raises(Conflict, match="fence 3 was to be taken back, but the champion is fence 4"):
        ledger.rollback("m", reason="r", now=NOW, fence_seen=3)
    assert ledger.champion("m").version == "2"


def test_a_challenger_pending_during_a_rollback_is_refused(ledger: Ledger) -> None:
    promote(ledger, 1, 2)
    ledger.rollback("m", reason="r", now=NOW)
    with pytest.raises(Conflict, match="compared with fence 2"):
        ledger.promote("m", **promotion(3, seen=2, cutoff=9))


def test_after_a_rollback_data_older_than_what_was_taken_back_is_still_too_old(ledger: Ledger) -> None:
    ledger.promote("m", **promotion(1, seen=0, cutoff=1))
    ledger.promote("m", **promotion(2, seen=1, cutoff=5))
    ledger.rollback("m", reason="r", now=NOW)
    with pytest.raises(Conflict, match="before 2013-01-06"):
        ledger.promote("m", **promotion(3, seen=3, cutoff=4))
    assert ledger.promote("m", **promotion(4, seen=3, cutoff=5)).fence == 4


def test_a_rollback_ends_the_open_episodes_of_drift_and_performance(ledger: Ledger) -> None:
    promote(ledger, 1, 2)
    ledger.record_decision(*a_decision(9, answer="yes"), now=NOW)
    ledger.rollback("m", reason="r", now=NOW)
    assert ledger.open_episodes("m") == ()


def test_where_a_champion_went_is_remembered_and_the_latest_stands(ledger: Ledger) -> None:
    promote(ledger, 1, 2)
    for fence, target, value in [(1, "registry", "1"), (2, "registry", "2"), (2, "serving", "a"), (2, "registry", "5")]:
        ledger.record_projection("m", fence, target=target, value=value, now=NOW)
    assert [(c.registry_version, c.serving) for c in ledger.history("m")] == [("5", "a"), ("1", None)]


def test_remembering_the_same_place_again_changes_nothing(ledger: Ledger) -> None:
    promote(ledger, 1)
    for value in ("1", "2", "1"):
        ledger.record_projection("m", 1, target="registry", value=value, now=NOW)
    before = dump(ledger)
    ledger.record_projection("m", 1, target="registry", value="1", now=NOW)
    assert dump(ledger) == before
    assert len(before["ct_projections"]) == 3


def test_a_place_for_a_fence_that_never_was_is_refused(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="never had a champion with fence 1; it has none yet"):
        ledger.record_projection("m", 1, target="registry", value="1", now=NOW)


def test_texts_with_bytes_that_no_database_keeps_are_kept_without_them(ledger: Ledger) -> None:
    champion = ledger.promote("m", **{**promotion(1, seen=0), "reason": "a\0b \udcff 'quoted' \N{SNOWMAN}"})
    assert champion.reason == "a\N{REPLACEMENT CHARACTER}b ? 'quoted' \N{SNOWMAN}"
    assert ledger.verify() == []
