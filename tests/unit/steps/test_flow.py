"""A training and a watch as a whole: what is done once is never done again, and one key never trains twice."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

import small_deployment
from continuous_training.core.errors import ArtefactCorrupt, UsageError
from continuous_training.core.run import Run
from continuous_training.steps import STEPS, TRAIN_STEPS, WATCH_STEPS, run_step
from continuous_training.trainers.bundle import load_bundle
from small_deployment import Deployment

SPEC = small_deployment.spec()
WORK = [name for name in TRAIN_STEPS if STEPS[name].plane == "work"]


def finished(deployment: Deployment, run: Run) -> dict[str, datetime]:
    """Return when each work step of a run was done."""
    manifests = {name: deployment.store.read_manifest(run.key, name) for name in WORK}
    return {name: datetime.fromisoformat(manifest["finished"]) for name, manifest in manifests.items() if manifest}


def bundle(deployment: Deployment, run: Run) -> Any:
    manifest = deployment.store.read_manifest(run.key, "train")
    assert manifest is not None
    return load_bundle(deployment.store.fetch_folder(manifest["outputs"]["bundle"], deployment.home / "look"))


def test_the_first_training_makes_a_champion(first_champion: Any) -> None:
    deployment, run, results = first_champion
    assert list(results) == list(TRAIN_STEPS)
    assert not any(result.reused for result in results.values())
    champion = deployment.ledger.champion("m")
    assert (champion.fence, champion.run_key, champion.data_cutoff) == (1, run.key, run.window.end)
    assert champion.bundle == results["train"].facts["bundle"]
    assert deployment.ledger.run(run.key).outcome == "promoted"
    bundle(deployment, run).check_golden()


def test_the_same_training_again_does_nothing_and_ends_the_same(champion: Deployment, first_champion: Any) -> None:
    _, run, before = first_champion
    done = finished(champion, run)
    again, after = champion.train(SPEC)
    assert again == run
    assert {name for name, result in after.items() if result.reused} == set(WORK)
    assert finished(champion, run) == done
    for name in TRAIN_STEPS:
        assert (after[name].outputs, after[name].facts) == (before[name].outputs, before[name].facts)
    assert len(champion.ledger.history("m")) == 1
    assert champion.ledger.verify() == []


def test_the_same_rows_give_the_same_bytes_in_another_deployment(first_champion: Any, deployment: Deployment) -> None:
    deployment.land(45)
    _, results = deployment.train(SPEC, until="evaluate")
    for name in ("train", "prepare", "evaluate"):
        assert results[name].outputs == first_champion[2][name].outputs


def test_another_specification_trains_again_on_rows_of_its_own(champion: Deployment, first_champion: Any) -> None:
    other = small_deployment.spec(trainer={**small_deployment.TRAINER, "rounds": 9})
    run, results = champion.train(other, until="evaluate")
    assert run.key != first_champion[1].key
    assert not any(result.reused for result in results.values())
    assert results["train"].outputs["bundle"] != first_champion[2]["train"].outputs["bundle"]


def test_a_step_that_was_cut_off_is_done_again_and_those_before_it_are_not(deployment: Deployment) -> None:
    deployment.land(45)
    run, before = deployment.train(SPEC, until="train")
    (deployment.home / "artefacts" / "runs" / run.key / "train.json").unlink()
    results = deployment.steps(SPEC, run, "validate", "prepare", "train")
    assert [result.reused for result in results.values()] == [True, True, False]
    assert results["train"].outputs == before["train"].outputs


def test_a_stored_object_that_rotted_is_noticed_and_not_trained_on(deployment: Deployment) -> None:
    deployment.land(45)
    run, results = deployment.train(SPEC, until="prepare")
    path = deployment.home / "artefacts" / "objects" / results["prepare"].outputs["x"]
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ArtefactCorrupt, match="holds other bytes than were written"):
        deployment.step("train", SPEC, run)


@pytest.mark.parametrize("name", ["", "training", "Train", "../train", "steps.context", "context", "plan"])
def test_only_a_step_can_be_done(champion: Deployment, first_champion: Any, name: str) -> None:
    with pytest.raises(UsageError, match=r"no step is called .*; the steps are collect, validate"):
        champion.step(name, SPEC, first_champion[1])


SEARCHED = {**small_deployment.TRAINER, "tuning": {"trials": 2}}


def spoilt(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows whose labels and features in the newest 15 % of the first window are changed."""
    late = (rows.index >= 1700) & (rows.index < 2000)
    return rows.assign(late=np.where(late, 1 - rows["late"], rows["late"]), wind=np.where(late, -7.0, rows["wind"]))


@pytest.mark.parametrize("refit", [True, False])
def test_what_is_judged_has_never_seen_the_hold_out(tmp_path: Any, refit: bool) -> None:
    model = small_deployment.spec(trainer=SEARCHED, drift=[], split={"refit": refit})
    outputs = []
    for name, change in (("a", None), ("b", spoilt)):
        deployment = Deployment(tmp_path / name)
        deployment.land(45, change)
        _, results = deployment.train(model, until="evaluate")
        assert results["prepare"].facts["hold_out"] == 300
        outputs.append((results["train"].outputs, results["evaluate"].facts["challenger"], results["collect"].outputs))
        assert len(deployment.matrix(results["prepare"], "x")) == (2000 if refit else 1700)
    (one, seen, rows), (other, unseen, spoilt_rows) = outputs
    assert rows != spoilt_rows
    judged = "judged" if refit else "bundle"
    assert (one[judged], one["trials"]) == (other[judged], other["trials"])
    assert ("judged" in one) is refit
    assert unseen < 0.6 < seen


def test_what_serves_has_learned_from_all_rows(tmp_path: Any) -> None:
    bundles = []
    for name, change in (("a", None), ("b", spoilt)):
        deployment = Deployment(tmp_path / name)
        deployment.land(45, change)
        _, results = deployment.train(small_deployment.spec(drift=[]))
        champion = deployment.ledger.champion("m")
        assert champion.bundle == results["train"].outputs["bundle"] != results["train"].outputs["judged"]
        bundles.append(load_bundle(deployment.store.fetch_folder(champion.bundle, tmp_path / "cache")))
    calm = pd.DataFrame({"wind": [-7.0] * 2, "carrier": ["a", "b"]})
    assert (bundles[1].predict(calm)[:, 1] > bundles[0].predict(calm)[:, 1] + 0.2).all()


def test_work_steps_know_neither_ledger_nor_registry(champion: Deployment) -> None:
    """A pod is told of neither."""
    champion.land(65)
    model = small_deployment.spec(retraining={"kind": "regret"})
    nowhere = {"ledger": "sqlite:////proc/none/ledger.db", "registry": "http://127.0.0.1:9"}
    alone = champion.settings.model_copy(update=nowhere)
    train, watch = champion.plan(model, reason="manual", episode="e"), champion.plan(model, kind="watch")
    for name in TRAIN_STEPS[: TRAIN_STEPS.index("evaluate") + 1]:
        run_step(name, model, train, alone)
    assert "shadow" in champion.store.get(run_step("score", model, watch, alone).outputs["evidence"]).decode()


def as_regression(rows: pd.DataFrame) -> pd.DataFrame:
    noise = np.random.default_rng(2).normal(scale=0.1, size=len(rows))
    return rows.assign(late=rows["wind"] * 2 + (rows["carrier"] == "a") + noise)


def as_three_classes(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(late=np.where(rows["wind"] > 0.5, "late", np.where(rows["wind"] > -0.5, "soon", "early")))


REGRESSION = {"kind": "regression", "label": "late", "event_time": "at", "label_delay": "1 day"}
SKLEARN = {"kind": "sklearn", "tuning": {"trials": 0}, "threads": 1}
MODELS: dict[str, tuple[dict[str, Any], Callable[[pd.DataFrame], pd.DataFrame] | None]] = {
    "lightgbm regression": (
        {"task": REGRESSION, "promotion": {"metric": "rmse", "rows": 100, "resamples": 100, "floor": 2.0},
         "performance": [{"metric": "rmse", "above": 5}], "drift": [{"kind": "page_hinkley", "signal": "error"}]},
        as_regression,
    ),
    "lightgbm three classes": (
        {"promotion": {"metric": "log_loss", "rows": 100, "resamples": 100}, "performance": [{"metric": "accuracy", "below": 0.2}]},
        as_three_classes,
    ),
    "sklearn classification": (
        {"trainer": {**SKLEARN, "estimator": "LogisticRegression"}, "performance": [{"metric": "f1", "below": 0.2}]},
        None,
    ),
    "sklearn regression": (
        {"trainer": {**SKLEARN, "estimator": "Ridge"}, "task": REGRESSION, "promotion": {"metric": "mae", "rows": 100, "resamples": 100},
         "performance": [{"metric": "r2", "below": -1}], "drift": [{"kind": "ks", "columns": ["wind"]}]},
        as_regression,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_goes_through_all_steps(deployment: Deployment, name: str) -> None:
    changes, change = MODELS[name]
    model = small_deployment.spec(**changes)
    deployment.land(75, change)
    run, first = deployment.train(model, as_of=day_41())
    assert first["promote"].facts["outcome"] == "promoted", first["evaluate"].facts
    bundle(deployment, run).check_golden()
    _, watched = deployment.watch(model)
    assert list(watched) == list(WATCH_STEPS)
    assert watched["decide"].facts["answer"] == "no", watched["decide"].facts
    assert set(watched["decide"].facts["signals"].values()) == {"quiet"}
    _, second = deployment.train(model, as_of=day_41(20))
    assert second["promote"].facts["outcome"] in {"promoted", "kept"}
    assert second["evaluate"].facts["champion"] is not None


def day_41(later: int = 0) -> datetime:
    return small_deployment.day(41 + later)
