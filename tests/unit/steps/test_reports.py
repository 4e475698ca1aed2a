"""What a retraining and a look leave for people: a model card and a drift report, the same whatever the way there."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import small_deployment
from continuous_training.reports import DriftReport, ModelCard, Profile, card_page
from continuous_training.reports._explanation import PERMUTATION, SHAP
from continuous_training.steps.context import Context
from continuous_training.steps.promote import settle
from small_deployment import Deployment, day

WHOLE: dict[str, Any] = {"reference": "40 days", "current": "10 days", "every": "10 days", "anchor": day(0)}


def card_of(deployment: Deployment, results: Any) -> ModelCard:
    return ModelCard.model_validate_json(deployment.store.get(results["evaluate"].outputs["card"]))


def report_of(deployment: Deployment, spec: Any) -> DriftReport:
    _, results = deployment.watch(spec)
    return DriftReport.model_validate_json(deployment.store.get(results["score"].outputs["report"]))


def test_the_first_card_says_what_there_is_and_why_the_rest_is_not(first_champion: Any) -> None:
    deployment, run, results = first_champion
    card = card_of(deployment, results)
    assert (card.reason, card.window, card.lineage.run_key) == (run.reason, run.window, run.key)
    assert (card.rows.read, card.rows.train, card.rows.tune, card.rows.hold_out) == (2000, 1400, 300, 300)
    assert [figure.name for figure in card.figures] == ["calibration", "roc", "precision_recall", "cost"]
    assert [one.feature for one in card.explanation.features] == ["wind", "carrier"]
    assert card.explanation.features[0].share > 0.9
    assert {one.part for one in card.left_out} == {"champion"}
    assert card.changes == ()
    assert "lightgbm" in {one.library for one in card.licences}


def test_the_next_card_says_what_changed(champion: Deployment) -> None:
    champion.land(75)
    spec = small_deployment.spec(trainer={**small_deployment.TRAINER, "parameters": {"num_leaves": 7}})
    card = card_of(champion, champion.train(spec, until="evaluate")[1])
    changed = {change.what: (change.before, change.after) for change in card.changes}
    assert changed["parameter num_leaves"] == ("not set", "7")
    assert set(changed) == {"parameter num_leaves", "data window", "model file"}
    assert all(len(figure.series) == 2 for figure in card.figures)
    assert card.explanation.shift is not None
    assert card.explanation.features[0].champion is not None


def test_the_profile_is_that_of_the_rows_trained_on(first_champion: Any) -> None:
    deployment, run, results = first_champion
    profile = Profile.model_validate_json(deployment.store.get(results["evaluate"].outputs["profile"]))
    assert (profile.window, profile.rows) == (run.window, 2000)
    assert [(column.name, column.kind) for column in profile.columns] == [
        ("wind", "numeric"),
        ("carrier", "categorical"),
        ("late", "categorical"),
        ("prediction", "numeric"),
    ]
    wind, carrier, _, prediction = profile.columns
    assert carrier.reference.categories == ("b", "a", "(other)")  # the most frequent first
    assert sum(wind.reference.shares) == pytest.approx(1)
    assert (prediction.reference.rows, prediction.reference.missing) == (300, 0)


def test_a_drift_report_shows_what_moved_also_of_a_window_in_parts(champion: Deployment, tmp_path: Any) -> None:
    champion.land(55, lambda rows: rows.assign(carrier=rows["carrier"].where(rows.index < 2200, "z")), drift_after=40)
    parts = report_of(champion.copy(tmp_path / "parts"), small_deployment.spec(window={**WHOLE, "part": "2 days"}))
    report = report_of(champion, small_deployment.spec(window=WHOLE))
    assert parts == report
    assert (report.rows, report.champion) == (500, "1")
    columns = {column.name: column for column in report.columns}
    assert columns["wind"].distance > 0.8
    assert columns["wind"].outside > 0.5
    assert columns["carrier"].new_categories == ("z",)
    assert columns["carrier"].current.shares[-1] == 0.6
    assert columns["late"].current.shares == (0, 1, 0)
    assert report.scores


def test_a_champion_evaluated_before_there_were_profiles_has_one_made_of_its_rows(champion: Deployment) -> None:
    champion.land(55)
    key = champion.ledger.champion("m").run_key
    manifest = champion.store.read_manifest(key, "evaluate")
    kept = Profile.model_validate_json(champion.store.get(manifest["outputs"].pop("profile")))
    champion.store.write_manifest(key, "evaluate", manifest)
    report = report_of(champion, small_deployment.spec(window=WHOLE))
    assert report.reference == kept.window
    assert [column.name for column in report.columns] == ["wind", "carrier", "late"]
    assert report.columns[0].reference == kept.columns[0].reference


TASK = {"kind": "classification", "label": "late", "event_time": "at", "label_delay": "1 day"}
PROMOTION = {"rows": 100, "resamples": 100}
OTHERS: dict[str, dict[str, Any]] = {
    "regression": {"task": TASK | {"kind": "regression"}, "promotion": PROMOTION | {"metric": "rmse"}},
    "ranking": {
        "task": TASK | {"kind": "ranking", "group": "trip"},
        "trainer": {"kind": "ranking", "rounds": 8, "threads": 1},
        "promotion": PROMOTION | {"metric": "ndcg_at_10", "slices": ["carrier"]},
    },
    "several": {"promotion": PROMOTION | {"metric": "accuracy"}},
    "sklearn": {"trainer": {"kind": "sklearn", "estimator": "LogisticRegression", "threads": 1}},
    "ensemble": {"trainer": {"kind": "ensemble", "rounds": 8, "threads": 1}},
}
DRAWN = {
    "regression": ["residuals", "predicted_true"],
    "ranking": ["relevance_by_place"],
    "several": ["calibration"],
    "sklearn": ["calibration", "roc", "precision_recall", "cost"],
    "ensemble": ["calibration", "roc", "precision_recall", "cost"],
}


def otherwise(kind: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a label for that kind of task."""
    number = np.arange(len(rows))
    if kind == "regression":
        return rows.assign(late=rows["wind"] * 2 + number % 3)
    if kind == "several":
        return rows.assign(late=np.digitize(rows["wind"], [-0.5, 0.5]))
    return rows.assign(trip=[f"trip {n}" for n in number // 10])


@pytest.mark.parametrize("kind", OTHERS)
def test_every_kind_of_model_has_a_card(kind: str, deployment: Deployment) -> None:
    deployment.land(75, lambda rows: otherwise(kind, rows))
    spec = small_deployment.spec(drift=[], **OTHERS[kind])
    run, _ = deployment.train(spec, as_of=day(41), until="evaluate")
    settle(Context(spec=spec, run=run, settings=deployment.settings, store=deployment.store))
    card = card_of(deployment, deployment.train(spec, as_of=day(61), until="evaluate")[1])
    assert [figure.name for figure in card.figures] == DRAWN[kind]
    assert {len(figure.series) for figure in card.figures} == {3 if kind == "ranking" else 2}
    assert card.explanation.method == (PERMUTATION if kind in {"sklearn", "ensemble"} else SHAP)
    assert card.explanation.features[0].feature == "wind"
    assert (card.confusion is None) == (kind != "several")
    assert bool(card.left_out) == (kind not in {"sklearn", "ensemble"})
    assert card.model in card_page(card)
