"""Rows are read once and checked before anything is trained on them; what is wrong is told, kept, and may be repaired."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import small_deployment
from continuous_training.core.errors import ArtefactCorrupt, DataInvalid, SourceUnavailable
from continuous_training.steps import TRAIN_STEPS
from continuous_training.steps.failure import record_failure
from small_deployment import Deployment, day

SPEC = small_deployment.spec()
SUITE = {
    "critical": [{"expect_column_values_to_be_between": {"column": "wind", "min_value": -100, "max_value": 100}}],
    "warning": [{"expect_column_values_to_be_in_set": {"column": "carrier", "value_set": ["a"]}}],
}
WITH_SUITE = small_deployment.spec(expectations=SUITE)


def storm(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(wind=rows["wind"].where(rows.index != 700, 1e6))


def test_rows_of_the_window_are_kept_as_they_were_read(deployment: Deployment) -> None:
    deployment.land(65)
    run, results = deployment.train(SPEC, until="collect", as_of=day(55))
    assert results["collect"].facts == {
        "rows": 2000, "labelled": 2000, "window": "2024-01-11T00:00Z/2024-02-20T00:00Z", "as_of": "2024-02-21T00:00:00+00:00",
        "quarantined": 0,
    }  # fmt: skip
    path = deployment.store.fetch(results["collect"].outputs["rows"], deployment.home)
    rows = pd.read_parquet(path)
    assert set(rows.columns) == {"at", "late", "wind", "carrier"}
    assert (rows["at"].min(), rows["at"].max() < run.window.end) == (day(10), True)


def test_a_label_that_matured_after_the_moment_of_the_run_is_not_seen(deployment: Deployment) -> None:
    deployment.land(45, lambda rows: rows.assign(late=rows["late"].astype(float).where(rows["at"] < day(39))))
    _, results = deployment.train(SPEC, until="collect")
    assert (results["collect"].facts["rows"], results["collect"].facts["labelled"]) == (2000, 1950)


def test_a_window_without_rows_is_invalid_and_says_what_a_retry_does(deployment: Deployment) -> None:
    deployment.land(65, lambda rows: rows[rows["at"] > day(60)])
    with pytest.raises(DataInvalid) as refusal:
        deployment.train(SPEC, as_of=day(41))
    assert "the source of m has no rows in 2024-01-01T00:00Z/2024-02-10T00:00Z" in str(refusal.value)
    assert "the champion keeps serving, a retry reads again" in str(refusal.value)


def test_a_folder_that_went_away_may_come_back(deployment: Deployment) -> None:
    deployment.land(45)
    run = deployment.plan(SPEC)
    folder = deployment.home / "data" / "rows"
    folder.rename(folder.with_name("gone"))
    with pytest.raises(SourceUnavailable, match="there is nothing at"):
        deployment.step("collect", SPEC, run)
    folder.with_name("gone").rename(folder)
    assert deployment.step("collect", SPEC, run).facts["rows"] == 2000


def test_a_missing_column_is_invalid_and_named(deployment: Deployment) -> None:
    deployment.land(45, lambda rows: rows.drop(columns="carrier"))
    with pytest.raises(DataInvalid, match="carrier"):
        deployment.train(SPEC)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda rows: rows.iloc[::4], "500 of 500 rows have a label in 'late'; at least 1,000 are needed"),
        (lambda rows: rows.assign(late=np.nan), "none of 2,000 rows has a label in 'late'"),
        (lambda rows: rows.assign(late=1), "all 2,000 labels in 'late' are 1.0; at least two classes are needed"),
        (lambda rows: rows.assign(wind=rows["wind"].map("{:.1f} kn".format)), "the feature 'wind' holds text, not numbers"),
    ],
    ids=["tiny", "unlabelled", "one class", "text"],
)  # fmt: skip
def test_rows_nothing_can_be_learned_from_are_refused_before_training(
    deployment: Deployment, change: Callable[[pd.DataFrame], pd.DataFrame], text: str
) -> None:
    deployment.land(45, change)
    run = deployment.plan(SPEC, as_of=day(41))
    deployment.step("collect", SPEC, run)
    with pytest.raises(DataInvalid) as refusal:
        deployment.step("validate", SPEC, run)
    assert text in str(refusal.value)
    assert "Nothing was trained and the champion keeps serving" in str(refusal.value)
    assert "a retry reads the rows again and checks them again" in str(refusal.value)


def test_a_failed_critical_check_is_kept_with_its_report_and_given_again(champion: Deployment) -> None:
    champion.land(55, storm)
    run, texts = champion.plan(WITH_SUITE), []
    champion.step("collect", WITH_SUITE, run)
    for _ in range(2):
        with pytest.raises(DataInvalid) as refusal:
            champion.step("validate", WITH_SUITE, run)
        texts.append(str(refusal.value))
    assert texts[0] == texts[1]
    assert "wind" in texts[0]
    assert "failed 1 critical check(s)" in texts[0]
    manifest = champion.store.read_manifest(run.key, "validate")
    assert manifest is not None
    assert manifest["error"] == texts[0]
    assert len(manifest["facts"]["problems"]) == 1
    assert manifest["facts"]["warnings"] == 1
    assert set(manifest["outputs"]) == {"check", "result", "data_docs"}
    assert b"<html" in champion.store.get(manifest["outputs"]["data_docs"]).lower()
    assert champion.store.read_manifest(run.key, "train") is None
    current = champion.ledger.champion("m")
    assert current is not None
    assert current.fence == 1


def test_the_ledger_remembers_why_a_run_ended(champion: Deployment) -> None:
    champion.land(55, storm)
    run = champion.plan(WITH_SUITE)
    record_failure(run, champion.settings, "validate", "wind is too strong")
    record = champion.ledger.run(run.key)
    assert (record.outcome, record.text) == ("failed", "validate: wind is too strong")


def test_repaired_rows_are_read_by_a_retry_of_the_same_run(champion: Deployment) -> None:
    champion.land(55, storm)
    with pytest.raises(DataInvalid):
        champion.train(WITH_SUITE)
    champion.land(55)
    run, results = champion.train(WITH_SUITE, until="evaluate")
    assert [results[name].reused for name in ("collect", "validate", "train")] == [False, False, False]
    assert len(champion.ledger.runs("m")) == 2
    assert run.key in {record.run.key for record in champion.ledger.runs("m")}


def test_rows_that_change_after_training_are_not_read_again(deployment: Deployment) -> None:
    deployment.land(45)
    _, before = deployment.train(SPEC, until="train")
    deployment.land(45, storm)
    _, after = deployment.train(SPEC, until="evaluate", as_of=day(41))
    assert after["collect"].reused
    assert after["collect"].outputs == before["collect"].outputs
    assert after["train"].outputs == before["train"].outputs


def test_rows_that_change_before_training_are_read_again(deployment: Deployment) -> None:
    deployment.land(45)
    _, before = deployment.train(SPEC, until="prepare")
    deployment.land(45, storm)
    _, after = deployment.train(SPEC, until="prepare")
    assert not after["collect"].reused
    assert after["collect"].outputs != before["collect"].outputs
    assert not after["prepare"].reused


def test_a_warning_lets_the_run_go_on(deployment: Deployment) -> None:
    deployment.land(45)
    _, results = deployment.train(WITH_SUITE, until="train")
    assert results["validate"].facts["warnings"] == 1
    assert "carrier" in results["validate"].facts["first_warnings"][0]
    assert results["validate"].facts["evaluated"] == 2


@pytest.mark.parametrize("name", TRAIN_STEPS[1:6])
def test_a_step_before_its_turn_says_which_one_is_missing(deployment: Deployment, name: str) -> None:
    deployment.land(45)
    with pytest.raises(ArtefactCorrupt, match=r"step \w+ of run [0-9a-f]{12} has not finished; run it first"):
        deployment.step(name, SPEC, deployment.plan(SPEC))
