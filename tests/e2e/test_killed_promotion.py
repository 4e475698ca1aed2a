"""Promotions killed at random moments always end, when done again, with one version everywhere."""

import itertools
import os
import random
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from continuous_training.core.digest import digest
from continuous_training.core.run import ChampionRef, Request, Run
from continuous_training.deployers.base import Release
from continuous_training.deployers.handover import Pointer, ServingFolder
from continuous_training.ledger import Ledger
from continuous_training.registry import RUN_KEY, Registry
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec
from continuous_training.steps import TRAIN_STEPS, promote, run_step
from continuous_training.steps.context import Context
from continuous_training.steps.plan import plan
from continuous_training.storage import Store

KILLS = int(os.environ.get("CT_TEST_KILLS", "200"))
SEED = 20130301
UNHARMED = 3
MEASURED_EACH = 10
NOW = datetime(2024, 3, 1, tzinfo=UTC)
SPEC = ModelSpec.model_validate(
    {
        "model": "killed",
        "task": {"kind": "classification", "label": "y", "event_time": "t"},
        "features": {"numeric": ["a", "b"]},
        "source": {"kind": "parquet", "path": "{data}/rows"},
        "window": {"reference": "20 days", "current": "1 day", "every": "1 day"},
        "trainer": {"kind": "lightgbm", "rounds": 5},
        "promotion": {"metric": "roc_auc", "margin": -1.0, "rows": 100, "resamples": 100},
        "deployment": {"kind": "none"},
    }
)


class Promotions:
    """Runs that are ready to be promoted, and the promotion of one as a process that may die."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings.from_environment({"CT_HOME": str(home)})
        self.store = Store(self.settings.artefacts)
        self.ledger = Ledger(self.settings.ledger)
        self.registry = Registry(self.settings.registry)
        self.folder = ServingFolder(home, SPEC.model)
        numbers = np.random.default_rng(SEED)
        times = pd.date_range(NOW - timedelta(days=21), NOW + timedelta(hours=1), periods=2100)
        rows = pd.DataFrame({"a": numbers.normal(size=2100), "b": numbers.normal(size=2100), "t": times})
        rows["y"] = (rows["a"] + numbers.normal(size=2100) > 0).astype(float)
        place = home / "data" / "rows"
        place.mkdir(parents=True)
        rows.to_parquet(place / "part.parquet", index=False)
        self.first = plan(SPEC, Request(kind="train"), self.settings, now=NOW)
        for step in TRAIN_STEPS[: TRAIN_STEPS.index("promote")]:
            run_step(step, SPEC, self.first, self.settings)
        # To draw a card's pictures takes longer than all the rest of a promotion, and they are logged as the other reports are.
        evaluated = self.store.read_manifest(self.first.key, "evaluate")
        del evaluated["outputs"]["card"]
        self.store.write_manifest(self.first.key, "evaluate", evaluated)

    def ready(self, number: int) -> Run:
        """Return a new run whose work steps are done: the first one's results under its own key."""
        champion = self.ledger.champion(SPEC.model)
        seen = champion and ChampionRef.model_validate(champion.model_dump(include=set(ChampionRef.model_fields)))
        run = self.first.model_copy(update={"key": digest([self.first.key, number]), "champion": seen})
        self.ledger.begin_run(run, now=NOW)
        for step in TRAIN_STEPS[: TRAIN_STEPS.index("promote")]:
            self.store.write_manifest(run.key, step, self.store.read_manifest(self.first.key, step))
        return run

    def promote(self, run: Run) -> None:
        """Promote as the promote and deploy steps do; the pointer is what the deploy step leaves for good."""
        promote.do(Context(spec=SPEC, run=run, settings=self.settings, store=self.store))
        champion = self.ledger.champion(SPEC.model)
        release = Release(model=SPEC.model, version=champion.version, fence=champion.fence, bundle=champion.bundle)
        with self.folder.deploying():
            self.folder.write_pointer(Pointer(**release.model_dump(), folder=str(self.folder.path)))

    def problems(self, run: Run, number: int) -> list[str]:
        """Return every way in which ledger, alias and pointer are not the one version of `run`."""
        with self.registry._client() as client:
            versions = client.search_model_versions(f"name='{SPEC.model}' and tags.{RUN_KEY}='{run.key}'")
        champion, pointer = self.ledger.champion(SPEC.model), self.folder.read_pointer()
        found = {
            "the ledger names another run": champion.run_key != run.key,
            "the fence did not go up by one": champion.fence != number,
            "the registry has not exactly one version": len(versions) != 1,
            "the alias names another version": self.registry.aliases(SPEC.model)["champion"]
            != str(versions[0].version),
            "the pointer names another fence": pointer.fence != champion.fence,
            "the ledger's chain is broken": bool(self.ledger.verify()),
        }
        return [problem for problem, present in found.items() if present]


def in_process(work: Callable[[], None], kill_after: float | None = None) -> bool:
    """Do `work` in a forked process, kill it after that many seconds, and tell whether the kill came in time."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:  # the child must not return into pytest
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)  # the fault itself: a moment nobody chose
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    assert kill_after is not None or status == 0
    return os.WIFSIGNALED(status)


@pytest.fixture(scope="module")
def promotions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Promotions]:
    home = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        # MLflow is imported and its store opened once, here; no connection may be shared with the forked processes.
        patch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
        # Who is killed tidies nothing up: what it had begun is removed with the rest.
        (home / "tmp").mkdir()
        patch.setattr(tempfile, "tempdir", str(home / "tmp"))
        ready = Promotions(home)
        ready.promote(ready.ready(1))
        yield ready
    shutil.rmtree(home)


@pytest.mark.e2e
def test_a_promotion_killed_anywhere_converges_to_one_version(
    promotions: Promotions, capsys: pytest.CaptureFixture[str]
) -> None:
    def finish(run: Run, number: int, kill: int) -> None:
        promotions.promote(run)
        found = promotions.problems(run, number)
        if found:
            raise AssertionError(f"{found} after kill {kill + 1} of {KILLS}, seed {SEED}")

    moments, numbers = random.Random(SEED), itertools.count(2)
    seconds: deque[float] = deque(maxlen=UNHARMED)
    in_flight = 0
    for kill in range(-UNHARMED, KILLS):
        if kill < 0 or kill % MEASURED_EACH == 0:  # a machine that gets less to do is faster than it was
            run = promotions.ready(next(numbers))
            began = time.perf_counter()
            in_process(lambda run=run: promotions.promote(run))
            seconds.append(time.perf_counter() - began)
        if kill < 0:
            continue
        number = next(numbers)
        run = promotions.ready(number)
        moment = moments.uniform(0, min(seconds))
        in_flight += in_process(lambda run=run: promotions.promote(run), kill_after=moment)
        in_process(lambda run=run, number=number, kill=kill: finish(run, number, kill))
    with capsys.disabled():
        print(f"\n{in_flight} of {KILLS} kills hit a promotion in flight; 0 lost, 0 double, 0 torn")
    assert in_flight > KILLS / 4, "most kills came after the promotion had ended: they show nothing"
