"""A look in which a rule's limit is crossed tells why the quality changed."""

import io
import json

import numpy as np
import pandas as pd
import pytest

import small_deployment
from continuous_training.core.causes import CauseCard
from continuous_training.core.decisions import Evidence
from continuous_training.policies.evidence import signals as evidence_signals
from continuous_training.trainers.bundle import load_bundle
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


BY_CARRIER = [{"metric": "accuracy", "below": 0.75, "by": "carrier", "rows": 50}]


def threefold(rows):
    return pd.concat([rows.assign(at=rows["at"] + pd.Timedelta(seconds=second)) for second in range(3)]).sort_values(
        "at"
    )


def turned_of(carrier, *, share=1.0):
    """Turn the label of a carrier around, and that of the others in a few rows."""

    def change(rows):
        rows = threefold(rows)
        late = rows["at"] >= day(45)
        hit = late & ((rows["carrier"] == carrier) | (np.arange(len(rows)) % 10 < 10 * (1 - share)))
        return rows.assign(late=rows["late"].where(~hit, 1 - rows["late"]))

    return change


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Give a deployment whose champion was judged on enough rows of each carrier; nobody may change it."""
    made = Deployment(tmp_path_factory.mktemp("many") / "home")
    made.land(45, threefold)
    made.train(small_deployment.spec())
    return made


def test_a_rule_by_a_column_has_the_card_of_the_group_that_is_furthest_beyond(many, tmp_path):
    deployment = many.copy(tmp_path / "home")
    deployment.land(61, turned_of("b", share=0.6))
    [card], evidence, results = looked(deployment, performance=BY_CARRIER)
    assert {score.slice for score in evidence.performance if score.exceeded} == {"carrier=a", "carrier=b"}
    [of_b] = [score for score in evidence.performance if score.slice == "carrier=b"]
    assert (card.slice, card.note, card.after) == ("carrier=b", "", of_b.estimate.value)
    assert 300 <= card.reference_rows < card.current_rows < 1500, "rows of the group only"
    assert card.before == pytest.approx(of_group(deployment, "b"))
    assert card.causes[0].kind == "relation"
    assert evidence.causes == card.causes
    assert {cause.slice for cause in card.causes} == {"carrier=b"}
    assert results["score"].facts["causes"].startswith("accuracy where carrier=b fell by 0.")
    [signal] = evidence_signals(evidence)
    assert signal.text.startswith("accuracy where carrier=b 0.")


def of_group(deployment, carrier):
    """Return the accuracy of the model as it was judged, on the hold-out's rows of a carrier."""
    [first] = deployment.ledger.history("m")
    kept = pd.read_parquet(io.BytesIO(deployment.store.get(evaluated(deployment)["outputs"]["hold_out"])))
    trained = deployment.store.read_manifest(first.run_key, "train")["outputs"]
    judged = load_bundle(deployment.store.fetch_folder(trained.get("judged", trained["bundle"]), deployment.home / "b"))
    rows = kept[kept["carrier"] == carrier]
    return float(((judged.predict(rows)[:, 1] > 0.5) == rows["late"]).mean())


def test_rules_by_a_column_and_of_all_rows_have_a_card_each(many, tmp_path):
    deployment = many.copy(tmp_path / "home")
    deployment.land(61, turned_of("b", share=0.6))
    cards, evidence, _ = looked(deployment, performance=[*BY_CARRIER, *RULES])
    assert [card.slice for card in cards] == ["carrier=b", ""]
    assert evidence.causes == cards[0].causes


def test_a_group_with_too_few_rows_and_an_estimate_say_why_there_are_no_parts(champion: Deployment) -> None:
    champion.land(61, turned)
    [few], evidence, results = looked(champion, performance=BY_CARRIER)
    assert "rows with a label are too few, 300 are needed" in few.note
    assert evidence.causes == ()
    assert evidence.no_causes == few.sentence == results["decide"].facts["causes"]
    assert few.sentence.startswith("why accuracy where carrier=")
    other = small_deployment.spec(performance=[{"metric": "accuracy", "below": 0.999, "line": "estimated"}], drift=[])
    champion.land(71, turned)
    _, results = champion.watch(other, as_of=day(71))
    told = Evidence.model_validate_json(champion.store.get(results["score"].outputs["evidence"]))
    assert any(score.exceeded for score in told.performance)
    assert told.no_causes.startswith("why accuracy changed cannot be told: an estimate has no labels")


def test_a_hold_out_without_the_column_of_a_rule_says_so(champion: Deployment) -> None:
    champion.land(61, turned)
    [key] = [one.run_key for one in champion.ledger.history("m")]
    manifest = champion.store.read_manifest(key, "evaluate")
    kept = pd.read_parquet(io.BytesIO(champion.store.get(manifest["outputs"]["hold_out"])))
    region = small_deployment.spec(
        performance=[{"metric": "accuracy", "below": 0.75, "by": "region", "rows": 50}], drift=[],
        fairness={"sensitive": ["region"]},
    )  # fmt: skip
    assert "region" not in kept
    champion.land(61, lambda rows: turned(rows).assign(region="north"))
    _, results = champion.watch(region, as_of=day(60))
    told = Evidence.model_validate_json(champion.store.get(results["score"].outputs["evidence"]))
    assert told.no_causes == (
        "why accuracy where region=north changed cannot be told: the hold-out was kept without region; a champion that is trained "
        "from now on has it"
    )


def test_a_quarantined_window_has_no_card(champion: Deployment) -> None:
    def broken(rows):
        return turned(rows).assign(wind=rows["wind"].where(rows["at"] < day(42), rows["wind"] * 1000))

    champion.land(61, broken)
    cards, evidence, _ = looked(champion)
    assert evidence.defects
    assert (cards, evidence.causes, evidence.no_causes) == ([], (), "")


def test_a_window_that_is_read_in_parts_has_a_card(champion: Deployment) -> None:
    champion.land(61, turned)
    window = small_deployment.spec().window.model_dump(mode="json") | {"part": "5 days"}
    [card], _, _ = looked(champion, window=window)
    assert card.causes[0].name == "relation"


def test_the_groups_of_the_model_file_are_checked() -> None:
    with pytest.raises(ValueError, match=r"causes\.groups: gust is not a feature"):
        small_deployment.spec(causes={"groups": {"weather": ["gust"]}})
