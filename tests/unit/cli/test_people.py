"""Commands that tell people how things stand: on a terminal, in a pipe, and as JSON."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from continuous_training.cli import doctor
from continuous_training.cli.tables import in_columns, show, working
from continuous_training.core.errors import StoreUnavailable
from continuous_training.core.scores import DriftScore
from continuous_training.ledger import Ledger
from ledger_parts import NOW, a_decision, a_run
from small_deployment import Deployment

Ct = Callable[..., Any]
HOSTILE = "\x1b]0;owned\x07[red]x[/red]\u202e"


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)


def findings(ct: Ct) -> tuple[int, dict[str, dict[str, str]]]:
    said = ct("doctor", "--json")
    return said.code, {each["check"]: each for each in json.loads(said.out)}


# -- status


def test_the_status_tells_of_each_model_its_champion_ages_and_what_was_decided(ct: Ct, deployment: Deployment) -> None:
    deployment.land(55)
    assert ct("run", "watch", "m", "--decide-only").code in {0, 5}
    [told] = json.loads(ct("status", "--json").out)
    champion = deployment.ledger.champion("m")
    assert champion is not None
    assert (told["model"], told["version"], told["fence"], told["file"]) == ("m", champion.version, 1, "ok")
    assert told["data_age_seconds"] > told["age_seconds"] >= 0
    assert told["decision"]["answer"] == deployment.ledger.decisions("m", 1)[0].decision.answer
    said = ct("status").out
    assert f"{champion.version} (fence 1)" in said
    assert f"{told['decision']['answer']} {told['decision']['window']['end'][:10]}" in said


def test_the_status_shows_models_without_a_champion_a_file_or_a_right_one(ct: Ct, deployment: Deployment) -> None:
    (deployment.home / "models" / "wrong.yaml").write_text("model: wrong")
    deployment.ledger.begin_run(a_run(1).model_copy(update={"model": "gone"}), now=datetime.now(UTC))
    deployment.ledger.promote(
        "gone", run_key=a_run(1).key, fence_seen=0, bundle="b" * 64, data_cutoff=datetime(2024, 1, 1, tzinfo=UTC), reason="", verdict=None,
        now=datetime.now(UTC),
    )  # fmt: skip
    told = {each["model"]: each for each in json.loads(ct("status", "--json").out)}
    assert {name: (each["file"], each["fence"]) for name, each in told.items()} == {
        "gone": ("gone", 1), "m": ("ok", 1), "wrong": ("wrong", 0),
    }  # fmt: skip


# -- explain RUN


@pytest.mark.parametrize("digits", [6, 12, 64])
def test_a_run_is_explained_by_the_first_digits_of_its_key(ct: Ct, deployment: Deployment, digits: int) -> None:
    [record] = deployment.ledger.runs("m")
    said = ct("explain", record.run.key[:digits])
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"run {record.run.key} of m (train), begun ")
    assert f"outcome: promoted: {record.text}" in said.out
    assert "Rules of the gate" in said.out
    rules = deployment.ledger.champion("m").verdict.rules  # type: ignore[union-attr]
    assert all(f"{rule.value:.4g}" in said.out for rule in rules if rule.value is not None)


def test_a_run_is_explained_as_json_with_everything_that_is_kept(ct: Ct, deployment: Deployment) -> None:
    [record] = deployment.ledger.runs("m")
    told = json.loads(ct("explain", record.run.key[:8], "--json").out)
    assert told["record"]["run"]["key"] == record.run.key
    assert told["verdict"]["outcome"] == "pass"
    assert set(told["facts"]) >= {"train", "evaluate", "promote"}


def test_a_run_whose_artefacts_are_gone_says_what_is_missing(ct: Ct, deployment: Deployment) -> None:
    [record] = deployment.ledger.runs("m")
    for path in (deployment.home / "artefacts" / "objects").iterdir():
        path.unlink()
    said = ct("explain", record.run.key)
    assert said.code == 0
    assert "outcome: promoted" in said.out
    assert "missing: verdict: " in said.out


def test_a_run_that_has_not_ended_says_since_when_and_who_knows_more(ct: Ct, deployment: Deployment) -> None:
    deployment.ledger.begin_run(a_run(1), now=datetime.now(UTC) - timedelta(hours=3, minutes=1))
    words = "begun 3 hours ago; whether it is at work or has died, m.train in Airflow says"
    [row] = [line for line in ct("history", "m").out.splitlines() if a_run(1).key[:12] in line]
    assert "not ended" in row
    assert row.endswith(words)
    assert f"outcome: not ended: {words}" in ct("explain", a_run(1).key).out


def test_a_beginning_of_no_run_or_of_several_is_refused(ct: Ct, deployment: Deployment) -> None:
    said = ct("explain", "0" * 12)
    assert (said.code, "no training's key begins with 000000000000" in said.err) == (2, True)
    assert "`ct explain MODEL --window TIME`" in said.err
    for number in (1, 2):
        run = a_run(number).model_copy(update={"key": "abcdef" + str(number) * 58})
        deployment.ledger.begin_run(run, now=datetime.now(UTC))
    said = ct("explain", "abcdef")
    assert (said.code, "several runs begin with abcdef: " in said.err) == (2, True)
    assert ct("explain", "abcdef1").code == 0
    assert "no model is called 'abcde'" in ct("explain", "abcde").err  # too short for a run


def test_a_model_is_explained_as_before_and_as_json(ct: Ct) -> None:
    text = ct("explain", "m").out
    told = json.loads(ct("explain", "m", "--json").out)
    assert (told["model"], told["text"].strip()) == ("m", text.strip())


# -- explain MODEL --window

DRIFTED = {"drift": [{"kind": "psi", "columns": ["wind"], "threshold": 0.2}]}


def watched(ct: Ct, deployment: Deployment, days: int = 65) -> None:
    """Look at every window of the first days, without training; the wind is another from day 45 on."""
    deployment.land(days, drift_after=45)
    assert ct("run", "watch", "m", "--decide-only").code in {0, 5}


def test_a_look_is_explained_by_the_end_that_the_history_lists_or_the_window_that_a_watch_logs(
    ct: Ct, deployment: Deployment, model: Ct
) -> None:
    model(**DRIFTED)
    watched(ct, deployment)
    [second, first] = [record.decision for record in deployment.ledger.decisions("m")]
    assert f"{second.window.end:%Y-%m-%d %H:%M}  {second.answer}" in ct("history", "m").out
    told = [
        ct("explain", "m", "--window", text).out
        for text in (f"{second.window.end:%Y-%m-%d %H:%M}", str(second.window), f"{second.window.end - timedelta(days=3):%Y-%m-%d}")
    ]  # fmt: skip
    assert told[0].startswith(f"look at {second.window} of m, 500 rows")
    assert told == [told[0]] * 3
    assert ct("explain", "m", "--window", str(first.window)).out.startswith(f"look at {first.window} of m")


def test_a_no_says_what_held_it_back_and_that_nothing_followed(ct: Ct, deployment: Deployment, model: Ct) -> None:
    model(**DRIFTED, retraining={"kind": "signals", "cooldown": "90 days"})
    watched(ct, deployment, 55)
    [record] = deployment.ledger.decisions("m")
    said = ct("explain", "m", "--window", str(record.decision.window)).out
    assert "champion then: version 1, fence 1" in said
    assert f"answer: no: {record.decision.why}" in said
    assert "held back by: the last retraining was on 2024-02-11 00:00Z and the cooldown of 90 days lasts until" in said
    assert "episode of drift: since 2024-02-21 00:00Z, goes on" in said
    assert "what followed: nothing, for it asked for no retraining" in said
    [score] = record.evidence.drift
    assert f"wind    psi       beyond  {score.statistic:.4g}" in said
    assert "above 0.2" in said


def test_a_yes_names_the_run_that_followed_and_before_it_that_none_has_begun(
    ct: Ct, deployment: Deployment, model: Ct
) -> None:
    model(**DRIFTED)
    watched(ct, deployment, 55)
    [record] = deployment.ledger.decisions("m")
    window = str(record.decision.window)
    assert record.decision.reason is not None
    episode = record.decision.reason.episode
    assert f"what followed: no run of the episode {episode} has begun yet" in ct("explain", "m", "--window", window).out
    assert ct("run", "watch", "m").code in {0, 3}
    newest = deployment.ledger.runs("m")[0]
    assert (
        f"what followed: run {newest.run.key[:12]}: {newest.outcome}: {newest.text}"
        in ct("explain", "m", "--window", window).out
    )
    told = json.loads(ct("explain", "m", "--window", window, "--json").out)
    assert told["record"]["evidence"]["drift"][0]["column"] == "wind"
    assert [each["run"]["key"] for each in told["runs"]] == [newest.run.key]
    assert told["champion"]["version"] == "1"


def test_columns_come_with_the_worst_first_and_those_that_were_not_measured_last(
    ct: Ct, deployment: Deployment
) -> None:
    def score(column: str, value: float | None, **more: Any) -> DriftScore:
        told = {
            "detector": "ks",
            "measure": "p_value",
            "threshold": 0.01,
            "reference_rows": 9,
            "current_rows": 9,
            **more,
        }
        return DriftScore(column=column, **{told["measure"]: value}, **told)

    psi = {"detector": "psi", "measure": "statistic", "threshold": 0.2}
    scores = (
        score("calm", 0.5), score("blank", None, note="no values"), score("less", 0.0, effect=-0.1), score("worst", 0.0, effect=-0.4), score("bad", 0.4, **psi),
        score("warm", 0.19, **psi), score("snow", 1e-4, seasonal=True),
    )  # fmt: skip
    decision, evidence = a_decision(7)
    deployment.ledger.record_decision(decision, evidence.model_copy(update={"drift": scores}), now=NOW)
    lines = ct("explain", "m", "--window", str(decision.window)).out.splitlines()
    start = lines.index("Drift by column, the worst first") + 2
    assert [line.split()[0] for line in lines[start : start + 7]] == [
        "worst",
        "less",
        "bad",
        "snow",
        "warm",
        "calm",
        "blank",
    ]
    assert [line.split()[2] for line in lines[start : start + 7]] == [
        "beyond", "beyond", "beyond", "seasonal", "within", "within", "not",
    ]  # fmt: skip
    assert lines[start + 6].endswith("no values")


def test_a_broken_window_shows_its_defects_and_the_quality_has_its_interval(
    ct: Ct, deployment: Deployment, model: Ct
) -> None:
    model(performance=[{"metric": "roc_auc", "below": 0.2}])

    def thousandfold(rows: Any) -> Any:
        return rows.assign(
            wind=rows["wind"].where(rows["at"] < rows["at"].min() + timedelta(days=42), rows["wind"] * 1000)
        )

    deployment.land(55, thousandfold)
    assert ct("run", "watch", "m", "--decide-only").code == 0
    [record] = deployment.ledger.decisions("m")
    [defect] = record.evidence.defects
    said = ct("explain", "m", "--window", str(record.decision.window)).out
    assert f"{defect.kind}  wind    {defect.text}" in said
    [score] = record.evidence.performance
    seen = score.estimate
    assert f"{seen.value:.4g} ({seen.low:.4g} to {seen.high:.4g})  below 0.2  within" in said


def test_a_window_that_nobody_looked_at_is_refused_with_those_that_were(ct: Ct, deployment: Deployment) -> None:
    said = ct("explain", "m", "--window", "2024-02-20")
    assert (said.code, "no window of m was decided on yet; let it watch: ct run watch m" in said.err) == (2, True)
    watched(ct, deployment)
    said = ct("explain", "m", "--window", "2024-03-20")
    assert (said.code, said.out) == (2, "")
    assert "no window of m that was decided on ends at 2024-03-20T00:00Z or holds it; the newest end at 2024-03-01T00:00Z, 2024-02-20T00:00Z" in said.err  # fmt: skip
    said = ct("explain", "n", "--window", "2024-02-20")
    assert (said.code, "nothing is recorded of 'n'; the ledger knows m;" in said.err) == (2, True)
    said = ct("explain", "m", "--window", "last week")
    assert (said.code, "'last week' is not a time" in said.err) == (2, True)


def test_a_look_of_a_model_whose_file_is_gone_is_explained_all_the_same(ct: Ct, deployment: Deployment) -> None:
    watched(ct, deployment, 55)
    (deployment.home / "models" / "m.yaml").unlink()
    assert ct("explain", "m", "--window", "2024-02-20").code == 0


# -- tables


def test_a_table_is_drawn_on_a_terminal_and_plain_elsewhere_and_nothing_steers_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show("Things", ("name", "state"), [(HOSTILE, "ok")])
    plain = capsys.readouterr().out
    on_a_terminal(monkeypatch)
    show("Things", ("name", "state"), [(HOSTILE, "ok")])
    drawn = capsys.readouterr().out
    assert plain.splitlines() == ["Things", "  name                   state", "  ]0;owned [red]x[/red]  ok"]
    assert "─" in drawn
    for text in (plain, drawn):
        assert "[red]x[/red]" in text
        assert "\x1b]" not in text
        assert not set("\x07\u202e") & set(text)


def test_columns_of_numbers_are_drawn_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("policy", "runs"), ("model file", "12")]
    assert in_columns(rows) == "policy      runs\nmodel file    12"
    on_a_terminal(monkeypatch)
    drawn = in_columns(rows)
    assert "─" in drawn
    assert "12" in drawn


def test_progress_is_shown_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with working("m: train"):
        pass
    assert capsys.readouterr() == ("", "")
    on_a_terminal(monkeypatch)
    with working("m: train"):
        pass
    out, err = capsys.readouterr()
    assert (out, "m: train" in err) == ("", True)


# -- as JSON


def test_every_command_that_only_reads_tells_it_as_json(ct: Ct, deployment: Deployment) -> None:
    for arguments in (
        ("history", "m"),
        ("status",),
        ("doctor",),
        ("verify",),
        ("lint",),
        ("explain", "m"),
        ("rollout", "m"),
    ):
        said = ct(*arguments, "--json")
        assert said.code == 0, said
        json.loads(said.out)
    assert json.loads(ct("verify", "--json").out) == {"problems": []}
    (deployment.home / "models" / "wrong.yaml").write_text("model: wrong")
    said = ct("lint", "--json")
    assert said.code == 2
    assert [(each["file"], each["ok"]) for each in json.loads(said.out)] == [("m.yaml", True), ("wrong.yaml", False)]


# -- doctor


def test_a_deployment_that_is_well_has_only_findings_that_say_so(ct: Ct, model: Ct) -> None:
    model(drift=[{"kind": "alibi_ks", "columns": ["wind"], "p_value": 0.01}])
    code, found = findings(ct)
    assert code == 0, found
    assert {name for name, each in found.items() if each["state"] == "ok"} == {
        "versions", "home", "model files", "ledger", "clock", "artefacts", "registry", "champions", "m: data",
    }  # fmt: skip
    assert found["m: licences"]["state"] == "note"
    assert "Business Source License" in found["m: licences"]["text"]


def test_what_is_wrong_ends_with_1_and_what_is_down_with_7(
    ct: Ct, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:s3cr3t-word@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, found = findings(ct)
    assert (code, found["registry"]["state"]) == (7, "down")
    (deployment.home / "models" / "wrong.yaml").write_text("model: wrong")
    code, found = findings(ct)
    assert (code, found["model files"]["state"]) == (1, "wrong")
    assert "1 of 2" in found["model files"]["text"]


def test_no_secret_is_told(monkeypatch: pytest.MonkeyPatch, deployment: Deployment) -> None:
    def fails(*_: Any, **__: Any) -> None:
        msg = "cannot open postgresql://me:p%40ssw0rd@db/ct with p@ssw0rd and t0ken-of-mine"
        raise StoreUnavailable(msg)

    monkeypatch.setattr(Ledger, "probe", fails)
    monkeypatch.setattr("continuous_training.cli.doctor.Registry.aliases", lambda *_: {})
    environment = deployment.settings.to_environment() | {
        "AIRFLOW_CONN_WAREHOUSE": "postgresql://me:p%40ssw0rd@db/ct", "CT_SERVE_TOKEN": "t0ken-of-mine",
    }  # fmt: skip
    told = "\n".join(each.text for each in doctor.examine(environment))
    assert "cannot open postgresql://me:***@db/ct with *** and ***" in told


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, "ok"), (20, "note"), (-20, "note"), (600, "wrong"), (-600, "wrong")]
)
def test_a_clock_that_differs_from_the_databases_is_noticed(
    monkeypatch: pytest.MonkeyPatch, deployment: Deployment, seconds: int, state: str
) -> None:
    monkeypatch.setattr(Ledger, "probe", lambda _: datetime.now(UTC) + timedelta(seconds=seconds))
    assert doctor._clock(deployment.settings)[0] == state


def test_a_ledger_and_a_home_that_may_not_be_written_are_found(
    ct: Ct, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    (deployment.home / "a-file").write_text("")
    monkeypatch.setenv("CT_LEDGER", f"sqlite:///{deployment.home / 'a-file' / 'ledger.db'}")
    monkeypatch.setenv("CT_ARTEFACTS", str(deployment.home / "a-file" / "store"))
    monkeypatch.setattr("continuous_training.cli.doctor.Registry.aliases", lambda *_: {})
    code, found = findings(ct)
    assert code == 7
    assert {name for name, each in found.items() if each["state"] == "down"} == {
        "ledger", "clock", "artefacts", "champions",
    }  # fmt: skip
    assert doctor._home(deployment.home / "a-file")[0] == "wrong"


def test_the_database_tells_its_time(deployment: Deployment) -> None:
    assert abs((deployment.ledger.probe() - datetime.now(UTC)).total_seconds()) < 5
