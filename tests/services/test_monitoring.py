"""What the pipeline tells Prometheus, on real Prometheus programs; rules and dashboards are checked by them."""

import json
import math
import os
import re
import runpy
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

import monitors
import served_model
from continuous_training.core.decisions import Evidence, RetrainingDecision, RetrainingReason, Signal
from continuous_training.core.rollout import RolloutCounts, RolloutPlan, RolloutVerdict, VersionCounts
from continuous_training.core.scores import DriftScore, Estimate, PerformanceScore
from continuous_training.deployers.handover import ServingFolder
from continuous_training.deployers.processes import STARTUP_SECONDS, ServerProcess
from continuous_training.ledger import Ledger
from ledger_parts import NOW, a_run, key, promotion

pytestmark = pytest.mark.services
HERE = Path(__file__).parent
DASHBOARDS = sorted((monitors.MONITORING / "grafana" / "dashboards").glob("*.json"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the home of a deployment whose ledger knows one model well and one hardly."""
    home = tmp_path_factory.mktemp("home")
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    ledger.promote("flights", **promotion(1, seen=0))
    ledger.promote("other", **promotion(2, seen=0))
    for number, outcome in ((11, "promoted"), (12, "failed"), (13, "failed")):
        run = a_run(number).model_copy(update={"model": "flights"})
        ledger.begin_run(run, now=NOW)
        ledger.finish_run(run.key, outcome, "", now=NOW + timedelta(minutes=5))
    window = a_run(1).window
    drift = DriftScore(
        detector="psi", column='it"s\nodd', statistic=0.4, effect=0.4, measure="statistic", threshold=0.2,
        reference_rows=1000, current_rows=500,
    )  # fmt: skip
    performance = PerformanceScore(
        estimate=Estimate(metric="roc_auc", value=0.7, low=0.6, high=0.8, rows=500), matured=1.0, below=0.75
    )
    evidence = Evidence(
        model="flights", window=window, as_of=NOW, rows=500,
        drift=(drift, drift.model_copy(update={"column": "wind", "statistic": 0.1, "effect": 0.1})),
        performance=(performance, performance.model_copy(update={"slice": "carrier=AA"})),
    )  # fmt: skip
    decision = RetrainingDecision(
        model="flights", window=window, as_of=NOW, answer="yes", why="psi",
        reason=RetrainingReason(kind="drift", text="psi", episode="drift:1"),
        signals=(Signal(name="psi", kind="drift", state="fired", text="0.4"),),
    )  # fmt: skip
    ledger.record_decision(decision, evidence, now=NOW)
    of = {"run_key": key(21), "fence": 1, "bundle": "b", "version": "2.x"}
    ledger.begin_rollout("flights", **of, now=NOW)
    counts = RolloutCounts(plan="p", challenger=VersionCounts(requests=300, errors=40))
    verdict = RolloutVerdict(answer="reject", step=1, text="40 of 300 failed")
    ledger.move_rollout("flights", key(21), verdict, counts, now=NOW)
    return home


def ct(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "continuous_training.cli", "metrics", *arguments]


def surroundings(home: Path) -> dict[str, str]:
    return os.environ | {"CT_HOME": str(home)}


@pytest.fixture(scope="module")
def exporter(home: Path) -> Iterator[str]:
    """Give where `ct metrics --listen` answers."""
    with monitors.exporter(surroundings(home)) as place:
        yield place


def test_everything_that_is_told_has_bounded_labels_and_the_ledgers_numbers(home: Path) -> None:
    text = subprocess.run(ct(home), env=surroundings(home), capture_output=True, text=True, check=True).stdout
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    flights = ("model", "flights")
    assert samples["ct_model_fence", flights] == 1
    assert samples["ct_model_age_seconds", flights] == pytest.approx((datetime.now(UTC) - NOW).total_seconds(), abs=600)
    assert samples["ct_drift_effect", ("detector", "psi"), flights] == 0.4
    assert samples["ct_drift_exceeded", ("detector", "psi"), flights] == 1
    assert samples["ct_drift_measured", ("detector", "psi"), flights] == 2
    assert samples["ct_performance", ("line", "final"), ("metric", "roc_auc"), flights] == 0.7
    assert samples["ct_performance_limit", ("line", "final"), ("metric", "roc_auc"), flights, ("side", "below")] == 0.75
    assert samples["ct_signal", ("kind", "drift"), flights, ("signal", "psi")] == 1
    assert samples["ct_decision", flights] == 1
    assert samples["ct_episodes_open", ("kind", "drift"), flights] == 1
    assert samples["ct_episodes_open", ("kind", "performance"), flights] == 0
    ended = ("ct_retrainings_total", flights, ("outcome", "failed"), ("reason", a_run(1).reason.kind))  # type: ignore[union-attr]
    assert samples[ended] == 2
    assert samples["ct_retraining_seconds_total", *ended[1:]] == 600
    assert samples["ct_rollout_active", flights] == 0
    assert samples["ct_rollout_step", flights] == 2
    assert samples["ct_rollout_errors", ("arm", "challenger"), flights] == 40
    assert samples["ct_rollouts_total", ("answer", "reject"), flights] == 1
    assert "odd" not in text
    assert "carrier" not in text
    assert {name for name, *_ in samples if ("model", "other") in _} >= {"ct_model_fence", "ct_model_info"}


def test_prometheus_scrapes_it_and_the_shipped_rules_fire(exporter: str, tmp_path: Path) -> None:
    with monitors.prometheus(tmp_path, {"continuous-training": exporter}) as url:
        monitors.until(lambda: monitors.query(url, "ct_model_fence"), "the first scrape")
        pending = 'ALERTS{alertname="QualityBelowLimit", model="flights"}'
        monitors.until(lambda: monitors.query(url, pending), "the alert for a low metric")
        assert monitors.query(url, 'up{job="continuous-training"}')[0]["value"][1] == "1"
        for file in DASHBOARDS:
            if file.stem in ("models", "drift", "pipeline"):
                for panel, expression in expressions(file):
                    asked = f"{file.name}: {panel}: {expression}"
                    monitors.until(lambda expression=expression: monitors.query(url, expression), asked)


@pytest.fixture
def shadowed(tmp_path: Path) -> Iterator[tuple[httpx.Client, str]]:
    """Give a client of a champion whose requests a challenger gets copies of, and where its metrics are told."""
    for name, seed in (("a", 3), ("b", 4)):
        served_model.train(tmp_path / "bundles" / name, seed)
    champion, challenger = served_model.pointer(tmp_path, 1), served_model.pointer(tmp_path, 2, "b")
    with (
        served_model.listening() as first,
        served_model.listening() as second,
        served_model.listening() as metrics,
        ServerProcess(champion, first, place=(str(tmp_path), ""), metrics=metrics) as one,
        ServerProcess(challenger, second, place=(str(tmp_path), "challenger")) as other,
        httpx.Client(base_url=url_of(first)) as client,
    ):
        assert one.report(STARTUP_SECONDS) == other.report(STARTUP_SECONDS) == ""
        plan = RolloutPlan(
            fence=1,
            begun=NOW,
            mode="shadow",
            share=1,
            champion="1",
            challenger="2",
            url=url_of(second),
            salt="a salt of it",
        )
        ServingFolder(tmp_path, served_model.MODEL).write_plan(plan)
        yield client, url_of(metrics).removeprefix("http://")


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_every_panel_of_rollouts_and_servers_has_numbers_while_a_rollout_goes_on(
    exporter: str, shadowed: tuple[httpx.Client, str], tmp_path: Path
) -> None:
    client, metrics = shadowed
    rows = served_model.records(served_model.make_rows(20))

    def numbers(prometheus: str, expression: str) -> bool:
        client.post("/invocations", json={"dataframe_records": rows}).raise_for_status()
        return any(not math.isnan(float(each["value"][1])) for each in monitors.query(prometheus, expression))

    with monitors.prometheus(tmp_path, {"continuous-training": exporter, "serving": metrics}) as url:
        for file in DASHBOARDS:
            if file.stem in ("rollout", "server"):
                for panel, asked in expressions(file):
                    monitors.until(lambda asked=asked: numbers(url, asked), f"{file.name}: {panel}: {asked}")
        differing, compared = (
            float(monitors.query(url, f"ct_router_{name}_total")[0]["value"][1]) for name in ("differing", "compared")
        )
        arms = {
            each["metric"]["arm"]: each["metric"]["version"]
            for each in monitors.query(url, "ct:router_requests:rate5m")
        }
    assert compared >= differing > 0
    assert arms == {"champion": "1", "shadow": "2"}


def test_it_is_pushed_to_a_pushgateway_once_and_what_was_pushed_before_is_replaced(home: Path, tmp_path: Path) -> None:
    with monitors.pushgateway(tmp_path) as url:
        for _ in range(2):
            subprocess.run(ct(home, "--push", url), env=surroundings(home), check=True)
        told = httpx.get(f"{url}/metrics").text
    assert [
        line for line in told.splitlines() if line.startswith('ct_model_fence{instance="",job="continuous_training"')
    ]
    assert (
        len([line for line in told.splitlines() if line.startswith("ct_model_fence{") and 'model="other"' in line]) == 1
    )


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--push", "file:///etc"), 2, "no Pushgateway"),
        (("--push", "http://me:secret@127.0.0.1:9"), 7, "did not take the metrics"),
        (("--listen", "here"), 2, "no place to listen on"),
        (("--listen", "127.0.0.1:99999"), 2, "no place to listen on"),
    ],
)
def test_a_wrong_place_is_said_and_no_password_shown(
    home: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    ended = subprocess.run(ct(home, *arguments), env=surroundings(home), capture_output=True, text=True, check=False)
    assert (ended.returncode, told in ended.stderr, "secret" in ended.stderr) == (code, True, False), ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("file", ["rules_test.yml", "rules_long_test.yml"])
def test_every_rule_fires_when_it_should_and_not_before(file: str) -> None:
    ended = subprocess.run(
        [monitors.program("promtool"), "test", "rules", HERE / file], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_has_a_test() -> None:
    alerts = re.findall(r"alert: (\w+)", (monitors.MONITORING / "rules.yml").read_text())
    tested = "".join((HERE / file).read_text() for file in ("rules_test.yml", "rules_long_test.yml"))
    assert [name for name in alerts if f"alertname: {name}\n        exp_alerts:\n" not in tested] == []


def test_the_configurations_of_prometheus_and_alertmanager_are_valid() -> None:
    told = subprocess.run(
        [monitors.program("amtool"), "check-config", monitors.MONITORING / "alertmanager.yml"], check=False
    )
    assert told.returncode == 0


def test_the_dashboards_are_those_of_the_list() -> None:
    made = runpy.run_path(str(monitors.MONITORING / "dashboards.py"))["written"]()
    assert {file.name: file.read_text() for file in DASHBOARDS} == made


def expressions(file: Path) -> list[tuple[str, str]]:
    """Return each panel's queries, for all models."""
    return [
        (panel["title"], target["expr"].replace("$model", ".*"))
        for panel in json.loads(file.read_text())["panels"]
        for target in panel["targets"]
    ]
