"""The main job on a real Airflow and a real MLflow server, over the real flights.

One story is told (the same as `make demo`, shorter); the tests then look at what it left behind, and trigger more.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import flights
import httpx
import pytest
import yaml
from clients import Clients
from mlflow import MlflowClient
from playwright.sync_api import expect
from story import FIRST_CUTOFF, MODEL, WEEK, Story

import monitors
from browser import Browser, browser, pictures
from continuous_training.cli import main
from continuous_training.core.scores import DriftScore
from continuous_training.core.window import Window
from continuous_training.deployers.local import served
from continuous_training.ledger import RunRecord
from continuous_training.registry import RUN_KEY
from served_model import assert_nothing_runs
from services import ROOT, Services, free_ports, wait_until

pytestmark = pytest.mark.e2e
WEEKS = 5
TRAIN, WATCH = f"{MODEL}.train", f"{MODEL}.watch"
MOST_XCOM_BYTES = 4096
ENDED = {"success", "failed"}
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    kept = dict(os.environ)
    home = tmp_path_factory.mktemp("story")
    (port,) = free_ports(1)
    # The last missed tick is the first training, and no other falls into the story: every Monday one might.
    once_a_year = yaml.safe_load((ROOT / "include" / "models" / f"{MODEL}.yaml").read_text())["retraining"]
    once_a_year |= {"schedule": "0 3 1 1 *"}
    changed = {"retraining": once_a_year, "deployment": {"kind": "local", "metrics_port": port}}
    with Services(home, changed=changed) as services:
        told = Story(services, flights.flights(), weeks=WEEKS)
        told.tell()

        def all_ended() -> bool:  # the ledger knows some seconds before Airflow does
            return all(run["state"] in ENDED for run in told.airflow.runs(TRAIN))

        wait_until(all_ended, "the end of every training run", 240)
        yield told
    os.environ.clear()
    os.environ.update(kept)
    assert_nothing_runs(home)


def finished(story: Story, dag_id: str, run_id: str) -> dict[str, Any]:
    """Return the run once it has ended."""

    def ended() -> dict[str, Any] | None:
        run: dict[str, Any] = story.airflow.get(f"/dags/{dag_id}/dagRuns/{run_id}")
        return run if run["state"] in ENDED else None

    return wait_until(ended, f"the end of {dag_id} {run_id}", 240)


def test_schedule_drift_and_form_each_fired_a_training_run_in_airflow(story: Story) -> None:
    runs = story.airflow.runs(TRAIN)
    assert {run["run_type"] for run in runs} == {"scheduled", "asset_triggered", "manual"}
    assert {run["state"] for run in runs} == {"success"}
    reasons = [record.run.reason.kind for record in story.ledger.runs(MODEL) if record.run.reason]
    assert {"schedule", "manual"} < set(reasons)
    assert {"drift", "performance"} & set(reasons)


def test_every_week_has_one_decision_with_its_reason_and_the_chain_is_whole(story: Story) -> None:
    records = story.ledger.decisions(MODEL, 100)
    assert len({record.decision.window for record in records}) == len(records) == WEEKS
    assert all(record.decision.why for record in records)
    assert any(record.decision.answer == "no" for record in records)
    assert story.ledger.verify() == []


def test_what_was_decided_on_each_week_can_be_explained(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    for record in story.ledger.decisions(MODEL, 100):
        decision = record.decision
        assert main(("explain", MODEL, "--window", f"{decision.window.end:%Y-%m-%dT%H:%MZ}")) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"look at {decision.window} of {MODEL}")
        assert f"\nanswer: {decision.answer}: " in said
        assert all(signal.name in said for signal in decision.signals)


def test_a_refused_challenger_left_the_champion_alone_and_its_deploy_task_was_skipped(story: Story) -> None:
    manual = next(run for run in story.airflow.runs(TRAIN) if run["run_type"] == "manual")
    tasks = story.airflow.tasks(TRAIN, manual["dag_run_id"])
    assert tasks["promote"]["state"] == "success"
    assert tasks["deploy"]["state"] == "skipped"
    kept = next(record for record in story.ledger.runs(MODEL) if record.outcome == "kept")
    assert kept.run.key not in {champion.run_key for champion in story.ledger.history(MODEL)}
    assert "champion" in kept.text


def test_the_watch_waits_in_the_triggerer_and_holds_no_worker_slot(story: Story) -> None:
    def waiting() -> dict[str, Any] | None:
        run = next((run for run in story.airflow.runs(WATCH) if run["state"] == "running"), None)
        tasks = story.airflow.tasks(WATCH, run["dag_run_id"]) if run else {}
        return tasks["wait"] if tasks and tasks["wait"]["state"] == "deferred" else None

    task = wait_until(waiting, "the watch waiting for the next week", 60)
    assert task["pid"] is None  # no worker process ever began the task


def test_mlflow_shows_what_the_ledger_says(story: Story) -> None:
    client = MlflowClient(story.services.mlflow_url)
    champion, previous = story.ledger.champion(MODEL), story.ledger.previous(MODEL)
    shown = client.get_model_version_by_alias(MODEL, "champion")
    assert shown.tags[RUN_KEY] == champion.run_key
    assert client.get_model_version_by_alias(MODEL, "previous").tags[RUN_KEY] == previous.run_key
    assert {"verdict", "verdict_text", "reason", "dataset_digest", "dataset_window", "outcome"} <= set(shown.tags)
    run = client.get_run(shown.run_id)
    assert run.data.metrics["hold_out_roc_auc"] > 0.5
    assert run.data.params["num_leaves"]
    assert {item.path.removeprefix("reports/") for item in client.list_artifacts(shown.run_id, "reports")} == {
        "comparison.json", "data_docs.html", "verdict.json", "model_card.html", "model_card.json", "calibration.png", "importance.png",
        "roc.png",
    }  # fmt: skip
    versions = client.search_model_versions(f"name='{MODEL}'")
    assert len({version.tags[RUN_KEY] for version in versions}) == len(versions)


def test_the_served_champion_answers_as_the_registered_model_does(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(story.services.mlflow_url)
    rows = story.rows.drop(columns=["late"]).iloc[-50:]
    status = served(MODEL, story.services.home)
    records = json.loads(rows.to_json(orient="records", date_format="iso"))
    answer = httpx.post(f"{status['url']}/invocations", json={"dataframe_records": records}, timeout=10)
    assert answer.status_code == httpx.codes.OK
    registered = mlflow.pyfunc.load_model(f"models:/{MODEL}@champion")
    expected = registered.predict(rows.drop(columns=["scheduled_departure"]))
    assert answer.json()["predictions"] == pytest.approx(list(expected), abs=1e-9)


def test_xcoms_are_small_json(story: Story) -> None:
    for dag_id in (TRAIN, WATCH):
        for run in story.airflow.runs(dag_id):
            for task_id in story.airflow.tasks(dag_id, run["dag_run_id"]):
                entries = f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances/{task_id}/xcomEntries"
                for entry in story.airflow.get(entries)["xcom_entries"]:
                    value = story.airflow.get(f"{entries}/{entry['key']}")["value"]
                    assert len(json.dumps(value)) < MOST_XCOM_BYTES, (task_id, entry["key"])


def test_the_promote_task_leads_to_the_run_the_version_and_the_data_docs(story: Story) -> None:
    run = next(run for run in story.airflow.runs(TRAIN) if run["run_type"] == "scheduled")
    links = story.airflow.get(f"/dags/{TRAIN}/dagRuns/{run['dag_run_id']}/taskInstances/promote/links")["extra_links"]
    assert set(links) == {"Model card", "MLflow run", "Model version", "Data Docs"}
    card = links.pop("Model card")
    assert card.startswith(f"{story.services.airflow_url}/continuous-training/pages/dags/{TRAIN}/card?key=")
    assert all(url.startswith(story.services.mlflow_url) for url in links.values())


def test_the_same_run_id_through_the_rest_api_is_one_run(story: Story) -> None:
    known = story.airflow.runs(TRAIN)[0]["dag_run_id"]
    assert story.airflow.trigger(TRAIN, {}, run_id=known).status_code == httpx.codes.CONFLICT


def test_the_form_refuses_wrong_values(story: Story) -> None:
    for wrong in ({"trials": -1}, {"trials": "many"}, {"force": "yes"}, {"as_of": "soon"}):
        answer = story.airflow.trigger(TRAIN, wrong)
        assert answer.status_code in {httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY}, wrong


def test_a_dry_run_judges_and_promotes_nothing(story: Story) -> None:
    before = story.ledger.champion(MODEL)
    answer = story.airflow.trigger(TRAIN, {"dry_run": True, "as_of": "2013-03-20T00:00:00Z", "trials": 0})
    run = finished(story, TRAIN, answer.json()["dag_run_id"])
    assert run["state"] == "success"
    assert story.ledger.champion(MODEL) == before
    assert story.ledger.runs(MODEL)[0].outcome in {"dry_run", "kept"}


def test_the_hand_written_dag_runs(story: Story) -> None:
    story.airflow.unpause("example_retrain")
    answer = story.airflow.trigger("example_retrain", {"reason": "by hand", "trials": 0, "dry_run": True})
    run = finished(story, "example_retrain", answer.json()["dag_run_id"])
    assert run["state"] == "success"


def test_broken_data_ends_the_run_before_training_and_the_champion_keeps_serving(story: Story) -> None:
    folder = Path(story.settings.locations["data"]) / "flights"
    within = FIRST_CUTOFF + WEEK
    broken = story.rows[story.rows["scheduled_departure"] >= within].head(500).assign(distance=-5.0)
    file = folder / f"date={within:%Y-%m-%d}" / "broken.parquet"
    broken.to_parquet(file, index=False)
    before = story.ledger.champion(MODEL), served(MODEL, story.services.home)["fence"]
    answer = story.airflow.trigger(TRAIN, {"reason": "on broken data"})
    run_id = answer.json()["dag_run_id"]
    state = finished(story, TRAIN, run_id)["state"]
    file.unlink()  # what comes after tells of other things
    assert state == "failed"
    tasks = story.airflow.tasks(TRAIN, run_id)
    assert (tasks["validate"]["state"], tasks["validate"]["try_number"]) == ("failed", 1)
    assert tasks["train"]["state"] == "upstream_failed"
    assert "critical check" in story.airflow.log(TRAIN, run_id, "validate", 1)
    assert (story.ledger.champion(MODEL), served(MODEL, story.services.home)["fence"]) == before
    assert story.ledger.runs(MODEL)[0].outcome == "failed"


def test_an_alert_of_prometheus_retrains_once_and_every_panel_shows_data(story: Story, tmp_path: Path) -> None:
    status = served(MODEL, story.services.home)
    alert = {
        "alert": "Asked",
        "expr": f'ct_model_fence{{model="{MODEL}"}} > 0',
        "labels": {"retrain": "true", "reason": "feedback"},
        "annotations": {"summary": "somebody was served badly"},
    }
    token = story.services.environment["AIRFLOW__CONTINUOUS_TRAINING__ALERT_TOKEN"]
    webhook = f"{story.services.airflow_url}/continuous-training/alerts"
    rows = story.rows.drop(columns=["late"]).iloc[-200:]
    with (
        monitors.exporter(story.services.environment) as exporter,
        monitors.alertmanager(tmp_path, webhook=webhook, token=token) as alerts,
        monitors.prometheus(
            tmp_path,
            {"continuous-training": exporter, "serving": f"127.0.0.1:{status['metrics_port']}"},
            alerts=alerts,
            rules=[alert],
        ) as prometheus,
        Clients(status["url"], rows),
    ):
        ended = wait_until(lambda: by_feedback(story, ended=True), "the retraining that the alert asked for", 240)
        for file in sorted((monitors.MONITORING / "grafana" / "dashboards").glob("*.json")):
            for panel in json.loads(file.read_text())["panels"]:
                for target in panel["targets"]:
                    asked = target["expr"].replace("$model", MODEL)
                    if "router" in asked:
                        continue  # told only while a rollout goes on: tests/services/test_monitoring.py has one
                    wait_until(lambda asked=asked: monitors.query(prometheus, asked), f"{file.name}: {asked}", 60)
    assert len(ended) == len(by_feedback(story)) == 1
    assert ended[0].run.reason.text == "alert Asked: somebody was served badly"
    assert ended[0].outcome in {"promoted", "kept"}, ended[0].text


def by_feedback(story: Story, *, ended: bool = False) -> list[RunRecord]:
    runs = [record for record in story.ledger.runs(MODEL) if record.run.reason and record.run.reason.kind == "feedback"]
    return [record for record in runs if record.outcome] if ended else runs


def test_a_sound_challenger_is_rolled_out_and_a_bad_one_rolled_back_under_real_requests(story: Story) -> None:
    story.roll_out()
    bad = story.ledger.rollout(MODEL)
    assert (bad.answer, story.ledger.champion(MODEL).fence) == ("reject", bad.fence)
    assert bad.counts.challenger.requests >= 1
    assert story.ledger.verify() == []


@pytest.fixture(scope="module")
def chromium(story: Story) -> Iterator[Browser]:
    with browser(story.services.airflow_url) as opened:
        opened.log_in(story.services.password)
        opened.problems.clear()  # what Airflow's own login page does is not ours
        yield opened


def addresses(story: Story, dag_id: str, **which: str) -> list[str]:
    """Return the addresses of the runs of this kind, the newest first."""
    runs = [run for run in story.airflow.runs(dag_id) if which.items() <= run.items()]
    return [f"/dags/{dag_id}/runs/{quote(run['dag_run_id'], safe='')}" for run in runs]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_shows_what_happened_and_asks_nobody_else(
    story: Story, chromium: Browser, tmp_path: Path, theme: str
) -> None:
    kept = pictures(tmp_path)
    if theme == "dark":
        chromium.dark()
    champion = story.ledger.champion(MODEL)
    page = chromium.open("/plugin/models", "Models")
    expect(page).to_contain_text(f"version {champion.version}")
    chromium.keep(kept, f"models-{theme}", height=330)
    page = chromium.open(f"/dags/{TRAIN}/plugin/drift", "Drift")
    squares = page.get_by_role("button", name="temperature")
    expect(squares).to_have_count(WEEKS)
    squares.first.click()
    chromium.read()
    expect(page.get_by_role("img", name="temperature: shares of the reference")).to_be_visible()
    chromium.keep(kept, f"drift-{theme}")
    page = chromium.open(f"/dags/{TRAIN}/plugin/champions", "Champions")
    expect(page.get_by_role("row").filter(has_text="Version 1 is champion")).to_have_count(1)
    expect(page.get_by_role("row").filter(has_text="A rollout was rejected")).to_have_count(1)
    page.get_by_label("What served at this moment").fill(f"{champion.promoted_at + MINUTE:%Y-%m-%dT%H:%M}")
    expect(page.get_by_role("status")).to_contain_text(f"Version {champion.version} ")
    chromium.keep(kept, f"champions-{theme}")
    by_drift = addresses(story, TRAIN, run_type="asset_triggered", state="success")[-1]
    page = chromium.open(f"{by_drift}/plugin/decision", "Decision")
    for said in ("Why it ran", "What the gate said", "Champion against challenger", "What changed"):
        expect(page.get_by_role("heading", name=said)).to_be_visible()
    chromium.keep(kept, f"decision-{theme}")
    with chromium.page.expect_popup() as opened:
        page.get_by_role("link", name="Model card").click()
    card = opened.value
    card.emulate_media(color_scheme=theme)
    expect(card.get_by_role("heading", level=1)).to_contain_text(MODEL)
    card.screenshot(path=kept / f"card-{theme}.png")
    card.close()
    assert chromium.problems == []


def test_the_demo_ends_with_addresses_that_lead_to_its_pages(story: Story, chromium: Browser) -> None:
    titles = []
    for line in story.pages():
        chromium.page.goto(line.split()[-1])
        titles.append(chromium.page.get_by_role("heading", level=1).first.inner_text())
    assert titles == ["Models", "Drift", "Champions", "Decision", f"Model card of {MODEL}"]
    assert chromium.problems == []


def test_a_run_of_the_watch_has_its_decision_and_its_drift_report(story: Story, chromium: Browser) -> None:
    page = chromium.open(f"{addresses(story, WATCH, state='success')[0]}/plugin/decision", "Decision")
    expect(page).to_contain_text("It looked at the window")
    with chromium.page.expect_popup() as opened:
        page.get_by_role("link", name="Drift report").click()
    expect(opened.value.get_by_role("heading", level=1)).to_contain_text(MODEL)
    opened.value.close()
    assert chromium.problems == []


def test_a_dag_of_somebody_else_is_told_apart(chromium: Browser) -> None:
    page = chromium.open("/dags/example_retrain/plugin/drift", "Drift")
    expect(page).to_contain_text("is not the DAG of a model file")
    # the browser itself writes down every answer that is not 200
    assert [each for each in chromium.problems if "404" not in each] == []
    chromium.problems.clear()


def test_people_roll_back_from_the_page_with_a_reason_and_only_with_one(story: Story, chromium: Browser) -> None:
    before = story.ledger.champion(MODEL)
    page = chromium.open("/plugin/models", "Models")
    page.get_by_role("button", name=f"Roll back {MODEL}").click()
    asking = chromium.page.get_by_role("dialog")
    confirm = asking.get_by_role("button", name=f"Roll back {MODEL}")
    asking.get_by_label("Version").select_option("1")
    expect(confirm).to_be_disabled()
    asking.get_by_label("Reason").fill("people complain")
    confirm.click()
    expect(asking).to_contain_text("Asked for")
    after = wait_until(
        lambda: story.ledger.champion(MODEL).fence > before.fence and story.ledger.champion(MODEL), "the rollback", 120
    )
    assert (after.version, after.kind, after.reason) == ("1", "rollback", "people complain (admin)")
    wait_until(story.served, "version 1 answering again", 60)
    asking.get_by_role("link", name="open the run").click()
    (run,) = addresses(story, f"{MODEL}.rollback")
    wait_until(lambda: story.airflow.runs(f"{MODEL}.rollback")[0]["state"] == "success", "the end of the run", 60)
    expect(chromium.open(f"{run}/plugin/decision", "Decision")).to_contain_text("Version 1 is the champion again")
    assert chromium.problems == []


def test_names_from_the_data_are_shown_and_never_run(story: Story, chromium: Browser) -> None:
    hostile = [
        "<img src=x onerror=alert(1)>",
        "javascript:alert(2)",
        "${alert(3)}{{4}}",
        "\u202eevil\u0000",
        "a" * 3000,
    ]
    newest_one = story.ledger.decisions(MODEL, 1)[0]
    window = Window(start=newest_one.decision.window.end, end=newest_one.decision.window.end + WEEK)
    scores = tuple(
        DriftScore(
            detector=hostile[0], column=column, statistic=9.0, measure="statistic", threshold=1.0,
            reference_rows=9, current_rows=9,
        )
        for column in hostile
    )  # fmt: skip
    changed = {"window": window, "why": " ".join(hostile[:3]), "signals": ()}
    decision = newest_one.decision.model_copy(update=changed | {"answer": "no", "reason": None})
    evidence = newest_one.evidence.model_copy(update={"window": window, "drift": scores})
    story.ledger.record_decision(decision, evidence, now=datetime.now(UTC))
    page = chromium.open(f"/dags/{TRAIN}/plugin/drift", "Drift")
    page.get_by_role("button", name=hostile[0]).first.click()
    chromium.read()
    expect(page).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page).to_contain_text("\\u202eevil\\u0000")
    assert page.locator("img[src=x]").count() == 0
    expect(chromium.open("/plugin/models", "Models")).to_contain_text("${alert(3)}{{4}}")
    assert chromium.problems == []
