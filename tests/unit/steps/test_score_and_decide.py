"""A window is measured against the champion's reference, and what is decided on it stands."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import small_deployment
from continuous_training.core.decisions import Evidence
from continuous_training.core.errors import DataInvalid, UsageError
from continuous_training.core.run import Request, StepResult
from continuous_training.steps.plan import next_window_end
from small_deployment import Deployment, day

SPEC = small_deployment.spec()
PERFORMANCE = [{"metric": "roc_auc", "below": 0.6}, {"metric": "log_loss", "above": 5.0}]
WITH_PERFORMANCE = small_deployment.spec(performance=PERFORMANCE)


def evidence(deployment: Deployment, results: dict[str, StepResult]) -> Evidence:
    return Evidence.model_validate_json(deployment.store.get(results["score"].outputs["evidence"]))


def test_a_quiet_window_is_a_no_with_its_numbers(champion: Deployment) -> None:
    champion.land(55)
    run, results = champion.watch(WITH_PERFORMANCE)
    seen = evidence(champion, results)
    assert (seen.window, seen.rows, seen.as_of) == (run.window, 500, day(51))
    (drift,) = seen.drift
    assert (drift.detector, drift.column, drift.reference_rows, drift.current_rows, drift.exceeded) == (
        "psi",
        "wind",
        2000,
        500,
        False,
    )
    assert [(score.estimate.metric, score.matured, score.exceeded) for score in seen.performance] == [
        ("roc_auc", 1.0, False),
        ("log_loss", 1.0, False),
    ]
    facts = results["decide"].facts
    assert facts["answer"] == "no"
    assert set(facts["signals"].values()) == {"quiet"}
    assert "request" not in facts


def test_a_drifted_window_is_a_yes_with_a_request_that_trains_on_it(champion: Deployment) -> None:
    champion.land(55, drift_after=40)
    _, results = champion.watch(SPEC)
    facts = results["decide"].facts
    assert facts["answer"] == "yes"
    request = Request.model_validate(facts["request"])
    assert (request.kind, request.reason, request.as_of) == ("train", "drift", day(51))
    run = champion.plan(SPEC, **request.model_dump(exclude={"kind"}))
    assert run.window.end == day(50)
    assert run.reason is not None
    assert run.reason.episode == request.episode
    assert len(champion.ledger.open_episodes("m")) == 1


def test_a_yes_whose_run_nobody_began_is_asked_for_again_until_somebody_does(champion: Deployment) -> None:
    champion.land(85, drift_after=40)
    first = champion.watch(SPEC)[1]["decide"].facts
    assert first["answer"] == "yes"
    second = champion.watch(SPEC)[1]["decide"].facts
    assert second["answer"] == "no"
    assert second["request"] == first["request"]
    assert "has had no run yet" in second["asked_again"]
    champion.plan(SPEC, **first["request"])
    third = champion.watch(SPEC)[1]["decide"].facts
    assert third["answer"] == "no"
    assert not third.keys() & {"request", "asked_again"}


def test_a_champion_that_fell_is_a_yes_for_performance(champion: Deployment) -> None:
    champion.land(55, lambda rows: rows.assign(late=rows["late"].where(rows["at"] < day(40), 1 - rows["late"])))
    _, results = champion.watch(WITH_PERFORMANCE)
    assert results["decide"].facts["answer"] == "yes"
    assert results["decide"].facts["request"]["reason"] == "performance"


def test_deciding_again_changes_nothing(champion: Deployment) -> None:
    champion.land(55, drift_after=40)
    run, results = champion.watch(SPEC)
    again = champion.step("decide", SPEC, run)
    assert again.facts == results["decide"].facts
    assert len(champion.ledger.decisions("m")) == 1
    assert next_window_end(SPEC, champion.settings) == day(60)
    assert champion.ledger.verify() == []


def test_scoring_again_reads_the_result_back_even_when_rows_changed(champion: Deployment) -> None:
    champion.land(55)
    run, results = champion.watch(SPEC)
    champion.land(55, drift_after=0)
    again = champion.step("score", SPEC, run)
    assert again.reused
    assert again.outputs == results["score"].outputs


def test_the_first_decision_on_a_window_stands_when_other_evidence_comes_later(champion: Deployment) -> None:
    champion.land(55)
    _, first = champion.watch(SPEC)
    champion.land(55, drift_after=40)
    strict = small_deployment.spec(performance=PERFORMANCE)
    _, second = champion.watch(strict, as_of=day(51))
    assert evidence(champion, second).drift[0].exceeded is True
    assert second["decide"].facts["answer"] == first["decide"].facts["answer"] == "no"
    assert len(champion.ledger.decisions("m")) == 1


@pytest.mark.parametrize(("triage", "answer"), [(None, "inconclusive"), ({}, "no")], ids=["no triage", "triage"])
def test_a_window_without_rows_is_inconclusive_or_known_to_be_broken(
    champion: Deployment, triage: dict[str, Any] | None, answer: str
) -> None:
    champion.land(65, lambda rows: rows[(rows["at"] < day(40)) | (rows["at"] >= day(50))])
    model = small_deployment.spec(performance=PERFORMANCE, triage=triage)
    _, results = champion.watch(model)
    assert results["score"].facts["rows"] == 0
    assert results["decide"].facts["answer"] == answer
    assert (
        [defect.kind for defect in evidence(champion, results).defects] == [] if triage is None else ["partial_window"]
    )
    assert set(results["decide"].facts["signals"].values()) == {"inconclusive"}
    assert next_window_end(SPEC, champion.settings) == day(60)


def test_a_rule_for_each_value_of_a_column_is_measured_where_there_are_enough_rows(champion: Deployment) -> None:
    def wrong_for_b(rows: pd.DataFrame) -> pd.DataFrame:
        turned = (rows["at"] >= day(40)) & (rows["carrier"] == "b")
        rare = rows.index % 100 == 0
        return rows.assign(
            late=rows["late"].where(~turned, 1 - rows["late"]), carrier=rows["carrier"].where(~rare, "c")
        )

    champion.land(55, wrong_for_b)
    rules = [{"name": "low", "metric": "roc_auc", "below": 0.6, "by": "carrier", "rows": 100}]
    _, results = champion.watch(small_deployment.spec(performance=rules, triage=None))
    scores = evidence(champion, results).performance
    assert [(score.rule, score.slice, score.exceeded) for score in scores] == [
        ("low", "carrier=a", False),
        ("low", "carrier=b", True),
    ]
    assert results["decide"].facts["request"]["reason"] == "performance"
    assert "roc_auc where carrier=b" in results["decide"].facts["why"]


def test_a_rule_whose_column_has_no_frequent_value_is_inconclusive_and_keeps_its_episode(champion: Deployment) -> None:
    champion.land(65, lambda rows: rows.assign(late=rows["late"].where(rows["at"] < day(40), 1 - rows["late"])))
    rule = {"name": "low", "metric": "roc_auc", "below": 0.6, "by": "carrier"}
    champion.watch(small_deployment.spec(performance=[rule]))
    _, results = champion.watch(small_deployment.spec(performance=[{**rule, "rows": 400}]))
    assert results["decide"].facts["signals"]["low"] == "inconclusive"
    assert "no value of carrier has 400 rows" in results["decide"].facts["why"]
    assert [episode.kind for episode in champion.ledger.open_episodes("m")] == ["performance"]


def test_a_window_without_labels_still_measures_drift(champion: Deployment) -> None:
    champion.land(55, lambda rows: rows.assign(late=rows["late"].where(rows["at"] < day(40), np.nan)), drift_after=40)
    _, results = champion.watch(WITH_PERFORMANCE)
    assert results["decide"].facts["signals"] == {
        "psi": "fired", "roc_auc below 0.6": "inconclusive", "log_loss above 5": "inconclusive",
    }  # fmt: skip
    assert results["decide"].facts["answer"] == "yes"


@pytest.mark.parametrize(
    "detector",
    [
        {"kind": "ks", "columns": ["wind"]},
        {"kind": "psi", "columns": ["carrier"], "threshold": 0.3},
        {"kind": "chi_square", "columns": ["carrier"]},
    ],
    ids=lambda detector: detector["kind"],
)
def test_a_detector_added_after_the_training_measures_from_the_kept_rows(
    champion: Deployment, detector: dict[str, Any]
) -> None:
    champion.land(55)
    model = small_deployment.spec(drift=[detector])
    _, results = champion.watch(model)
    (score,) = evidence(champion, results).drift
    assert score.reference_rows == 2000
    assert score.exceeded is False


def test_a_detector_added_later_measures_the_same_as_one_that_was_there_in_training(
    champion: Deployment, tmp_path: Any
) -> None:
    model = small_deployment.spec(drift=[{"kind": "ks", "columns": ["wind"]}])
    other = Deployment(tmp_path / "other")
    for deployment in (champion, other):
        deployment.land(55)
    other.train(model, as_of=day(41))
    champion.land(55)
    seen = [evidence(deployment, deployment.watch(model)[1]).drift[0] for deployment in (champion, other)]
    assert seen[1].value is not None
    assert seen[0].detector == seen[1].detector
    assert seen[0].current_rows == seen[1].current_rows == 500


def test_a_run_without_a_champion_cannot_be_scored(deployment: Deployment) -> None:
    deployment.land(45)
    run = deployment.plan(SPEC)
    with pytest.raises(DataInvalid, match="names no champion to score"):
        deployment.step("score", SPEC, run)


def test_evidence_is_kept_with_the_decision(champion: Deployment) -> None:
    champion.land(55)
    _, results = champion.watch(SPEC)
    (record,) = champion.ledger.decisions("m")
    assert record.decision.window.end == day(50)
    assert record.decision.signals[0].text in results["decide"].facts["why"]


@pytest.mark.parametrize("changed", [{"label": "cancelled"}, {"kind": "regression"}], ids=["label", "kind"])
def test_a_champion_of_another_question_is_neither_scored_nor_replaced(
    champion: Deployment, changed: dict[str, str]
) -> None:
    champion.land(55, change=lambda rows: rows.assign(cancelled=1 - rows["late"]))
    before = champion.ledger.champion("m")
    metric = "rmse" if "kind" in changed else "roc_auc"
    other = small_deployment.spec(
        task={**SPEC.task.model_dump(mode="json"), **changed},
        promotion={"metric": metric, "rows": 100, "resamples": 100},
    )
    with pytest.raises(UsageError, match=r"version 1, predicts late \(classification\).*model file of its own"):
        champion.watch(other)
    with pytest.raises(UsageError, match="cannot be compared"):
        champion.train(other)
    assert champion.ledger.champion("m") == before


def test_regions_with_hostile_names_are_scored_decided_and_kept(champion: Deployment) -> None:
    names = ["two\nlines", 'it\'s "quoted"; DROP TABLE', "\u202egnihtemos", "<script>", "x" * 5_000, "東京"]

    def renamed(rows: pd.DataFrame) -> pd.DataFrame:
        number = np.arange(len(rows)) % 10
        many = pd.Series([f"r{each}" for each in range(len(rows))], index=rows.index)
        carrier = many.mask(number < 6, pd.Series(names, dtype=object)[number.clip(max=5)].to_numpy())
        return rows.assign(carrier=carrier, wind=rows["wind"] + 4.0 * ((rows["at"] >= day(40)) & (number == 0)))

    deployment = Deployment(champion.home.parent / "hostile")
    deployment.land(55, renamed)
    model = small_deployment.spec(drift=[{"kind": "psi", "columns": ["wind"], "by": "carrier", "min_rows": 40}])
    deployment.train(model, as_of=day(41))
    _, results = deployment.watch(model)
    scores = evidence(deployment, results).drift
    assert len(scores) == len({score.slice for score in scores}) == len(names)
    assert "wind where carrier=two\\nlines: psi" in results["decide"].facts["why"]
    assert results["decide"].facts["answer"] == "yes"
    assert deployment.ledger.verify() == []
