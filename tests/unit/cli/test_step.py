"""`ct step` is told by environment variables and answers with small JSON, in this process or in one of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import small_deployment
from continuous_training.core.run import Run, StepResult
from small_deployment import Deployment

Ct = Callable[..., Any]
SPEC = small_deployment.spec(trainer={**small_deployment.TRAINER, "rounds": 9})
CANARY = "hunter2-canary"


@pytest.fixture(autouse=True)
def spec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_SPEC", SPEC.model_dump_json())


@pytest.fixture
def run(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Run:
    planned = deployment.plan(SPEC)
    monkeypatch.setenv("CT_RUN", planned.model_dump_json())
    return planned


def test_a_plan_answers_with_the_run(ct: Ct, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_REQUEST", json.dumps({"kind": "train", "text": "a rainy day"}))
    said = ct("step", "plan")
    assert (said.code, said.err) == (0, "")
    result = StepResult.model_validate_json(said.out)
    planned = Run.model_validate(result.facts["run"])
    assert result.key == planned.key
    assert planned == deployment.ledger.run(planned.key).run
    assert result.facts["artefacts"] == deployment.settings.artefacts


def test_a_step_answers_on_standard_output(ct: Ct, run: Run) -> None:
    result = StepResult.model_validate_json(ct("step", "collect").out)
    assert (result.step, result.key, result.reused, result.facts["rows"]) == ("collect", run.key, False, 2000)


def test_a_step_answers_into_the_file_it_is_told(
    ct: Ct, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "airflow" / "xcom" / "return.json"
    monkeypatch.setenv("CT_RESULT", str(target))
    assert ct("step", "collect") == (0, "", "")
    assert StepResult.model_validate_json(target.read_text()).step == "collect"
    assert len(target.read_text()) < 4096


def test_a_deploy_that_is_told_its_release_asks_no_ledger(
    ct: Ct, run: Run, monkeypatch: pytest.MonkeyPatch, deployment: Deployment
) -> None:
    bundle = deployment.store.put_folder({"model.json": b"{}"})
    release = {"model": "m", "version": "3", "fence": 7, "bundle": bundle}
    monkeypatch.setenv("CT_RELEASE", json.dumps(release))
    monkeypatch.setenv("CT_LEDGER", "sqlite:////no/such/folder/ledger.db")
    said = ct("step", "deploy")
    assert said.code == 0, said.err
    result = StepResult.model_validate_json(said.out)
    assert (result.step, result.facts["outcome"], result.facts["fence"]) == ("deploy", "deployed", 7)


def test_a_process_of_its_own_does_the_same(run: Run, deployment: Deployment) -> None:
    command = [sys.executable, "-m", "continuous_training.cli", "step", "collect"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ), cwd="/")
    result = StepResult.model_validate_json(ended.stdout)
    assert result.outputs == deployment.step("collect", SPEC, run).outputs


def test_a_step_that_fails_writes_no_result(ct: Ct, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_RESULT", str(tmp_path / "result.json"))
    said = ct("step", "train")
    assert (said.code, said.out) == (1, "")
    assert "has not finished; run it first" in said.err
    assert not (tmp_path / "result.json").exists()


def test_an_unknown_step_names_those_there_are(ct: Ct, run: Run) -> None:
    said = ct("step", "fly")
    assert said.code == 2
    assert "no step is called 'fly'; the steps are collect, validate, prepare, train" in said.err


@pytest.mark.parametrize("name", ["CT_SPEC", "CT_RUN"])
def test_a_missing_variable_is_named(ct: Ct, run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    said = ct("step", "collect")
    assert (said.code, said.out) == (2, "")
    assert f"{name} is not set; `ct step` is called by the operators, people use `ct run`" in said.err


@pytest.mark.parametrize("name", ["CT_SPEC", "CT_RUN"])
@pytest.mark.parametrize(
    "value", ["", "{", "[]", json.dumps({"model": CANARY}), json.dumps({"password": CANARY})], ids=[0, 1, 2, 3, 4]
)
def test_a_variable_that_holds_something_else_is_refused_without_repeating_it(
    ct: Ct, run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    said = ct("step", "collect")
    assert (said.code, said.out) == (2, "")
    assert f"ct: {name} does not hold a {'ModelSpec' if name == 'CT_SPEC' else 'Run'}: " in said.err
    assert "the same version of the package" in said.err
    assert CANARY not in said.err
