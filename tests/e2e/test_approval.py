"""People approve and reject challengers from the page Models, on a real Airflow: who said what and why is kept."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import yaml
from playwright.sync_api import Locator, expect

import small_model
from browser import Browser, browser, pictures
from continuous_training.cli import main
from continuous_training.ledger import Ledger, RunRecord
from continuous_training.settings import Settings
from services import ROOT, Airflow, Services, wait_until

pytestmark = pytest.mark.e2e
HOSTILE = "<img src=x onerror=alert(1)> **b** `c` | [d](javascript:alert(2))"
SECONDS = 240.0


class Approvals(Services):
    """Airflow with two people: `admin` approves the models `m` and `o`, `ann` the model `n`."""

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,ann:op"}

    @property
    def ledger(self) -> Ledger:
        return Ledger(Settings.from_environment().ledger)

    def answer_as_ann(self, run: str, chosen: str, why: str) -> None:
        generated = self.home / "airflow" / "simple_auth_manager_passwords.json.generated"
        login = {"username": "ann", "password": json.loads(generated.read_text())["ann"]}
        token = httpx.post(f"{self.airflow_url}/auth/token", json=login).raise_for_status().json()["access_token"]
        at = (
            f"{self.airflow_url}/api/v2/dags/n.train/dagRuns/{quote(run, safe='')}/taskInstances/approve/-1/hitlDetails"
        )
        answer = {"chosen_options": [chosen], "params_input": {"why": why}}
        httpx.patch(at, json=answer, headers={"Authorization": f"Bearer {token}"}).raise_for_status()


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Approvals]:
    kept = dict(os.environ)
    home = tmp_path_factory.mktemp("approvals")
    dags, models = home / "dags", home / "written"
    dags.mkdir()
    models.mkdir()
    shutil.copy(ROOT / "dags" / "continuous_training.py", dags)
    for name, approver in (("m", "admin"), ("n", "ann"), ("o", "admin")):
        approval = {"when": "always", "approvers": [approver]}
        document = small_model.document(name, promotion={"metric": "roc_auc", "rows": 100, "approval": approval})
        (models / f"{name}.yaml").write_text(yaml.safe_dump(document))
    small_model.land(home, days=45)
    with Approvals(home, model_files=models, dags=dags) as started:
        yield started
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(scope="module")
def airflow(services: Approvals) -> Airflow:
    client = services.airflow()
    for model in ("m", "n", "o"):
        wait_until(lambda model=model: client.dag_exists(f"{model}.train"), f"{model}.train parsed", 90)
        client.unpause(f"{model}.train")
    return client


@pytest.fixture(scope="module")
def chromium(services: Approvals) -> Iterator[Browser]:
    with browser(services.airflow_url) as opened:
        opened.log_in(services.password)
        opened.problems.clear()
        yield opened


def asked(airflow: Airflow, model: str, reason: str) -> str:
    """Ask for a training and return its DAG run once a person is asked."""
    answer = airflow.trigger(f"{model}.train", {"reason": reason}).raise_for_status()
    run: str = answer.json()["dag_run_id"]

    def waits() -> bool:
        tasks = airflow.tasks(f"{model}.train", run)
        assert not [task for task in tasks.values() if task["state"] == "failed"]
        return bool(tasks["approve"]["state"] == "awaiting_input")

    wait_until(waits, f"the question of {model}", SECONDS)
    return run


def dialog(chromium: Browser, model: str) -> Locator:
    """Return the dialog in which a person answers."""
    page = chromium.open("/plugin/models", "Models")
    page.get_by_role("button", name=f"Approve {model}").click()
    shown = chromium.page.get_by_role("dialog")
    expect(shown).to_contain_text(f"Promote the challenger of {model}?")
    return shown


def ended(services: Approvals, airflow: Airflow, model: str, run: str) -> RunRecord:
    """Return the run in the ledger once its DAG run has ended."""
    at = f"/dags/{model}.train/dagRuns/{quote(run, safe='')}"
    state = wait_until(lambda: (now := airflow.get(at)["state"]) in {"success", "failed"} and now, "its end", SECONDS)
    assert state == "success"
    return services.ledger.runs(model, 1)[0]


def decision(chromium: Browser, model: str, run: str) -> Any:
    return chromium.open(f"/dags/{model}.train/runs/{quote(run, safe='')}/plugin/decision", "Decision")


def test_a_rejection_needs_a_choice_and_a_reason_and_keeps_the_challenger_from_serving(
    services: Approvals, airflow: Airflow, chromium: Browser, tmp_path: Path
) -> None:
    run = asked(airflow, "m", HOSTILE)
    asking = dialog(chromium, "m")
    expect(asking.get_by_role("row").filter(has_text="roc_auc")).to_have_count(1)
    expect(asking).to_contain_text("<img src=x onerror=alert(1)> **b** 'c' ¦ [d](javascript:alert(2))")
    assert asking.locator("img, a[href^=javascript]").count() == 0
    expect(asking).to_contain_text("Who may answer: admin")
    expect(asking.get_by_role("button", name="Answer")).to_be_disabled()
    asking.get_by_label("Reject").check()
    confirm = asking.get_by_role("button", name="Reject the challenger of m")
    expect(confirm).to_be_disabled()
    asking.get_by_label("Reason").fill("it has hardly seen any rows")
    chromium.keep(pictures(tmp_path), "approve-light")
    confirm.click()
    expect(asking).to_contain_text("Answered: open the run")
    record = ended(services, airflow, "m", run)
    assert (record.outcome, record.text) == ("kept", "rejected by admin: it has hardly seen any rows")
    assert services.ledger.champion("m") is None
    page = decision(chromium, "m", run)
    expect(page.get_by_role("heading", name="What a person said")).to_be_visible()
    expect(page).to_contain_text("rejected by admin: it has hardly seen any rows")
    assert airflow.tasks("m.train", run)["deploy"]["state"] == "skipped"
    assert chromium.problems == []


def test_an_approval_promotes_and_stands_in_the_ledger_with_its_reason(
    services: Approvals, airflow: Airflow, chromium: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    run = asked(airflow, "o", "newer rows")
    asking = dialog(chromium, "o")
    asking.get_by_label("Approve", exact=True).check()
    asking.get_by_label("Reason").fill("good on every slice")
    asking.get_by_role("button", name="Approve the challenger of o").click()
    expect(asking).to_contain_text("Answered: open the run")
    record = ended(services, airflow, "o", run)
    champion = services.ledger.champion("o")
    assert record.outcome == "promoted"
    assert (champion.run_key, champion.reason) == (
        record.run.key,
        "newer rows (approved by admin: good on every slice)",
    )
    expect(decision(chromium, "o", run)).to_contain_text("approved by admin: good on every slice")
    assert main(("explain", record.run.key[:12])) == 0
    assert "approved by admin: good on every slice" in capsys.readouterr().out
    page = chromium.open("/plugin/models", "Models")
    button = page.get_by_role("button", name="Approve o")
    button.click()
    expect(chromium.page.get_by_role("dialog")).to_contain_text("Nothing waits for a person now.")
    chromium.page.keyboard.press("Escape")
    expect(button).to_be_focused()
    assert chromium.problems == []


def test_whoever_may_not_answer_and_whoever_comes_late_are_told_so(
    services: Approvals, airflow: Airflow, chromium: Browser
) -> None:
    run = asked(airflow, "n", "for ann")
    asking = dialog(chromium, "n")
    asking.get_by_label("Approve", exact=True).check()
    asking.get_by_label("Reason").fill("I would")
    confirm = asking.get_by_role("button", name="Approve the challenger of n")
    confirm.click()
    expect(asking).to_contain_text("Only ann may answer: the model file names who approves.")
    assert services.ledger.champion("n") is None
    services.answer_as_ann(run, "Approve", "seen it")
    confirm.click()
    expect(asking).to_contain_text("Already answered. ann: Approve. Your answer was not taken.")
    ended(services, airflow, "n", run)
    assert services.ledger.champion("n").reason == "for ann (approved by ann: seen it)"
    # the browser itself writes down every answer that is not 200
    assert [each for each in chromium.problems if "403" not in each and "409" not in each] == []
    chromium.problems.clear()
