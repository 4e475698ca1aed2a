"""Commands for people who write model files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from continuous_training.validation import load_suite
from small_deployment import Deployment

Ct = Callable[..., Any]
SUITE = "critical:\n- expect_column_values_to_be_between: {column: wind, min_value: -9, max_value: 9}\n"


def test_a_good_file_and_a_good_folder_are_ok(ct: Ct, deployment: Deployment) -> None:
    for place in ((), (str(deployment.home / "models"),), (str(deployment.home / "models" / "m.yaml"),)):
        assert ct("lint", *place) == (0, "m.yaml: ok\n", "")


def test_a_wrong_file_is_told_with_its_place_on_standard_error(ct: Ct, model: Ct, deployment: Deployment) -> None:
    model(min_rows=1)
    said = ct("lint", str(deployment.home / "models" / "m.yaml"))
    assert (said.code, said.out) == (2, "")
    assert "m.yaml:" in said.err
    assert "min_rows: 1 is not allowed; allowed: a whole number at least 50" in said.err


def test_one_wrong_file_of_a_folder_does_not_hide_the_others(ct: Ct, deployment: Deployment) -> None:
    (deployment.home / "models" / "n.yaml").write_text("model: n\n")
    said = ct("lint")
    assert (said.code, said.out) == (2, "m.yaml: ok\n")
    assert "n.yaml" in said.err


def test_a_model_file_that_asks_for_more_than_the_deployment_allows_is_wrong(
    ct: Ct, model: Ct, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(runner={"kind": "kubernetes", "image": "docker.io/miner"})
    monkeypatch.setenv("CT_ALLOWED", '{"images": ["ours/*"]}')
    for place in ((), (str(deployment.home / "models" / "m.yaml"),)):
        said = ct("lint", *place)
        assert (said.code, said.out) == (2, "")
        assert "m: runner: images: 'docker.io/miner' is not allowed; this deployment allows ours/*" in said.err


def test_an_empty_or_missing_folder_is_told(ct: Ct, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = ct("lint", "empty")
    assert (said.code, said.out) == (2, "")
    assert "empty holds no .yaml file; put one model file for each model there" in said.err
    said = ct("lint", "absent")
    assert said.code == 2
    assert "absent does not exist; name a model file or a folder of model files" in said.err


@pytest.mark.parametrize("what", ["m.yaml", ""])
def test_a_suite_is_checked_with_values_that_only_the_library_can_judge(
    ct: Ct, model: Ct, deployment: Deployment, what: str
) -> None:
    folder = deployment.home / "expectations"
    folder.mkdir()
    model(expectations="m.yaml")
    (folder / "m.yaml").write_text(SUITE)
    path = str(deployment.home / "models" / what)
    assert ct("lint", path).code == 0
    (folder / "m.yaml").write_text(SUITE.replace("min_value: -9", "mostly: 3"))
    said = ct("lint", path)
    assert (said.code, said.out) == (2, "")
    assert "m.yaml:2" in said.err
    assert "mostly" in said.err


def test_the_schema_is_json_and_takes_the_model_file(ct: Ct, deployment: Deployment) -> None:
    said = ct("schema")
    assert (said.code, said.err) == (0, "")
    jsonschema.validate(yaml.safe_load((deployment.home / "models" / "m.yaml").read_text()), json.loads(said.out))


def test_a_model_is_explained_in_words(ct: Ct) -> None:
    said = ct("explain", "m")
    assert (said.code, said.err) == (0, "")
    assert "40 days" in said.out
    assert "late" in said.out


@pytest.mark.parametrize(
    "command",
    [("explain",), ("suggest-expectations",), ("run", "train"), ("reconcile",), ("rollback", "--reason=x")],
    ids=" ".join,
)
def test_an_unknown_model_names_those_there_are(ct: Ct, deployment: Deployment, command: tuple[str, ...]) -> None:
    said = ct(*command, "weather")
    assert (said.code, said.out) == (2, "")
    assert (
        f"no model is called 'weather' in {deployment.home}/models; there are: m; fix the name or set CT_MODELS"
        in said.err
    )


def test_a_proposed_suite_can_be_used_as_it_is_and_the_rows_pass_it(ct: Ct, model: Ct, deployment: Deployment) -> None:
    said = ct("suggest-expectations", "m")
    assert (said.code, said.err) == (0, "")
    folder = deployment.home / "expectations"
    folder.mkdir()
    (folder / "m.yaml").write_text(said.out)
    assert load_suite(folder / "m.yaml", {"wind", "carrier", "late", "at"}).critical
    model(expectations="m.yaml")
    trained = ct("run", "train", "m", "--json", "--dry-run")
    assert trained.code in (0, 3), trained.err
    assert json.loads(trained.out)["verdict"]


def test_a_suite_from_a_window_without_rows_is_invalid_data(ct: Ct) -> None:
    said = ct("suggest-expectations", "m", "--as-of", "2023-01-01")
    assert (said.code, said.out) == (4, "")
    assert "no suite can be proposed: there are no rows" in said.err
