"""Values, rivals and victims for the tests of the ledger; imported by the processes they start as well."""

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from continuous_training.core.decisions import (
    Evidence,
    GateVerdict,
    Outcome,
    ReasonKind,
    RetrainingDecision,
    RetrainingReason,
    Rule,
    Signal,
)
from continuous_training.core.errors import Conflict
from continuous_training.core.run import Run
from continuous_training.core.window import Window
from continuous_training.ledger import Ledger, tables

_RUNS = 10**6  # from here on, numbers of rivals' runs: apart from others in the same database
NOW = datetime(2013, 6, 1, 12, tzinfo=UTC)
VERDICT = GateVerdict(
    outcome=Outcome.PASS, text="better", rules=(Rule(name="margin", outcome=Outcome.PASS, text="+0.01"),)
)


def moment(day: int) -> datetime:
    """Return a moment `day` days after 1 January 2013."""
    return datetime(2013, 1, 1, tzinfo=UTC) + timedelta(days=day)


def key(number: int) -> str:
    """Return the run key of this number."""
    return f"{number:064x}"


def promotion(number: int, *, seen: int, cutoff: int = 0) -> dict[str, Any]:
    """Return what `promote` is given for run `number`."""
    return {
        "run_key": key(number),
        "bundle": f"b{number:063x}",
        "data_cutoff": moment(cutoff),
        "fence_seen": seen,
        "reason": f"run {number}",
        "verdict": VERDICT,
        "now": NOW + timedelta(minutes=number % _RUNS),
    }


def a_run(
    number: int, model: str = "m", *, episode: str | None = None, kind: Literal["train", "watch"] = "train"
) -> Run:
    """Return a run whose `as_of` is day `number`."""
    reason = RetrainingReason(kind="drift", text="it drifted", episode=episode or f"episode {number}")
    day = number % _RUNS
    return Run(
        model=model,
        kind=kind,
        key=key(number),
        as_of=moment(day),
        window=Window(start=moment(day - 7), end=moment(day)),
        reason=reason if kind == "train" else None,
        spec_digest="d" * 64,
    )


def a_decision(
    day: int,
    model: str = "m",
    answer: Literal["yes", "no", "inconclusive"] = "no",
    kind: ReasonKind = "drift",
    episode: str | None = None,
) -> tuple[RetrainingDecision, Evidence]:
    """Return a decision on the week that ends on `day`, and its evidence."""
    window = Window(start=moment(day - 7), end=moment(day))
    reason = (
        RetrainingReason(kind=kind, text="because", episode=episode or f"{kind}:{day}") if answer == "yes" else None
    )
    signals = (Signal(name="ks", kind="drift", state="quiet", text=f"day {day}"),)
    told = {"model": model, "window": window, "as_of": moment(day + 1)}
    return (
        RetrainingDecision(**told, answer=answer, why=f"why {day}", reason=reason, signals=signals),
        Evidence(**told, rows=day + 1000),
    )


def dump(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""
    with ledger.read() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
            for table in tables.metadata.sorted_tables
        }


# Rivals: many threads in many processes that want the same thing.

RACE = "race"


def in_threads(rival: Callable[[int], Any], threads: int) -> list[Any]:
    """Return what the rivals 0, 1, ... report, each from its own thread, all let go at once."""
    gate = threading.Barrier(threads, timeout=60)

    def go(number: int) -> Any:
        gate.wait()
        return rival(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(go, range(threads)))


class Won(NamedTuple):
    """A promotion that went through."""

    seen: int
    fence: int


def promoters(ledger: Ledger, first: int, *, threads: int, rounds: int, cutoff: Callable[[int, int], int]) -> list[Won]:
    """Return the promotions won by threads that look at the champion, wait for each other and then all promote.

    `cutoff` gives the day on which the data of a thread's challenger ends in a round.
    """
    together = threading.Barrier(threads, timeout=60)

    def one(number: int) -> list[Won]:
        won = []
        for turn in range(rounds):
            champion = ledger.champion(RACE)
            seen = champion.fence if champion else 0
            together.wait()
            mine = promotion(first + number * rounds + turn, seen=seen, cutoff=cutoff(number, turn))
            with contextlib.suppress(Conflict):
                won.append(Won(seen, ledger.promote(RACE, **mine).fence))
        return won

    return [win for wins in in_threads(one, threads) for win in wins]


def violations(ledger: Ledger, won: list[Won]) -> list[str]:
    """Return every way in which the promotions won break the rules of promotion."""
    history = ledger.history(RACE)[::-1]
    cutoffs = [champion.data_cutoff for champion in history]
    rules = {
        "a fence that was seen won twice": len({win.seen for win in won}) == len(won),
        "a promotion did not follow what it saw": all(win.fence == win.seen + 1 for win in won),
        "fences are not 1, 2, 3, ...": [champion.fence for champion in history] == list(range(1, len(won) + 1)),
        "a cutoff went back": cutoffs == sorted(cutoffs),
        "the chain is broken": ledger.verify() == [],
    }
    return [broken for broken, holds in rules.items() if not holds]


class Reports(NamedTuple):
    """What the threads of all processes were told."""

    won: list[Won]
    begun: list[int]
    decided: list[tuple[int, int]]


def rival_promoters(url: str, number: int) -> list[Won]:
    """Promote from four threads, as every other process does."""
    first = _RUNS + 1000 * (number + 1)
    return promoters(Ledger(url), first, threads=4, rounds=5, cutoff=lambda thread, turn: turn + thread % 3)


def rival_beginners(url: str, _: int) -> list[int]:
    """Begin the same runs as every other process, from four threads."""
    ledger, runs = Ledger(url), [a_run(_RUNS + n, RACE) for n in range(12)]
    begun = in_threads(lambda _: [n for n, run in enumerate(runs) if ledger.begin_run(run, now=NOW)], 4)
    return [n for some in begun for n in some]


def rival_deciders(url: str, _: int) -> list[tuple[int, int]]:
    """Decide on the same windows as every other process, from four threads."""
    ledger, windows = Ledger(url), [a_decision(day, RACE, answer="yes") for day in range(8)]
    decided = in_threads(lambda _: [(n, ledger.record_decision(*w, now=NOW)) for n, w in enumerate(windows)], 4)
    return [pair for some in decided for pair in some]


def race(url: str, processes: int) -> Reports:
    """Return what the threads of all processes were told; they race for one thing after the other.

    A promotion ends episodes, so none may be on its way when they are opened.
    """
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:

        def told(rivals: Callable[[str, int], list[Any]]) -> list[Any]:
            return [one for some in pool.map(rivals, [url] * processes, range(processes)) for one in some]

        return Reports(*map(told, (rival_promoters, rival_beginners, rival_deciders)))


# Victims: processes that die in the middle of a transaction.

VERBS: dict[str, Callable[[Ledger], object]] = {
    "promote": lambda ledger: ledger.promote("m", **promotion(2, seen=1, cutoff=5)),
    "rollback": lambda ledger: ledger.rollback("n", reason="worse", now=NOW),
    "record_projection": lambda ledger: ledger.record_projection("m", 1, target="registry", value="7", now=NOW),
    "record_decision": lambda ledger: ledger.record_decision(
        *a_decision(30, "n", answer="yes"), now=NOW, opened={"feedback": "f"}, closed={"performance": "quiet"}
    ),
    "begin_run": lambda ledger: ledger.begin_run(a_run(9), now=NOW),
    "finish_run": lambda ledger: ledger.finish_run(key(9), "kept", "not better", now=NOW),
}


def prepare(ledger: Ledger) -> None:
    """Bring a ledger to where each of `VERBS` in turn has something to do."""
    ledger.begin_run(a_run(2), now=NOW)
    ledger.promote("m", **promotion(1, seen=0))
    for number in (3, 4):
        ledger.promote("n", **promotion(number, seen=number - 3))
    for model in ("m", "n"):
        ledger.record_decision(*a_decision(20, model, answer="yes", kind="performance"), now=NOW)


def die_after(statements: int) -> None:
    """End this process without a word once it has executed so many statements; a commit counts before it is done."""
    left = [statements]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)

    for event in ("after_cursor_execute", "commit"):
        sa.event.listen(sa.Engine, event, count)


def kill_everywhere(ledger: Ledger, verb: str) -> dict[str, Any]:
    """Let children die one statement later each time, until one lives to do the verb; tell what they left behind."""
    before = dump(ledger)
    torn, deaths = [], 0
    while True:
        child = os.fork()
        if child == 0:
            die_after(deaths + 1)
            VERBS[verb](ledger)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != 9:
            return {"deaths": deaths, "torn": torn, "status": status, "done": dump(ledger) != before}
        deaths += 1
        if dump(ledger) != before:
            torn.append(deaths)


if __name__ == "__main__":  # forks, so it runs in a process that never had a second thread
    ledger = Ledger(sys.argv[1])
    prepare(ledger)
    json.dump({verb: kill_everywhere(ledger, verb) for verb in VERBS}, sys.stdout)
