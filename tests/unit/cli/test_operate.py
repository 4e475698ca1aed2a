"""Commands for people who run models: what happened, and how to put things right."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from continuous_training.registry import Registry
from continuous_training.spec import load_spec
from small_deployment import TRAINER, Deployment

Ct = Callable[..., Any]
PROMOTION = {"metric": "roc_auc", "rows": 100, "resamples": 100, "margin": -0.2}


@pytest.fixture
def two(ct: Ct, model: Ct, deployment: Deployment) -> Deployment:
    """Give a deployment with a second champion and one decision."""
    deployment.land(55)
    assert ct("run", "watch", "m").code == 0
    model(trainer={**TRAINER, "rounds": 9}, promotion=PROMOTION)
    assert ct("run", "train", "m", "--reason", "a rainy day").code == 0
    return deployment


def test_the_history_is_told_newest_first(ct: Ct, two: Deployment) -> None:
    said = ct("history", "m")
    assert (said.code, said.err) == (0, "")
    assert [line for line in said.out.splitlines() if not line.startswith(" ")] == ["CHAMPIONS", "RUNS", "DECISIONS"]
    assert said.out.index("version 2") < said.out.index("version 1")
    assert "a rainy day" in said.out
    assert "2024-02-20 00:00  no " in said.out
    assert "no signal fired" in said.out


def test_the_history_is_complete_as_json_and_may_be_shortened(ct: Ct, two: Deployment) -> None:
    told = json.loads(ct("history", "m", "--json").out)
    assert [item["fence"] for item in told["champions"]] == [2, 1]
    assert [item["outcome"] for item in told["runs"]] == ["promoted", "promoted"]
    assert [item["answer"] for item in told["decisions"]] == ["no"]
    assert told["champions"][0]["run_key"] == two.ledger.champion("m").run_key
    short = json.loads(ct("history", "m", "--json", "--limit", "1").out)
    assert {name: len(items) for name, items in short.items()} == {"champions": 1, "runs": 1, "decisions": 1}


def test_a_model_nobody_knows_has_an_empty_history(ct: Ct) -> None:
    said = ct("history", "stranger")
    assert (said.code, said.out) == (0, "")
    assert "nothing is recorded of stranger" in said.err
    assert json.loads(ct("history", "stranger", "--json").out) == {"champions": [], "runs": [], "decisions": []}


def test_a_rollback_is_a_step_forward_that_the_registry_shows(ct: Ct, two: Deployment) -> None:
    said = ct("rollback", "m", "--reason", "too many complaints")
    assert (said.code, said.out) == (0, "m: version 1 is champion (fence 3): too many complaints\n")
    champion = two.ledger.champion("m")
    assert (champion.fence, champion.version, champion.kind) == (3, "1", "rollback")
    assert Registry(two.settings.registry).aliases("m")["champion"] == "1"
    assert ct("verify").code == 0


def test_a_rollback_that_airflow_asks_for_twice_is_one(
    ct: Ct, two: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CT_SPEC", load_spec(Path(two.settings.models) / "m.yaml").model_dump_json())
    monkeypatch.setenv("CT_ROLLBACK", json.dumps({"to": 1, "reason": "too many complaints (admin)"}))
    first, again = (json.loads(ct("step", "rollback").out) for _ in range(2))
    assert first == again
    assert (first["facts"]["version"], first["facts"]["fence"]) == ("1", 3)
    assert two.ledger.champion("m").reason == "too many complaints (admin)"
    assert Registry(two.settings.registry).aliases("m")["champion"] == "1"


def test_a_rollback_may_name_where_to_and_there_must_be_something(ct: Ct, two: Deployment) -> None:
    assert ct("rollback", "m", "--to", "1", "--reason", "x").code == 0
    said = ct("rollback", "m", "--reason", "further back")
    assert (said.code, said.out) == (2, "")
    assert "nothing to roll back to" in said.err
    said = ct("rollback", "m", "--to", "9", "--reason", "x")
    assert said.code == 2
    assert "m never had a champion with fence 9; its fences are 1 to 3" in said.err


def test_a_rollback_while_the_registry_is_down_is_finished_by_reconciling(
    ct: Ct, two: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        said = ct("rollback", "m", "--reason", "now")
        assert said.code == 7
        assert "version 1 is champion" in said.out
        assert "`ct reconcile` writes the same version" in said.err
    assert Registry(two.settings.registry).aliases("m")["champion"] == "2"
    assert ct("reconcile").out == "m: version 1 (fence 3) \n"
    assert Registry(two.settings.registry).aliases("m")["champion"] == "1"


@pytest.mark.parametrize("model_name", [("m",), ()], ids=["one", "all"])
def test_reconciling_says_where_every_champion_is(ct: Ct, deployment: Deployment, model_name: tuple[str, ...]) -> None:
    assert ct("reconcile", *model_name) == (0, "m: version 1 (fence 1) \n", "")
    (deployment.home / "ledger.db").unlink()
    assert ct("reconcile", *model_name) == (0, "m: no champion yet\n", "")


def test_a_whole_ledger_is_whole(ct: Ct, two: Deployment) -> None:
    assert ct("verify") == (0, "", "the ledger is whole\n")


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE ct_promotions SET reason = 'nothing' WHERE fence = 1",
        "UPDATE ct_promotions SET bundle = 'x' WHERE fence = 2",
        "DELETE FROM ct_promotions WHERE fence = 1",
        "UPDATE ct_decisions SET answer = 'yes'",
    ],
)
def test_an_edited_row_is_noticed(ct: Ct, two: Deployment, edit: str) -> None:
    connection = sqlite3.connect(two.home / "ledger.db")
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{trigger}"')
    assert connection.execute(edit).rowcount == 1
    connection.commit()
    connection.close()
    said = ct("verify")
    assert said.code == 1
    assert said.out.strip()
    assert f"{len(said.out.splitlines())} problem(s)" in said.err
