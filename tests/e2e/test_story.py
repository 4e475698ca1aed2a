"""The main job on a real Airflow and a real MLflow server, over the real flights.

One story is told (the same as `make demo`, shorter); the tests then look at what it left behind, and trigger more.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flights
import httpx
import psutil
import pytest
from clients import Clients
from mlflow import MlflowClient
from story import FIRST_CUTOFF, MODEL, WEEK, Story

import monitors
from continuous_training.deployers.local import served
from continuous_training.ledger import RunRecord
from continuous_training.registry import RUN_KEY
from services import Services, free_ports, wait_until

pytestmark = pytest.mark.e2e
WEEKS = 5
TRAIN, WATCH = f"{MODEL}.train", f"{MODEL}.watch"
MOST_XCOM_BYTES = 4096
ENDED = {"success", "failed"}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    kept = dict(os.environ)
    home = tmp_path_factory.mktemp("story")
    (port,) = free_ports(1)
    with Services(home, changed={"deployment": {"kind": "local", "metrics_port": port}}) as services:
        told = Story(services, flights.flights(), weeks=WEEKS)
        told.tell()
        yield told
    os.environ.clear()
    os.environ.update(kept)
    left = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(home) in " ".join(process.info["cmdline"] or [])
    ]
    assert left == [], "processes outlived the services"


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
    assert {item.path for item in client.list_artifacts(shown.run_id, "reports")} == {
        "reports/comparison.json", "reports/data_docs.html", "reports/verdict.json",
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
    assert set(links) == {"MLflow run", "Model version", "Data Docs"}
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
    exporter = monitors.free_port()
    command = [sys.executable, "-m", "continuous_training.cli", "metrics", "--listen", str(exporter)]
    targets = {"continuous-training": f"127.0.0.1:{exporter}", "serving": f"127.0.0.1:{status['metrics_port']}"}
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
        subprocess.Popen(command, env=story.services.environment) as metrics,
        monitors.alertmanager(tmp_path, webhook=webhook, token=token) as alerts,
        monitors.prometheus(tmp_path, targets, alerts=alerts, rules=[alert]) as prometheus,
        Clients(status["url"], rows),
    ):
        try:
            ended = wait_until(lambda: by_feedback(story, ended=True), "the retraining that the alert asked for", 240)
            for file in sorted((monitors.MONITORING / "grafana" / "dashboards").glob("*.json")):
                for panel in json.loads(file.read_text())["panels"]:
                    for target in panel["targets"]:
                        asked = target["expr"].replace("$model", MODEL)
                        wait_until(lambda asked=asked: monitors.query(prometheus, asked), f"{file.name}: {asked}", 60)
        finally:
            metrics.terminate()
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
