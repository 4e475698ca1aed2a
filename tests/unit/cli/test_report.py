"""`ct report` writes the card of a retraining or the drift of a window, and says what to do where there is none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from continuous_training.reports import DriftReport, ModelCard, card_page, drift_page
from ledger_parts import NOW, a_run
from small_deployment import Deployment

Ct = Callable[..., Any]


def test_the_card_of_the_champion_is_a_page_that_its_json_makes(ct: Ct, deployment: Deployment) -> None:
    said = ct("report", "m")
    assert (said.code, said.err) == (0, "")
    file = Path(said.out.removeprefix("page: ").strip())
    assert file.parent == deployment.home / "reports"
    told = ct("report", "m", "--json")
    card = ModelCard.model_validate_json(told.out)
    assert card.lineage.run_key == deployment.ledger.champion("m").run_key
    assert file.read_text() == card_page(card)


def test_a_run_is_named_by_the_first_digits_of_its_key(ct: Ct, deployment: Deployment) -> None:
    key = deployment.ledger.champion("m").run_key
    assert ct("report", "m", "--run", key[:8], "--output", "folder/card.html").out == "page: folder/card.html\n"
    assert "Model card of m" in Path("folder/card.html").read_text()
    said = ct("report", "m", "--run", "zz")
    assert (said.code, said.out) == (2, "")
    assert f"no runs of m begin with 'zz', and one is needed; the newest are {key[:12]}" in said.err
    for number, model in ((1, "m"), (2, "other")):
        other = f"{(int(key[8], 16) + number) % 16:x}"
        run = a_run(number, model).model_copy(update={"key": key[:8] + other * 56})
        deployment.ledger.begin_run(run, now=NOW)
    assert f"several runs of m begin with '{key[:8]}'" in ct("report", "m", "--run", key[:8]).err
    assert ct("report", "m", "--run", key[:9], "--output", "card.html").code == 0


def test_the_drift_of_a_window_is_a_page(ct: Ct, deployment: Deployment) -> None:
    assert "let it watch: ct run watch m" in ct("report", "m", "--drift").err
    deployment.land(55)
    assert ct("run", "watch", "m").code == 0
    said = ct("report", "m", "--window", "2024-02-20", "--json", "--output", "drift.html")
    report = DriftReport.model_validate_json(said.out)
    assert Path("drift.html").read_text() == drift_page(report)
    assert json.loads(ct("report", "m", "--drift", "--json").out) == json.loads(said.out)
    assert "the newest end 2024-02-20T00:00Z" in ct("report", "m", "--window", "2024-02-10").err


def test_what_is_missing_is_said_with_what_to_do(ct: Ct, deployment: Deployment) -> None:
    assert "stranger has no champion yet" in ct("report", "stranger").err
    key = deployment.ledger.champion("m").run_key
    manifest = deployment.store.read_manifest(key, "evaluate")
    Path(deployment.store.object_path(manifest["outputs"]["card"])).unlink()
    said = ct("report", "m")
    assert said.code == 1
    assert "it was deleted or written elsewhere" in said.err
    del manifest["outputs"]["card"]
    deployment.store.write_manifest(key, "evaluate", manifest)
    assert "it was evaluated by a version that kept none" in ct("report", "m").err


def test_mlflow_has_the_card_and_its_figures_with_the_version(deployment: Deployment) -> None:
    client = MlflowClient(deployment.settings.registry)
    run = client.get_model_version_by_alias("m", "champion").run_id
    kept = {Path(item.path).name for item in client.list_artifacts(run, "reports")}
    assert kept == {
        "comparison.json", "verdict.json", "model_card.json", "model_card.html", "calibration.png", "roc.png", "importance.png",
    }  # fmt: skip
