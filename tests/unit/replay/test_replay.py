"""A replay is what would have happened: the same decisions as live, at most one training each, and it goes on."""

import json
from datetime import timedelta

import pandas as pd
import pytest

import small_model
from continuous_training import cli
from continuous_training.core.errors import DataInvalid, UsageError
from continuous_training.ledger import Ledger
from continuous_training.replay import replay
from continuous_training.replay.hindsight import hindsight
from continuous_training.replay.page import page
from continuous_training.replay.replay import with_ledger
from continuous_training.replay.walk import walk
from continuous_training.settings import Settings

DAYS, DRIFT_AFTER = 101, 60
FIRST, LAST = small_model.START + timedelta(days=40), small_model.START + timedelta(days=100)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replayed")
    small_model.land(folder, days=DAYS, drift_after=DRIFT_AFTER)
    return folder


@pytest.fixture(scope="module")
def settings(home):
    return Settings.from_environment({"CT_HOME": str(home)})


def replayed(settings, spec, policies=None, *, jobs=1, said=None):
    return replay(
        spec,
        policies or {"own": spec},
        settings,
        start=FIRST,
        end=None,
        proxy=False,
        jobs=jobs,
        say=(said if said is not None else []).append,
    )


def test_live_decisions_and_promotions_are_those_of_the_replay(home, settings, monkeypatch, capsys):
    models = home / "models"
    models.mkdir()
    (models / "m.yaml").write_text(json.dumps(small_model.document()))
    for name, value in {"CT_HOME": home, "CT_MODELS": models}.items():
        monkeypatch.setenv(name, str(value))
    as_of = (FIRST + timedelta(days=1)).isoformat()
    assert cli.main(["run", "train", "m", "--as-of", as_of]) == 0
    assert cli.main(["run", "watch", "m", "--as-of", (LAST + timedelta(days=1)).isoformat()]) in {0, 3}
    capsys.readouterr()
    live = Ledger(settings.ledger)
    report = replayed(settings, small_model.spec())
    [own] = report.policies
    decided = [record.decision for record in reversed(live.decisions("m", 100))]
    assert [one.answer for one in decided].count("yes") >= 1
    assert list(own.decisions) == decided
    promoted = [champion.data_cutoff for champion in reversed(live.history("m"))][1:]
    assert list(own.promoted) == promoted


def test_early_looks_at_late_labels_are_replayed_as_they_are_live(home, settings, monkeypatch, capsys, tmp_path):
    late = {
        "task": {**small_model.document()["task"], "label_delay": "15 days"},
        "drift": [],
        "performance": [
            {"metric": "log_loss", "line": "estimated", "below": 0.2},
            {"metric": "log_loss", "above": 0.6},
        ],
        "promotion": {"metric": "log_loss", "rows": 100, "resamples": 100},
        "retraining": {"cooldown": "20 days"},
    }
    live_home = tmp_path / "live"
    small_model.land(live_home, days=DAYS, drift_after=DRIFT_AFTER)
    (live_home / "models").mkdir()
    (live_home / "models" / "m.yaml").write_text(json.dumps(small_model.document(**late)))
    for name, value in {"CT_HOME": live_home, "CT_MODELS": live_home / "models"}.items():
        monkeypatch.setenv(name, str(value))
    assert cli.main(["run", "train", "m", "--as-of", (FIRST + timedelta(days=15)).isoformat()]) == 0
    assert cli.main(["run", "watch", "m", "--as-of", LAST.isoformat()]) in {0, 3, 5}
    capsys.readouterr()
    live = Ledger(Settings.from_environment({"CT_HOME": str(live_home)}).ledger)
    spec = small_model.spec(**late)
    # A policy without an estimate comes first: its trainings, which made no estimator, are shared.
    report = replayed(settings, spec, {"waits": small_model.spec(**{**late, "performance": []}), "own": spec})
    own = report.policies[1]
    decided = {record.decision.window.end: record.decision for record in live.decisions("m", 100)}
    assert {one.answer for one in own.decisions} >= {"yes", "no"}
    assert all(one.as_of == one.window.end for one in own.decisions)
    assert list(own.decisions) == [decided[one.window.end] for one in own.decisions]


def test_a_schedule_begins_after_the_first_training_also_where_looks_are_early(home, tmp_path):
    settings = Settings.from_environment(
        {"CT_HOME": str(tmp_path), "CT_LOCATIONS": json.dumps({"data": str(home / "data")})}
    )
    spec = small_model.spec(
        task={**small_model.document()["task"], "label_delay": "15 days"},
        drift=[],
        performance=[{"metric": "roc_auc", "line": "estimated", "below": 0.01}],
        retraining={"schedule": "0 0 */6 * *"},
    )
    served = walk(spec, settings, start=FIRST, end=FIRST + timedelta(days=30))
    assert sorted(served) == [FIRST + timedelta(days=number) for number in (10, 20, 30)]
    begun = [record.run for record in reversed(Ledger(settings.ledger).runs("m", 100))]
    assert len(begun) > 1
    assert all(run.as_of >= FIRST + timedelta(days=15) for run in begun)


def test_an_interrupted_replay_goes_on_and_says_the_same(settings):
    spec = small_model.spec(retraining={"kind": "regret"})
    whole = replayed(settings, spec)
    again = replayed(settings, spec)
    assert again == whole


def test_policies_are_held_against_rulers_on_the_same_windows(settings):
    spec = small_model.spec()
    never = small_model.spec(drift=[], retraining={"kind": "signals"})
    said = []
    report = replayed(settings, spec, {"own": spec, "nothing": never}, said=said)
    own, nothing = report.policies
    assert nothing.retrainings == ()
    assert nothing.mean == report.rulers[0].mean
    assert nothing.share_of_gain == 0
    assert own.retrainings
    assert own.mean >= nothing.mean
    for evenly, best in zip(report.evenly, report.oracle, strict=True):
        assert best.mean >= evenly.mean
    assert report.rulers[1].retrainings == len(report.windows) - 1
    assert "policy 2 of 2" in said


def test_what_is_kept_of_a_declared_metric_is_measured_again_when_its_amounts_change(settings):
    reports, gains = [], []
    for unit in (1, 100):
        cost = {"kind": "cost", "name": "delay_cost", "false_positive": unit, "false_negative": 3 * unit}
        spec = small_model.spec(metrics=[cost], promotion={"metric": "delay_cost", "rows": 100, "resamples": 100})
        reports.append(replayed(settings, spec))
        gains.append([gain for _, gain in hindsight(spec, settings, reports[-1].windows, say=[].append)])
    euros, cents = reports
    assert (euros.metric, euros.greater_is_better) == ("delay_cost", False)
    assert [one.mean for one in cents.rulers] == pytest.approx([100 * one.mean for one in euros.rulers])
    for evenly, best in zip(euros.evenly, euros.oracle, strict=True):
        assert best.mean <= evenly.mean
    assert [gain.value for gain in gains[1]] == pytest.approx([100 * gain.value for gain in gains[0]])
    assert {gain.metric for gain in gains[0]} == {"delay_cost"}


def test_another_declaration_is_another_history(settings):
    rule = {"metric": "found", "below": 0.5}
    ledgers = {
        with_ledger(
            small_model.spec(metrics=[{"kind": "recall_at", "name": "found", "top": top}], performance=[rule]),
            settings,
            FIRST,
        ).ledger
        for top in (0.1, 0.2)
    }
    assert len(ledgers) == 2


def test_the_page_is_one_file_that_shows_names_as_text(settings):
    spec = small_model.spec()
    html = page(replayed(settings, spec, {"<script>alert(1)</script>": spec}))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "http" not in html.replace("http-equiv", "")
    assert html.count("<svg") == 2


def test_too_short_a_history_is_refused_with_what_to_do(settings):
    spec = small_model.spec()
    with pytest.raises(UsageError, match="at least 2 are needed; give an earlier --from or a later --to"):
        replay(spec, {"own": spec}, settings, start=LAST, end=None, proxy=False, jobs=1, say=print)


def test_the_command_takes_policies_from_files_and_prints_a_table(home, settings, tmp_path, monkeypatch, capsys):
    models = tmp_path / "models"
    models.mkdir()
    (models / "m.yaml").write_text(json.dumps(small_model.document()))
    policy = tmp_path / "patient.yaml"
    policy.write_text("retraining: {kind: signals, persistence: {windows: 2, of: 3}}\n")
    for name, value in {"CT_HOME": home, "CT_MODELS": models}.items():
        monkeypatch.setenv(name, str(value))
    out = tmp_path / "page.html"
    assert cli.main(["replay", "m", "--from", FIRST.isoformat(), "--policy", str(policy), "--out", str(out)]) == 0
    table = capsys.readouterr().out
    assert "patient" in table
    assert "every window" in table
    assert out.read_text().startswith("<!doctype html>")
    policy.write_text("retraining: {kind: signals, persistance: {windows: 2, of: 3}}\n")
    assert cli.main(["replay", "m", "--policy", str(policy), "--out", str(out)]) == 2
    assert "did you mean 'persistence'?" in capsys.readouterr().err
    policy.write_text("seed: 3\n")
    assert cli.main(["replay", "m", "--policy", str(policy), "--out", str(out)]) == 2
    assert "a policy file has only retraining, drift, performance, triage" in capsys.readouterr().err


def test_a_replay_that_ends_earlier_tells_of_its_own_windows_alone(settings):
    spec = small_model.spec()
    whole = replayed(settings, spec)
    end = whole.windows[2].end
    part = replay(spec, {"own": spec}, settings, start=FIRST, end=end, proxy=False, jobs=1, say=str)
    assert part.windows == whole.windows[:3]
    assert part.policies[0].decisions == whole.policies[0].decisions[:3]


def test_a_history_whose_first_trainings_are_refused_begins_where_one_is_promoted(tmp_path):
    small_model.land(tmp_path, days=DAYS)
    file = tmp_path / "data" / "rows" / "rows.parquet"
    rows = pd.read_parquet(file)
    first_weeks = rows["at"] < FIRST + timedelta(days=2)
    rows.loc[first_weeks, "late"] = (rows.loc[first_weeks].index % 2).astype(rows["late"].dtype)  # nothing tells them
    rows.to_parquet(file, index=False)
    settings = Settings.from_environment({"CT_HOME": str(tmp_path)})
    spec = small_model.spec(promotion={"metric": "roc_auc", "rows": 100, "resamples": 100, "floor": 0.7})
    said = []
    told = {"end": None, "proxy": False, "jobs": 1, "say": said.append}
    report = replay(spec, {"own": spec}, settings, start=None, **told)
    [refused] = [text for text in said if "so the replay begins a window later" in text]
    assert refused.startswith("no first champion on 2024-02-20")
    assert "not to be at least 0.7" in refused
    assert f"{report.windows[0].start:%Y-%m-%d}" == "2024-03-01"
    with pytest.raises(DataInvalid, match=f"no first champion on {FIRST:%Y-%m-%d}.*with --from, or ask less"):
        replay(spec, {"own": spec}, settings, start=FIRST, **told)


def test_a_history_without_a_first_champion_is_told_with_its_reason(settings):
    spec = small_model.spec(min_rows=5000)
    with pytest.raises(DataInvalid, match=r"no first champion on 2024-02-10: .*5,?000"):
        replayed(settings, spec)
