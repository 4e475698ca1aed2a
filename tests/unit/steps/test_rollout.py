"""A challenger meets real requests beside the champion: real servers, real clients, and the ledger's word at each step."""

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import small_deployment
from continuous_training.core.errors import Conflict, UsageError
from continuous_training.core.prediction_log import LogPolicy, log_folder
from continuous_training.core.rollout import RolloutVerdict
from continuous_training.core.run import Run
from continuous_training.deployers import Local
from continuous_training.deployers.base import Release
from continuous_training.deployers.handover import CHALLENGER, ServingFolder
from continuous_training.deployers.local import served, stop
from continuous_training.serving.app import Answered
from continuous_training.serving.predictions import PredictionLog
from continuous_training.steps.reconcile import reconcile
from continuous_training.steps.rollout import stop as stop_rollout
from small_deployment import Deployment, day

STEPS = [{"shadow": "100%", "bake": "1 second"}, {"canary": "40%", "bake": "1 second"}]
ROLLOUT = {"steps": STEPS, "requests": 150, "at_most": "10 minutes", "guards": {"errors": {"margin": 0.1}}}


def model(**rollout: Any) -> Any:
    return small_deployment.spec(
        deployment={"kind": "local", "log": {}},
        rollout=ROLLOUT | rollout,
        promotion={"metric": "roc_auc", "rows": 100, "resamples": 100, "margin": -1.0},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Deployment, Run]:
    """Give a deployment with a champion, and a run whose challenger passed the gate; nobody may change it."""
    deployment = Deployment(tmp_path_factory.mktemp("trained") / "home")
    deployment.land(60)
    spec = model()
    _, results = deployment.train(spec, until="promote", as_of=day(45))
    assert results["promote"].facts["outcome"] == "promoted"
    run = deployment.plan(spec, as_of=day(56))
    deployment.steps(spec, run, "collect", "validate", "prepare", "train", "evaluate")
    return deployment, run


@pytest.fixture
def rolling(trained: tuple[Deployment, Run], tmp_path: Path) -> Iterator[tuple[Deployment, Run]]:
    """Give a copy whose champion serves."""
    deployment, run = trained[0].copy(tmp_path / "home"), trained[1]
    deployment.step("deploy", model(), run)
    yield deployment, run
    stop("m", deployment.home)


@contextlib.contextmanager
def clients(deployment: Deployment, seen: Counter[str]) -> Iterator[None]:
    """Send requests until the block ends, and count which version answered, and what did not."""
    status = served("m", deployment.home)
    assert status is not None
    ended = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=status["url"], timeout=20) as client:
            number = 0
            while not ended.is_set():
                number += 1
                rows = [{"wind": number % 7 / 3, "carrier": "ab"[number % 2]}]
                answer = client.post("/invocations", json={"dataframe_records": rows})
                seen[answer.headers.get("ct-version", "?") if answer.is_success else f"HTTP {answer.status_code}"] += 1

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def looked(deployment: Deployment, spec: Any, run: Run, until: str) -> dict[str, Any]:
    """Look until the rollout says `until`, or has ended; each look is a step's, as a worker does it."""
    told = threading.Event()
    for _ in range(600):
        facts = deployment.step("rollout", spec, run).facts
        if facts["answer"] != "watch" or f"step {facts['step']}" == until:
            return facts
        told.wait(0.2)
    raise TimeoutError(str(facts))


def test_a_good_challenger_passes_shadow_and_canary_is_promoted_and_no_request_fails(
    rolling: tuple[Deployment, Run],
) -> None:
    deployment, run = rolling
    seen: Counter[str] = Counter()
    spec, challenger = model(), f"2.{run.key[:8]}"
    with clients(deployment, seen):
        facts = looked(deployment, spec, run, "step 1")
        assert facts["step"] == 1, deployment.ledger.rollout("m")
        facts = looked(deployment, spec, run, "end")
        assert facts["answer"] == "promote", facts
        assert deployment.step("promote", spec, run).facts["outcome"] == "promoted"
        deployment.step("deploy", spec, run)
    assert set(seen) <= {"1", "2", challenger}, ServingFolder(deployment.home, "m").log.read_text()
    assert seen["1"]
    assert seen["2"]
    assert seen[challenger] >= 100
    record = deployment.ledger.rollout("m")
    assert record is not None
    assert (record.run_key, record.answer, record.step) == (run.key, "promote", 1)
    assert record.counts is not None
    assert record.counts.challenger.requests >= 150
    assert ServingFolder(deployment.home, "m").read_plan() is None
    assert ServingFolder(deployment.home, "m", CHALLENGER).supervisor() is None
    assert deployment.ledger.verify() == []


def test_a_challenger_that_fails_is_rejected_and_no_client_notices(rolling: tuple[Deployment, Run]) -> None:
    deployment, run = rolling
    seen: Counter[str] = Counter()
    spec = model(steps=[{"canary": "50%", "bake": "1 second"}], requests=2000, guards={"errors": {"margin": 0.01}})
    with clients(deployment, seen):
        assert looked(deployment, spec, run, "step 0")["answer"] == "watch"
        supervisor = ServingFolder(deployment.home, "m", CHALLENGER).supervisor()
        assert supervisor
        os.kill(supervisor, signal.SIGSTOP)  # its servers, which are asked, hang with it
        for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        folder = ServingFolder(deployment.home, "m")
        plan = folder.read_plan()
        assert plan
        for _ in range(600):
            counts = folder.read_counts(plan)
            if counts.challenger.errors > 60:
                break
            threading.Event().wait(0.1)
        os.kill(supervisor, signal.SIGCONT)
        facts = looked(deployment, spec, run, "end")
    assert facts["answer"] == "reject", facts
    assert "failed requests" in facts["text"]
    assert not [name for name in seen if name.startswith("HTTP")], seen
    promoted = deployment.step("promote", spec, run).facts
    assert promoted["outcome"] == "kept"
    champion = deployment.ledger.champion("m")
    assert champion is not None
    assert champion.fence == 1
    assert served("m", deployment.home)["version"] == "1"  # type: ignore[index]


def test_a_look_that_was_killed_anywhere_is_done_again(rolling: tuple[Deployment, Run], monkeypatch: Any) -> None:
    deployment, run = rolling
    spec = model()

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    local = type(spec.deployment)
    for verb in ("introduce", "route", "counts"):
        with monkeypatch.context() as patch:
            patch.setattr(local, verb, killed)
            with pytest.raises(KeyboardInterrupt):
                deployment.step("rollout", spec, run)
    assert deployment.step("rollout", spec, run).facts["answer"] == "watch"
    assert ServingFolder(deployment.home, "m").read_plan()


def test_an_end_whose_look_was_killed_is_carried_out_by_reconcile(rolling: tuple[Deployment, Run]) -> None:
    deployment, run = rolling
    spec = model()
    deployment.step("rollout", spec, run)
    reconcile(spec, deployment.settings)
    folder = ServingFolder(deployment.home, "m")
    assert folder.read_plan(), "one that goes on is left alone"
    verdict = RolloutVerdict(answer="reject", step=0, text="killed here")
    deployment.ledger.move_rollout("m", run.key, verdict, None, now=deployment.ledger.rollout("m").started)  # type: ignore[union-attr]
    reconcile(spec, deployment.settings)
    assert folder.read_plan() is None
    assert ServingFolder(deployment.home, "m", CHALLENGER).supervisor() is None


def test_a_champion_that_was_rolled_back_meanwhile_ends_it(rolling: tuple[Deployment, Run]) -> None:
    deployment, run = rolling
    spec = model()
    deployment.step("rollout", spec, run)
    champion = deployment.ledger.champion("m")
    assert champion
    again = {
        "bundle": champion.bundle,
        "data_cutoff": champion.data_cutoff,
        "reason": "by hand",
        "verdict": champion.verdict,
    }
    deployment.ledger.promote("m", run_key="f" * 64, fence_seen=1, now=champion.promoted_at, **again)
    facts = deployment.step("rollout", spec, run).facts
    assert facts["answer"] == "reject"
    assert "serves no more" in facts["text"]


def test_somebody_may_stop_it_and_another_cannot_begin_beside_it(rolling: tuple[Deployment, Run]) -> None:
    deployment, run = rolling
    spec = model()
    with pytest.raises(UsageError, match="has not begun"):
        deployment.step("promote", spec, run)
    deployment.step("rollout", spec, run)
    with pytest.raises(UsageError, match="is in step 1"):
        deployment.step("promote", spec, run)
    now = deployment.ledger.rollout("m").started  # type: ignore[union-attr]
    with pytest.raises(Conflict, match="goes on"):
        deployment.ledger.begin_rollout("m", run_key="e" * 64, fence=1, bundle="b", version="2", now=now)
    record = stop_rollout(spec, deployment.settings, "too hot")
    assert record is not None
    assert record.text == "Stopped by hand: too hot"
    assert stop_rollout(spec, deployment.settings, "again") is None
    assert deployment.step("rollout", spec, run).facts["answer"] == "reject"
    late = RolloutVerdict(answer="promote", step=1, text="late")
    assert deployment.ledger.move_rollout("m", run.key, late, None, now=now).answer == "reject"
    assert deployment.step("promote", spec, run).facts["outcome"] == "kept"


def test_a_first_champion_needs_no_rollout(deployment: Deployment) -> None:
    deployment.land(45)
    spec = model()
    run, _ = deployment.train(spec, until="evaluate")
    assert deployment.step("rollout", spec, run).facts["answer"] == "none"
    assert deployment.step("promote", spec, run).facts["outcome"] == "promoted"


def test_logged_requests_reject_a_challenger_before_a_client_meets_it_where_the_log_keeps_them_whole(
    rolling: tuple[Deployment, Run],
) -> None:
    deployment, run = rolling
    champion = Release(model="m", version="1", fence=1, bundle="b")
    log = PredictionLog(log_folder(deployment.home, "m"), champion, LogPolicy())
    for number in range(300):  # as a champion of another schema has answered them
        log.record(Answered(str(number), {"wind": ["strong"], "carrier": ["a"]}, [0.5], "1"))
    log.close()
    spec = model()
    hidden = spec.model_copy(update={"deployment": Local(log=LogPolicy(hash=("carrier",)))})
    other = deployment.copy(deployment.home.parent / "other")
    assert other.step("rollout", hidden, run).facts["answer"] == "watch"
    stop_rollout(hidden, other.settings, "seen enough")
    facts = deployment.step("rollout", spec, run).facts
    assert facts["answer"] == "reject", facts
    assert "before any client met it: on logged requests, failed requests: 300 of 300" in facts["text"]
