"""LightGBM's data-parallel training on the workers of a Dask cluster.

`lightgbm.dask` is not used: it numbers the workers in another order each time, and as each of them bins some of the
columns for all, the same rows give another model. Dask starts the workers, carries the rows and calls `_grow` on each;
between them LightGBM talks over its own sockets, as its distributed mode does.
"""

from __future__ import annotations

import logging
import re
import socket
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle, pairwise
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import dask
import lightgbm as lgb
import numpy as np
from distributed import Client, Future, LocalCluster, Lock
from distributed.security import Security

from continuous_training.core.errors import ClusterUnavailable, DataInvalid
from continuous_training.trainers import _lightgbm
from continuous_training.trainers._search import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from continuous_training.trainers._search import Parameters
    from continuous_training.trainers.base import Fitted, TrainingData
    from continuous_training.trainers.dask import Dask
    from continuous_training.trainers.lightgbm import LightGBM

T = TypeVar("T")
U = TypeVar("U")

CONNECT = 60
"""Seconds to wait for the scheduler, and for its workers."""
BLOCK = 50_000
"""Most rows that the training step sends at once."""
FEWEST = 100
"""Rows that each worker must have; it bins columns for the others by what it sees."""
FEWEST_TURNS = 4
"""Blocks that each worker has at least."""
SILENT = 10
"""Minutes after which LightGBM gives up a worker that says nothing."""
_ALONE = {"num_machines": 1, "local_listen_port": 12400, "time_out": 120, "machines": "", "tree_learner": "serial"}

Grown = tuple[bytes, int, dict[str, float]]
"""A model's text, its rounds, and the metric of the tune rows."""


def fit(
    engine: Dask, trainer: LightGBM, data: TrainingData, *, seed: int, trials: int | None, warm_start: Parameters | None
) -> Fitted:
    """Return the best model of the search, each of its trials trained by all workers."""
    rows = len(data.y_train)
    if rows < FEWEST * engine.workers:
        msg = (
            f"{rows} train rows are too few for {engine.workers} workers, each needs {FEWEST}; ask for fewer workers or use "
            "a longer reference window; a retry gives the same"
        )
        raise DataInvalid(msg)
    settings = _lightgbm.all_settings(trainer, data.classes, seed)
    assert engine.scheduler is not None
    with _connected(engine.scheduler, engine.workers) as (client, workers), _lightgbm.refusals():
        shares, tune = _spread(client, workers, data)

        task = Task({}, _lightgbm.columns(data), trainer.rounds, trainer.patience)

        def evaluate(parameters: Parameters) -> Attempt:
            text, rounds, values = _together(client, shares, tune, replace(task, parameters=settings | parameters))
            if not values:
                return Attempt(float("nan"), lambda: text, {"rounds": rounds})
            [(name, value)] = values.items()
            score = -value if name in _lightgbm.HIGHER_IS_BETTER else value
            return Attempt(score, lambda: text, {"rounds": rounds}, values)

        return _lightgbm.search(trainer, data, evaluate, seed=seed, trials=trials, warm_start=warm_start)


def map_over(engine: Dask, function: Callable[[T], U], arguments: Sequence[T]) -> Iterator[U]:
    """Yield the results in order; a worker does one at a time, and no more wait here than there are workers."""
    assert engine.scheduler is not None
    with _connected(engine.scheduler, engine.workers) as (client, _):
        waiting: deque[Future] = deque()
        for argument in arguments:
            waiting.append(client.submit(function, argument, pure=False))
            if len(waiting) > engine.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def started(count: int) -> Iterator[str]:
    """Give the address of a scheduler with workers on this machine; both end with it.

    Whoever reaches a scheduler can run code on its workers: it listens on the loopback address, and TLS with keys that
    are made here and never stored keeps other users of the machine out.

    Raises
    ------
    ClusterUnavailable
        The workers do not start.
    """
    security = Security.temporary()
    with (
        TemporaryDirectory(prefix="ct-dask-", ignore_cleanup_errors=True) as folder,
        # Else Dask takes a folder for scratch that it leaves to the machine, and imports modules from.
        dask.config.set({"temporary-directory": folder}),
    ):
        try:
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # without one its port is 8787, which may be taken
                scheduler_kwargs={"dashboard": False},
                memory_limit=None,  # the machine's or the pod's
                security=security,
            )
        except (OSError, RuntimeError, TimeoutError) as error:
            msg = f"{count} Dask workers did not start on this machine: {error}; ask for fewer workers; a retry may succeed"
            raise ClusterUnavailable(msg) from error
        keys = {
            "distributed.comm.tls.ca-file": security.tls_ca_file,
            "distributed.comm.tls.client.cert": security.tls_client_cert,
            "distributed.comm.tls.client.key": security.tls_client_key,
        }
        with cluster, dask.config.set(keys):
            yield cluster.scheduler_address


@contextmanager
def _connected(address: str, count: int) -> Iterator[tuple[Client, list[str]]]:
    """Give a client of a scheduler and the addresses of the workers that train."""
    with ExitStack() as stack:
        try:
            client = stack.enter_context(Client(address, timeout=CONNECT))
            client.wait_for_workers(count, timeout=CONNECT)
        except (OSError, TimeoutError) as error:
            msg = (
                f"the Dask scheduler {address} did not give {count} workers within {CONNECT} seconds: {error}; start it, "
                "scale it up, or ask for fewer workers; a retry may succeed"
            )
            raise ClusterUnavailable(msg) from error
        workers = sorted(client.nthreads())[:count]
        try:
            yield client, workers
        except Exception as error:
            lost = _lost(client, workers)
            if lost is None:
                raise
            msg = (
                f"the Dask cluster {address} lost {lost} while it worked; its log says why, often too little memory for "
                "the rows: use more workers or larger ones; a retry does the step again"
            )
            raise ClusterUnavailable(msg) from error


def _lost(client: Client, workers: list[str]) -> str | None:
    """Return what went away meanwhile."""
    try:
        gone = set(workers) - set(client.nthreads())
    except (OSError, TimeoutError):
        return "its scheduler"
    return f"{len(gone)} of {len(workers)} workers" if gone else None


@dataclass(frozen=True)
class Share:
    """Rows that one worker holds, in blocks."""

    worker: str
    x: list[Future] = field(default_factory=list)
    y: list[Future] = field(default_factory=list)

    def take(self, client: Client, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Send one block; a matrix that is mapped from a file is read here, and only here."""
        for blocks, matrix in ((self.x, x), (self.y, y)):
            blocks.append(client.scatter(np.array(matrix), workers=[self.worker], direct=True, hash=False))


def _spread(client: Client, workers: list[str], data: TrainingData) -> tuple[list[Share], Share]:
    """Return the train rows, dealt out in turns so that each worker has rows of every time, and the tune rows of one."""
    rows = len(data.y_train)
    turns = max(FEWEST_TURNS, -(-rows // (BLOCK * len(workers))))
    edges = np.linspace(0, rows, turns * len(workers) + 1).astype(int)
    shares = [Share(worker) for worker in workers]
    for share, (start, stop) in zip(cycle(shares), pairwise(edges), strict=False):
        share.take(client, data.x_train[start:stop], data.y_train[start:stop])
    tune = Share(workers[0])
    for start in range(0, len(data.y_tune), BLOCK):
        tune.take(client, data.x_tune[start : start + BLOCK], data.y_tune[start : start + BLOCK])
    return shares, tune


@dataclass(frozen=True)
class Task:
    """What a worker is told beside its rows."""

    parameters: Parameters
    columns: dict[str, Any]
    rounds: int
    patience: int


def _together(client: Client, shares: list[Share], tune: Share, task: Task) -> Grown:
    """Let all workers grow one model and return what the first one says of it."""
    workers = [share.worker for share in shares]
    # Two trainings at once on the same workers would wait for each other for ever.
    with Lock("continuous-training"):
        ports = client.run(_free_port, workers=workers)
        machines = ",".join(f"{urlsplit(worker).hostname}:{ports[worker]}" for worker in workers)
        network = {"machines": machines, "num_machines": len(workers), "time_out": SILENT, "tree_learner": "data"}
        grown = [
            client.submit(
                _grow,
                replace(task, parameters=task.parameters | network | {"local_listen_port": ports[share.worker]}),
                (share.x, share.y),
                (tune.x, tune.y) if share.worker == tune.worker else ([], []),
                workers=[share.worker],
                pure=False,
            )
            for share in shares
        ]
        first: Grown = client.gather(grown)[0]
        return first


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        port: int = found.getsockname()[1]
        return port


def _grow(task: Task, train: tuple[list[Any], list[Any]], tune: tuple[list[Any], list[Any]]) -> Grown:
    """Grow a model together with the other workers, on the rows of this one.

    All workers must go on for as long, so the tune rows, which one of them has, only tell how many trees to keep.
    """
    lgb.register_logger(logging.getLogger(__name__))  # whoever started the workers may be read by a program
    rows = lgb.Dataset(list(train[0]), np.concatenate(train[1]), params=task.parameters, **task.columns)
    judged = [lgb.Dataset(list(tune[0]), np.concatenate(tune[1]), reference=rows)] if tune[0] else []
    course: dict[str, dict[str, list[float]]] = {}
    booster = lgb.train(
        task.parameters,
        rows,
        task.rounds,
        valid_sets=judged,
        valid_names=["tune"] * len(judged),
        callbacks=[lgb.record_evaluation(course)] if judged else [],
        keep_training_booster=True,
    )
    booster.free_network()
    if not judged:
        rounds = booster.current_iteration()
        return _plain(_lightgbm.text_of(booster, rounds)), rounds, {}
    [(name, values)] = course["tune"].items()
    rounds = stopped(values, task.patience, higher=name in _lightgbm.HIGHER_IS_BETTER)
    return _plain(_lightgbm.text_of(booster, rounds)), rounds, {name: float(values[rounds - 1])}


def stopped(values: Sequence[float], patience: int, *, higher: bool) -> int:
    """Return the number of trees that early stopping keeps, by the metric after each of them."""
    best = 0
    for number, value in enumerate(values):
        if (value > values[best]) if higher else (value < values[best]):
            best = number
        elif number - best >= patience:
            break
    return best + 1


def _plain(text: bytes) -> bytes:
    """Return the text without the addresses of those who grew it."""
    for name, usual in _ALONE.items():
        text = re.sub(rf"^\[{name}: .*\]$".encode(), f"[{name}: {usual}]".encode(), text, flags=re.MULTILINE)
    return text
