"""A sensitive column is measured by and never learned from: through every step, into the evidence, and back as a reason."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

import small_deployment
from continuous_training.core.comparison import Comparison
from continuous_training.core.decisions import Evidence
from continuous_training.core.errors import DataInvalid
from continuous_training.core.prediction_log import log_folder
from continuous_training.sources._predictions import add_outcomes
from small_deployment import TRAINER, Deployment, day

FAIRNESS = {
    "sensitive": ["sex"],
    "worst_group": {"metric": "accuracy", "below": 0.6},
    "demographic_parity": 0.3,
    "rows": 50,
}
SPEC = small_deployment.spec(
    fairness=FAIRNESS,
    features={"numeric": ["wind"]},
    drift=[],
    performance=[{"metric": "accuracy", "below": 0.1, "by": "sex"}],
)
WOMEN, MEN = "sex-of-women", "sex-of-men"


def with_sex(rows: pd.DataFrame, unlike_from: int = 10_000) -> pd.DataFrame:
    """Return the rows with a sex that makes no difference until a day, from which men have the strong winds."""
    random = np.random.default_rng(5)
    sex = pd.Series(np.where(random.random(len(rows)) < 0.4, WOMEN, MEN))
    unlike = np.where(rows["wind"] > 0, MEN, WOMEN)
    return rows.assign(sex=sex.where(rows["at"] < day(unlike_from), unlike))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    deployment = Deployment(tmp_path_factory.mktemp("fair") / "home")
    deployment.land(55, with_sex)
    return deployment, *deployment.train(SPEC, as_of=day(41))


def stored(deployment: Deployment, results: Any, step: str, name: str) -> bytes:
    return deployment.store.get(results[step].outputs[name])


def test_the_model_is_measured_by_the_groups_and_promoted(trained: Any) -> None:
    deployment, _, results = trained
    assert results["promote"].facts["outcome"] == "promoted"
    comparison = Comparison.model_validate_json(stored(deployment, results, "evaluate", "comparison"))
    assert [(each.column, each.value, each.champion) for each in comparison.groups] == [
        ("sex", MEN, None),
        ("sex", WOMEN, None),
    ]
    assert sum(each.rows for each in comparison.groups) == comparison.rows
    assert [each.measure for each in comparison.disparities] == ["worst_group", "demographic_parity"]
    assert all(each.kept for each in comparison.disparities)
    rules = json.loads(stored(deployment, results, "evaluate", "verdict"))["rules"]
    assert [rule["name"] for rule in rules][-2:] == ["worst_group sex", "demographic_parity sex"]


def test_the_column_is_read_and_reaches_neither_the_learner_nor_the_bundle(trained: Any) -> None:
    deployment, _, results = trained
    rows = pd.read_parquet(deployment.store.fetch(results["collect"].outputs["rows"], deployment.home / "look"))
    assert set(rows["sex"]) == {WOMEN, MEN}
    assert deployment.matrix(results["prepare"], "x").shape[1] == 1
    bundles = [
        deployment.store.fetch_folder(results["train"].outputs[name], deployment.home / name)
        for name in ("bundle", "judged")
    ]
    for made in [*(results["prepare"].outputs.values()), *(results["train"].outputs.values())]:
        assert b"sex" not in deployment.store.get(made)
    for file in (file for bundle in bundles for file in bundle.rglob("*") if file.is_file()):
        assert b"sex" not in file.read_bytes(), file


def test_rows_that_differ_in_a_sensitive_column_alone_are_no_duplicates(trained: Any, tmp_path: Any) -> None:
    deployment = trained[0].copy(tmp_path / "home")
    deployment.land(55, lambda rows: pd.concat([rows.assign(sex=WOMEN), rows.assign(sex=MEN)]))
    _, results = deployment.train(SPEC, until="prepare", as_of=day(51))
    assert results["prepare"].facts["rows"] == 2 * 2000


def test_a_window_has_the_groups_and_its_signals_open_an_episode(trained: Any, tmp_path: Any) -> None:
    quiet = trained[0].copy(tmp_path / "quiet")
    _, results = quiet.watch(SPEC)
    evidence = Evidence.model_validate_json(stored(quiet, results, "score", "evidence"))
    assert [(each.value, each.challenger) for each in evidence.groups] == [(MEN, None), (WOMEN, None)]
    assert [each.exceeded for each in evidence.disparities] == [False, False]
    assert results["decide"].facts["answer"] == "no"
    assert [score.slice for score in evidence.performance] == [f"sex={MEN}", f"sex={WOMEN}"]

    unlike = trained[0].copy(tmp_path / "unlike")
    unlike.land(55, lambda rows: with_sex(rows, 40))
    _, results = unlike.watch(SPEC)
    facts = results["decide"].facts
    assert facts["answer"] == "yes"
    assert facts["signals"]["demographic_parity"] == "fired"
    assert f"where it is {MEN}" in facts["why"]
    assert facts["request"]["reason"] == "performance"
    assert [episode.kind for episode in unlike.ledger.open_episodes("m")] == ["performance"]

    # The challenger is made of the same people and is not promoted; the champion is measured beside it.
    _, results = unlike.train(SPEC, **{key: value for key, value in facts["request"].items() if key != "kind"})
    comparison = Comparison.model_validate_json(stored(unlike, results, "evaluate", "comparison"))
    assert all(each.champion and each.challenger for each in comparison.groups)
    assert len(comparison.champion_disparities) == len(comparison.disparities) == 2
    assert comparison.disparities[1].exceeded
    assert results["promote"].facts["outcome"] == "kept"


def test_a_window_that_is_read_in_parts_has_the_groups_too(trained: Any, tmp_path: Any) -> None:
    deployment = trained[0].copy(tmp_path / "home")
    window = {**SPEC.window.model_dump(mode="json"), "part": "2 days"}
    parts = SPEC.model_copy(update={"window": type(SPEC.window).model_validate(window)})
    _, results = deployment.watch(parts)
    evidence = Evidence.model_validate_json(stored(deployment, results, "score", "evidence"))
    assert sum(each.rows for each in evidence.groups) == 500


def test_a_source_that_lost_the_column_is_told(trained: Any, tmp_path: Any) -> None:
    deployment = trained[0].copy(tmp_path / "home")
    deployment.land(55)
    with pytest.raises(DataInvalid, match="sex"):
        deployment.watch(SPEC)


def test_a_column_that_is_allowed_is_a_feature(deployment: Deployment) -> None:
    deployment.land(45, with_sex)
    allowed = small_deployment.spec(
        fairness={"sensitive": ["sex"], "as_feature": ["sex"]}, features={"numeric": ["wind"], "categorical": ["sex"]}
    )
    _, results = deployment.train(allowed, until="evaluate")
    assert deployment.matrix(results["prepare"], "x").shape[1] == 2
    comparison = Comparison.model_validate_json(stored(deployment, results, "evaluate", "comparison"))
    assert (len(comparison.groups), comparison.disparities) == (2, ())


@pytest.mark.parametrize("kind", ["reweighing", "balanced"])
def test_a_mitigation_changes_the_model_and_leaves_nothing_of_the_column_in_it(
    trained: Any, tmp_path: Any, kind: str
) -> None:
    deployment = trained[0].copy(tmp_path / "home")
    mitigated = small_deployment.spec(
        fairness=FAIRNESS,
        features={"numeric": ["wind"]},
        drift=[],
        trainer={**TRAINER, "mitigation": {"kind": kind, "by": "sex"}},
    )
    _, results = deployment.train(mitigated, until="train", as_of=day(41))
    assert set(deployment.matrix(results["prepare"], "people")) == {0, 1}
    bundle = deployment.store.fetch_folder(results["train"].outputs["bundle"], deployment.home / "mitigated")
    before = deployment.store.fetch_folder(trained[2]["train"].outputs["bundle"], deployment.home / "before")
    assert (bundle / "model.txt").read_bytes() != (before / "model.txt").read_bytes()
    assert WOMEN.encode() not in b"".join(file.read_bytes() for file in bundle.rglob("*") if file.is_file())


FEEDBACK = {"kind": "complaint", "by": "carrier", "above": 0.05}
TOLD = small_deployment.spec(feedback=[FEEDBACK], deployment={"kind": "local", "log": {}})


def predicted(deployment: Deployment, version: str, complaints: dict[str, int]) -> None:
    """Write a log of 200 predictions of each carrier in the window that ends on day 50, and complaints about some."""
    folder = log_folder(deployment.home, "m")
    folder.mkdir(parents=True)
    lines, told = [], []
    for carrier, count in complaints.items():
        for number in range(200):
            name = f"{carrier}-{number}"
            record = {
                "id": name,
                "time": day(45).timestamp() + number,
                "version": version,
                "fence": 1,
                "reason": "champion",
            }
            record |= {
                "share": 1.0,
                "entity": None,
                "digest": "",
                "predictions": [0.5],
                "columns": {"carrier": carrier},
            }
            lines.append(json.dumps(record))
            if number < count:
                told.append({"id": name, "kind": "complaint", "value": True, "time": day(46)})
    told += [{"id": f"{carrier}-199", "kind": "complaint", "value": False, "time": day(46)} for carrier in complaints]
    told += [
        {"id": f"{carrier}-{number}", "kind": "complaint", "value": 1, "time": day(60)}
        for carrier in complaints
        for number in range(200)
    ]
    (folder / "0000000000001-a.jsonl").write_text("".join(f"{line}\n" for line in lines))
    add_outcomes(folder, told, day(60))


def test_what_people_tell_by_region_is_a_reason_to_retrain(champion: Deployment) -> None:
    champion.land(55)
    version = champion.ledger.champion("m").version
    predicted(champion, version, {"a": 2, "b": 30})
    _, results = champion.watch(TOLD)
    facts = results["decide"].facts
    assert facts["answer"] == "yes"
    assert facts["request"]["reason"] == "feedback"
    assert facts["why"].startswith("complaint where carrier=b on 15.00% of 200 predictions")
    assert [episode.kind for episode in champion.ledger.open_episodes("m")] == ["feedback"]
    evidence = Evidence.model_validate_json(stored(champion, results, "score", "evidence"))
    assert [(score.slice, score.estimate.value) for score in evidence.feedback] == [
        ("carrier=a", 0.01),
        ("carrier=b", 0.15),
    ]


def test_what_was_told_of_another_version_is_not_about_the_champion(champion: Deployment) -> None:
    champion.land(55)
    predicted(champion, "another", {"a": 100})
    _, results = champion.watch(TOLD)
    assert results["decide"].facts["signals"]["complaint above 0.05"] == "inconclusive"


def test_without_a_log_the_signal_says_so(champion: Deployment) -> None:
    champion.land(55)
    _, results = champion.watch(TOLD)
    assert results["decide"].facts["signals"]["complaint above 0.05"] == "inconclusive"
    [record] = champion.ledger.decisions("m")
    assert "there is no prediction log" in next(
        signal.text for signal in record.decision.signals if signal.kind == "feedback"
    )
