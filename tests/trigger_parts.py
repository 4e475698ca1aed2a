"""Triggers that repeat, race and die, and what they leave in the ledger; imported by the processes they start as well."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import small_deployment
import small_model
from continuous_training.cli import main as run_command_line
from continuous_training.cli import run as run_command
from continuous_training.core.decisions import Evidence, RetrainingReason
from continuous_training.core.digest import digest
from continuous_training.core.run import Request, Run, StepResult
from continuous_training.core.scores import DriftScore
from continuous_training.core.window import Window
from continuous_training.ledger import Ledger
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec
from continuous_training.steps.decide import decide, request_for
from continuous_training.steps.plan import plan
from ledger_parts import NOW, a_run, in_threads
from small_deployment import Deployment, day

ALARMS_DECIDE = {"kind": "signals"}
"""A policy that retrains on alarms; the one place where these tests say how it is written."""
SPEC = small_deployment.spec()
EPISODE = "drift:2024-02-10T00:00:00Z"
NOON = datetime(2024, 12, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Elsewhere(Deployment):
    """A deployment whose ledger has a URL of its own."""

    url: str

    @property
    def settings(self) -> Settings:
        return super().settings.model_copy(update={"ledger": self.url})


# Many triggers of one episode

REASONS = ("schedule", "drift", "performance", "feedback", "manual", "config")


def trigger(number: int) -> Request:
    """Return one of the ways in which the same retraining can be asked for: as a value, or as the extra of an asset event."""
    asked = Request(
        kind="train",
        reason=REASONS[number % len(REASONS)],
        text=f"trigger {number}",
        episode=EPISODE,
        as_of=day(41 + number % 3) if number % 2 else None,
        force=number % 5 == 0,
    )
    return Request.model_validate(json.loads(asked.model_dump_json())) if number % 7 == 0 else asked


def ask(deployment: Deployment, number: int) -> Run:
    """Plan the run of one trigger, as `ct step plan` does."""
    return plan(SPEC, trigger(number), deployment.settings, now=NOON + timedelta(seconds=number))


def planned(deployment: Deployment, number: int) -> str:
    """Plan the run of one trigger and return its key."""
    return ask(deployment, number).key


def begun(deployment: Elsewhere, number: int) -> str:
    """Begin the run of one episode for the reason of one trigger, and return what the ledger called it."""
    reason = RetrainingReason(kind=trigger(number).reason, text=f"trigger {number}", episode=EPISODE)
    return (
        "new" if opened(deployment.url).begin_run(a_run(1).model_copy(update={"reason": reason}), now=NOON) else "known"
    )


opened = cache(Ledger)


def rival_process(
    verb: Callable[[Elsewhere, int], str], deployment: Elsewhere, first: int, threads: int, each: int
) -> Counter[str]:
    """Count what the triggers of all threads of one process were told."""

    def some(thread: int) -> list[str]:
        numbers = range(first + thread * each, first + (thread + 1) * each)
        return [verb(deployment, number) for number in numbers]

    return Counter(told for answers in in_threads(some, threads) for told in answers)


def race(
    verb: Callable[[Elsewhere, int], str], deployment: Elsewhere, *, processes: int, threads: int, each: int
) -> Counter[str]:
    """Count what the triggers of all threads of all processes were told."""
    firsts = range(0, processes * threads * each, threads * each)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        told = pool.map(rival_process, repeat(verb), repeat(deployment), firsts, repeat(threads), repeat(each))
        return sum(told, Counter())


def repeated(run: Run, ledger: Ledger, times: int) -> int:
    """Begin a run again and again for every reason, and return how often the ledger called it new."""
    reason = run.reason
    told = [run.model_copy(update={"reason": reason.model_copy(update={"kind": kind})}) for kind in REASONS]
    return sum(ledger.begin_run(told[number % len(told)], now=NOON) for number in range(times))


# A storm of alarms

ALARMS_A_DAY = 288
DAYS = 30
WINDOWS_A_DAY = int(os.environ.get("CT_TEST_WINDOWS_A_DAY", "12"))
GUARDED = small_deployment.spec(
    retraining={**ALARMS_DECIDE, "cooldown": "12 hours", "budget": {"runs": 4, "per": "7 days"}}
)


class Storm(NamedTuple):
    """What thirty days of alarms came to."""

    alarms: int
    began: int
    """How often a cause began while none was going on, counted beside the ledger."""
    asked: list[datetime]
    runs: int


def storm(ledger: Ledger, seed: int) -> Storm:
    """Decide on every window of thirty days full of alarms; each yes is delivered three times, every other one is promoted.

    Nine windows in ten alarm, each with many columns; calm spells of some hours come now and then.
    """
    chance = random.Random(seed)
    width = timedelta(days=1) / WINDOWS_A_DAY
    alarms, began, asked, going_on, calm = 0, 0, [], False, 0
    for number in range(DAYS * WINDOWS_A_DAY):
        calm = calm - 1 if calm else chance.choice([0] * 59 + [WINDOWS_A_DAY // 6])
        columns = 0 if calm else ALARMS_A_DAY // WINDOWS_A_DAY
        alarms += columns
        began += bool(columns) and not going_on
        going_on = bool(columns)
        request = settle(ledger, alarm(number, width, columns))
        if request is None:
            continue
        asked.append(request.as_of)
        for _ in range(3):
            run = begin(ledger, request)
        if len(asked) % 2 == 0:
            promote(ledger, run)
            going_on = False
    return Storm(alarms, began, asked, len(ledger.runs("m", limit=10_000)))


def alarm(number: int, width: timedelta, columns: int) -> Evidence:
    """Return the evidence of one window in which so many columns drifted, or none."""
    window = Window(start=day(0) + number * width, end=day(0) + (number + 1) * width)
    scores = tuple(
        DriftScore(
            detector="psi", column=f"c{column}", statistic=0.9 if columns else 0.01, measure="statistic", threshold=0.2,
            reference_rows=1000, current_rows=1000,
        )
        for column in range(max(columns, 1))
    )  # fmt: skip
    return Evidence(model="m", window=window, as_of=window.end, rows=1000, drift=scores)


def settle(ledger: Ledger, evidence: Evidence) -> Request | None:
    """Decide as the decide step does."""
    return request_for(decide(GUARDED, ledger, evidence, now=evidence.as_of))


def begin(ledger: Ledger, request: Request) -> Run:
    """Begin the run a request asks for, without looking at any rows."""
    reason = RetrainingReason(kind=request.reason, text=request.text, episode=request.episode)
    window = Window(start=request.as_of - timedelta(days=7), end=request.as_of)
    run = Run(
        model="m", kind="train", key=digest(request.episode), as_of=request.as_of, window=window, reason=reason,
        spec_digest=GUARDED.digest,
    )  # fmt: skip
    ledger.begin_run(run, now=request.as_of)
    return run


def promote(ledger: Ledger, run: Run) -> None:
    """Make the run's challenger the champion."""
    champion = ledger.champion("m")
    ledger.promote(
        "m", run_key=run.key, bundle="b" * 64, data_cutoff=run.window.end, fence_seen=champion.fence if champion else 0,
        reason="it drifted", verdict=None, now=run.as_of,
    )  # fmt: skip


def most_in(asked: list[datetime], stretch: timedelta) -> int:
    """Return the most moments that lie in any stretch of that length."""
    return max((sum(first <= other < first + stretch for other in asked) for first in asked), default=0)


# Processes that die between the decision and the run


def die(*_: object, **__: object) -> None:
    """End this process as a lost machine does."""
    os.kill(os.getpid(), signal.SIGKILL)


def dies_after(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Return the verb with a death behind it."""

    def once(*arguments: Any, **named: Any) -> None:
        verb(*arguments, **named)
        die()

    return once


def dies_in(step: str) -> None:
    """Let this process die in place of a step."""
    done = run_command.run_step
    run_command.run_step = lambda name, *rest: die() if name == step else done(name, *rest)


def the_decision_is_written() -> None:
    Ledger.record_decision = dies_after(Ledger.record_decision)


def the_decide_step_has_ended() -> None:
    run_command._retrain = die


def the_run_is_begun() -> None:
    Ledger.begin_run = dies_after(Ledger.begin_run)


def the_rows_are_collected() -> None:
    dies_in("validate")


def the_challenger_is_judged() -> None:
    dies_in("promote")


def nothing_happens() -> None:
    pass


DEATHS = {
    "the_decision_is_written": (0, 0),
    "the_decide_step_has_ended": (0, 0),
    "the_run_is_begun": (1, 0),
    "the_rows_are_collected": (1, 0),
    "the_challenger_is_judged": (1, 1),
}
"""Each moment of death, with the runs that have begun and the challengers that are trained by then."""


def watch(model: str, then: Callable[[], None]) -> bool:
    """Do `ct run watch` in a forked process that dies at one moment, and tell whether it did.

    Its promotion is left out: those that are killed have a test of their own, and they need MLflow.
    """
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)  # what is printed is the report of the parent
        run_command.run_step = without_promotion(run_command.run_step)
        then()
        code = 1
        with contextlib.suppress(BaseException):  # the child must not go on as its parent
            code = run_command_line(["run", "watch", model, "--json"])
        os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in {0, -signal.SIGKILL}:
        raise AssertionError(status)
    return status != 0


def without_promotion(done: Callable[..., StepResult]) -> Callable[..., StepResult]:
    """Return `run_step` with a promote step that ends the run as promoted and promotes nothing."""

    def step(name: str, spec: ModelSpec, run: Run, settings: Settings) -> StepResult:
        if name != "promote":
            return done(name, spec, run, settings)
        Ledger(settings.ledger).finish_run(run.key, "dry_run", "not promoted here", now=NOW)
        return StepResult(step=name, key=run.key, facts={"outcome": "dry_run"})

    return step


def put_a_champion(deployment: Deployment, model: str) -> None:
    """Train a first champion of the model and put it into the ledger."""
    (deployment.home / "models").mkdir(exist_ok=True)
    document = small_model.document(model, trainer=small_deployment.TRAINER, retraining=ALARMS_DECIDE)
    (deployment.home / "models" / f"{model}.yaml").write_text(json.dumps(document))
    run, results = deployment.train(small_deployment.spec(model=model, retraining=ALARMS_DECIDE), until="evaluate")
    made = {"run_key": run.key, "bundle": results["train"].outputs["bundle"], "data_cutoff": run.window.end}
    deployment.ledger.promote(model, **made, fence_seen=0, reason="first", verdict=None, now=NOW)
    deployment.ledger.finish_run(run.key, "promoted", "", now=NOW)


def kill_everywhere(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """Let a watch die at each moment, do it again twice, and tell what is left each time."""
    for model in DEATHS:
        put_a_champion(deployment, model)
    deployment.land(55, drift_after=40)
    told = {}
    for model in DEATHS:
        died, seen = watch(model, globals()[model]), [left(deployment, model)]
        for _ in range(2):
            watch(model, nothing_happens)
            seen.append(left(deployment, model))
        told[model] = {"died": died, "left": seen}
    return told


def left(deployment: Deployment, model: str) -> list[int]:
    """Return how many yes, runs because of them, trained challengers and ended runs there are."""
    ledger = deployment.ledger
    runs = [record for record in ledger.runs(model) if record.run.reason.kind == "drift"]
    trained = [record for record in runs if deployment.store.read_manifest(record.run.key, "train")]
    asked = [record for record in ledger.decisions(model) if record.decision.answer == "yes"]
    return [len(asked), len(runs), len(trained), sum(record.outcome is not None for record in runs)]


def problems_after_deaths(home: Path, url: str) -> list[str]:
    """Let watches die in a process that forks, and return every way in which one yes did not become one run."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CT_", "MLFLOW_"))}
    clean |= {"OMP_NUM_THREADS": "1"}  # OpenMP waits for ever in a fork of a process that had its threads
    command = [sys.executable, __file__, str(home), url]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise AssertionError(done.stderr)
    found = []
    for death, told in json.loads(done.stdout).items():
        dead, *restarted = told["left"]
        rules = {
            "the process did not die": told["died"],
            "the yes was not written before the death": dead[0] == 1,
            "a run ended before the death": dead[3] == 0,
            "the death came at another moment": tuple(dead[1:3]) == DEATHS[death],
            "the restarts did not make it one yes, one run, one challenger, one end": restarted == [[1, 1, 1, 1]] * 2,
        }
        found += [f"{death}: {broken} {told}" for broken, holds in rules.items() if not holds]
    return found


if __name__ == "__main__":  # forks, so it runs in a process that never had a second thread
    home, url = sys.argv[1:]
    deployment = Elsewhere(Path(home), url)
    os.environ |= deployment.settings.to_environment()
    deployment.land(45)
    json.dump(kill_everywhere(deployment), sys.stdout)
