"""`ct run` does the whole of a training or a watch, and its exit code says how it ended."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from small_deployment import TRAINER, Deployment

Ct = Callable[..., Any]
PROMOTION = {"metric": "roc_auc", "rows": 100, "resamples": 100}


def test_a_promotion_ends_with_0_and_data_on_standard_output_only(ct: Ct, model: Ct, deployment: Deployment) -> None:
    model(trainer={**TRAINER, "rounds": 9}, promotion={**PROMOTION, "margin": -0.2})
    said = ct("run", "train", "m", "--json", "--reason", "a rainy day")
    assert said.code == 0
    facts = json.loads(said.out)
    assert (facts["model"], facts["outcome"], facts["registry_version"]) == ("m", "promoted", "2")
    assert "because a rainy day" in said.err
    assert deployment.ledger.run(facts["run"]).run.reason.text == "a rainy day"
    again = ct("run", "train", "m")
    assert (again.code, again.out.startswith("promoted: Promote the challenger")) == (0, True)
    assert again.err.count("done before") == 5


def test_a_refusal_of_the_gate_ends_with_3(ct: Ct, model: Ct, deployment: Deployment) -> None:
    model(promotion={**PROMOTION, "margin": 0.9})
    said = ct("run", "train", "m")
    assert said.code == 3
    assert said.out.startswith("kept: Do not promote the challenger")
    assert deployment.ledger.champion("m").fence == 1


@pytest.mark.parametrize(
    ("options", "code", "outcome"),
    [((), 3, "kept"), (("--force",), 0, "promoted"), (("--force", "--dry-run"), 0, "dry_run")],
    ids=str,
)
def test_what_is_inconclusive_is_promoted_by_force_only(
    ct: Ct, model: Ct, options: tuple[str, ...], code: int, outcome: str
) -> None:
    model(trainer={**TRAINER, "rounds": 9}, promotion={**PROMOTION, "margin": -0.2, "rows": 5000})
    said = ct("run", "train", "m", "--json", *options)
    assert (said.code, json.loads(said.out)["outcome"]) == (code, outcome)


ASKS = {"trainer": {**TRAINER, "rounds": 9}, "promotion": {**PROMOTION, "margin": -0.2, "approval": "always"}}


def test_nothing_is_promoted_where_a_person_must_approve_and_none_is_there(
    ct: Ct, model: Ct, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(**ASKS)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    said = ct("run", "train", "m", "--json")
    facts = json.loads(said.out)
    assert (said.code, facts["outcome"], facts["text"]) == (3, "kept", "not approved: nobody answered")
    assert "a person must approve: every promotion" in said.err
    assert deployment.ledger.champion("m").fence == 1


@pytest.mark.parametrize(("word", "code", "verb"), [("y", 0, "approved"), ("", 3, "rejected")])
def test_whoever_sits_at_the_terminal_answers_with_a_reason_beside_the_output(
    ct: Ct, model: Ct, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, word: str, code: int, verb: str
) -> None:
    model(**ASKS)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{word}\n seen it \n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    said = ct("run", "train", "m", "--json")
    facts = json.loads(said.out)
    assert said.code == code
    assert f"{verb} by ann: seen it" in facts["text"]
    assert "Promote it? [y/N]" in said.err
    told = ct("explain", facts["run"][:12]).out
    assert told.count(f"{verb} by ann: seen it") >= 2  # how it ended, and what the person said
    assert deployment.ledger.champion("m").fence == 2 - (code > 0)


def test_invalid_data_end_with_4_and_the_run_is_remembered_as_failed(ct: Ct, model: Ct, deployment: Deployment) -> None:
    model(min_rows=5000)
    said = ct("run", "train", "m")
    assert (said.code, said.out) == (4, "")
    assert "at least 5,000 are needed" in said.err
    newest = deployment.ledger.runs("m")[0]
    assert newest.outcome == "failed"
    assert newest.text.startswith("validate: the data of")


def test_drift_ends_with_5_and_trains_unless_it_is_told_not_to(ct: Ct, deployment: Deployment) -> None:
    deployment.land(55, drift_after=40)
    said = ct("run", "watch", "m", "--decide-only", "--json")
    assert said.code == 5
    (facts,) = json.loads(said.out)
    assert (facts["answer"], facts["request"]["reason"]) == ("yes", "drift")
    assert len(deployment.ledger.runs("m")) == 1
    nothing = ct("run", "watch", "m", "--decide-only", "--json")
    assert (nothing.code, json.loads(nothing.out)) == (0, [])
    assert len(deployment.ledger.runs("m")) == 1


def test_a_watch_first_begins_the_retraining_that_was_decided_on_and_never_begun(
    ct: Ct, deployment: Deployment
) -> None:
    deployment.land(55, drift_after=40)
    (facts,) = json.loads(ct("run", "watch", "m", "--decide-only", "--json").out)
    later = ct("run", "watch", "m", "--json")
    assert (later.code in (0, 3), json.loads(later.out)) == (True, [])
    newest, _ = deployment.ledger.runs("m")
    assert newest.run.reason.episode == facts["request"]["episode"]
    assert newest.outcome in {"promoted", "kept"}
    again = ct("run", "watch", "m", "--json")
    assert (again.code, json.loads(again.out), len(deployment.ledger.runs("m"))) == (0, [], 2)


def test_a_watch_trains_when_the_answer_is_yes(ct: Ct, deployment: Deployment) -> None:
    deployment.land(55, drift_after=40)
    said = ct("run", "watch", "m")
    assert said.code in (0, 3)
    assert said.out.startswith("yes: ")
    newest = deployment.ledger.runs("m")[0]
    assert (newest.run.reason.kind, newest.run.window.end) == ("drift", datetime(2024, 2, 20, tzinfo=UTC))
    assert newest.outcome in {"promoted", "kept"}


def test_a_watch_scores_every_window_up_to_the_moment_and_says_when_there_is_none(
    ct: Ct, deployment: Deployment
) -> None:
    deployment.land(85)
    said = ct("run", "watch", "m", "--as-of", "2024-03-02")
    assert said.code == 0
    assert said.out.count("no: no signal fired") == 2
    assert ct("run", "watch", "m").out.count("no: no signal fired") == 2
    said = ct("run", "watch", "m")
    assert (said.code, said.out) == (0, "")
    assert "m: no complete window after 2024-03-21 00:00Z; nothing to do" in said.err


def test_a_stale_run_ends_with_6(ct: Ct, model: Ct, deployment: Deployment) -> None:
    model(trainer={**TRAINER, "rounds": 9}, promotion={**PROMOTION, "margin": -0.2})
    assert ct("run", "train", "m", "--dry-run").code == 0
    run = json.loads(ct("history", "m", "--json").out)["runs"][0]["run"]["key"]
    champion = deployment.ledger.champion("m")
    deployment.ledger.promote(
        "m", run_key="c" * 64, bundle=champion.bundle, data_cutoff=champion.data_cutoff, fence_seen=champion.fence,
        reason="somebody was faster", verdict=None, now=datetime.now(UTC),
    )  # fmt: skip
    said = ct("run", "train", "m")
    assert (said.code, said.out) == (6, "")
    assert "was not promoted" in said.err
    assert deployment.ledger.run(run).outcome == "stale"


def test_a_registry_that_is_down_ends_with_7_and_the_same_command_goes_on(
    ct: Ct, model: Ct, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(trainer={**TRAINER, "rounds": 9}, promotion={**PROMOTION, "margin": -0.2})
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        said = ct("run", "train", "m")
        assert (said.code, said.out) == (7, "")
        assert "MLflow did not do what was asked" in said.err
    assert ct("run", "train", "m").code == 0
    assert deployment.ledger.champion("m").registry_version == "2"


def test_a_source_that_is_gone_ends_with_7(ct: Ct, deployment: Deployment) -> None:
    (deployment.home / "data" / "rows").rename(deployment.home / "elsewhere")
    said = ct("run", "train", "m")
    assert (said.code, said.out) == (7, "")
    assert "there is nothing at" in said.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "COMMAND"),
        (("fly",), "invalid choice: 'fly'"),
        (("run", "dance", "m"), "invalid choice: 'dance'"),
        (("run", "train", "m", "--trials", "-1"), "'-1' is not allowed; write a whole number from 0 to 1000"),
        (("run", "train", "m", "--trials", "many"), "'many' is not allowed"),
        (("run", "train", "m", "--trials", "1001"), "'1001' is not allowed"),
        (("run", "train", "m", "--reason", "x" * 501), "501 characters are too many; write at most 500"),
        (("run", "train", "m", "--as-of", "yesterday"), "'yesterday' is not a time; write 2013-03-01"),
        (("history", "m", "--limit", "0"), "'0' is not allowed; write a whole number from 1 to 10000"),
        (("rollback", "m"), "--reason"),
    ],
    ids=lambda given: " ".join(given)[:40] if isinstance(given, tuple) else "",
)
def test_a_wrong_command_line_ends_with_2_and_says_what_is_allowed(
    ct: Ct, arguments: tuple[str, ...], text: str
) -> None:
    said = ct(*arguments)
    assert (said.code, said.out) == (2, "")
    assert text in said.err


def test_a_watch_before_there_is_a_champion_ends_with_2(ct: Ct, model: Ct, deployment: Deployment) -> None:
    (deployment.home / "ledger.db").unlink()
    said = ct("run", "watch", "m")
    assert said.code == 2
    assert "m has no champion to watch; train one first: ct run train m" in said.err


def test_settings_that_cannot_be_read_end_with_2(ct: Ct, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_LOCATIONS", "[]")
    assert ct("verify").code == 2


def test_an_interrupted_command_says_that_it_can_go_on(ct: Ct, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("continuous_training.cli._dispatch", interrupt)
    said = ct("verify")
    assert said.code == 130
    assert "finished steps are kept, the same command goes on from there" in said.err
