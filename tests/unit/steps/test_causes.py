"""A look in which a rule's limit is crossed tells why the quality changed."""

import json

import pytest

import small_deployment
from continuous_training.core.causes import CauseCard
from continuous_training.core.decisions import Evidence
from small_deployment import Deployment, day

RULES = [{"metric": "accuracy", "below": 0.75}]


def looked(deployment, **changes):
    spec = small_deployment.spec(**({"performance": RULES, "drift": []} | changes))
    _, results = deployment.watch(spec, as_of=day(60))
    found = results["score"]
    evidence = Evidence.model_validate_json(deployment.store.get(found.outputs["evidence"]))
    kept = found.outputs.get("causes")
    cards = [CauseCard.model_validate(card) for card in json.loads(deployment.store.get(kept))] if kept else []
    return cards, evidence, results


def turned(rows):
    hit = rows["at"] >= day(45)
    return rows.assign(late=rows["late"].where(~hit, 1 - rows["late"]))


def test_a_fired_rule_has_a_card(champion: Deployment) -> None:
    champion.land(61, turned)
    [card], evidence, results = looked(champion)
    assert (card.metric, card.line, card.window, card.note) == ("accuracy", "final", evidence.window, "")
    assert card.causes[0].name == "relation"
    assert card.causes[0].shown
    assert {cause.kind for cause in card.causes} >= {"relation", "refit"}
    assert evidence.causes == card.causes
    [score] = evidence.performance
    assert card.after == score.estimate.value  # of the model that serves, as the rule saw it
    comparison = json.loads(champion.store.get(evaluated(champion)["outputs"]["comparison"]))
    assert card.before == comparison["metrics"]["accuracy"][0]
    assert results["score"].facts["causes"] == card.sentence
    assert results["decide"].facts["causes"] in card.sentence
    assert len(json.dumps(results["score"].facts)) < 4000


def test_the_evidence_has_the_parts_of_one_metric_and_the_cards_those_of_all(champion: Deployment) -> None:
    champion.land(61, turned)
    cards, evidence, _ = looked(champion, performance=[*RULES, {"metric": "log_loss", "above": 0.5}])
    assert [card.metric for card in cards] == ["accuracy", "log_loss"]
    assert evidence.causes == cards[0].causes


def evaluated(deployment):
    [first] = deployment.ledger.history("m")
    return deployment.store.read_manifest(first.run_key, "evaluate")


def test_a_quiet_rule_has_none_unless_the_model_file_asks(champion: Deployment) -> None:
    champion.land(61)
    again, never = (champion.copy(champion.home.parent / name) for name in ("again", "never"))
    cards, evidence, results = looked(champion)
    assert (cards, evidence.causes, "causes" in results["score"].facts) == ([], (), False)
    [card], evidence, _ = looked(again, causes={"when": "always"})
    assert evidence.causes == card.causes
    never.land(61, turned)
    assert looked(never, causes={"when": "never"})[0] == []


def test_a_champion_whose_hold_out_was_not_kept_is_asked_on_all_that_it_was_made_from(champion: Deployment) -> None:
    champion.land(61, turned)
    old = champion.copy(champion.home.parent / "old")
    [key] = [one.run_key for one in old.ledger.history("m")]
    manifest = old.store.read_manifest(key, "evaluate")
    assert manifest["outputs"].pop("hold_out")
    old.store.write_manifest(key, "evaluate", manifest)
    assert looked(old)[0] == looked(champion)[0]


def test_a_quarantined_window_a_rule_of_slices_and_an_estimate_have_no_card(champion: Deployment) -> None:
    champion.land(61, turned)
    sliced = [{"metric": "accuracy", "below": 0.75, "by": "carrier", "rows": 50}]
    estimated = [{"metric": "accuracy", "below": 0.999, "line": "estimated"}]
    cards, evidence, _ = looked(champion, performance=[*sliced, *estimated])
    assert any(score.exceeded for score in evidence.performance)
    assert cards == []


def test_a_window_that_is_read_in_parts_has_a_card(champion: Deployment) -> None:
    champion.land(61, turned)
    window = small_deployment.spec().window.model_dump(mode="json") | {"part": "5 days"}
    [card], _, _ = looked(champion, window=window)
    assert card.causes[0].name == "relation"


def test_the_groups_of_the_model_file_are_checked() -> None:
    with pytest.raises(ValueError, match=r"causes\.groups: gust is not a feature"):
        small_deployment.spec(causes={"groups": {"weather": ["gust"]}})
