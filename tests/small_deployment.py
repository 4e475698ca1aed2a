"""A whole deployment in one folder, run in this process: rows, store, ledger and registry, without Airflow."""

import dataclasses
import io
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import small_model
from continuous_training.core.run import Request, Run, StepResult
from continuous_training.ledger import Ledger
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec
from continuous_training.steps import TRAIN_STEPS, WATCH_STEPS, run_step
from continuous_training.steps.plan import plan
from continuous_training.storage import Store

NOW = datetime(2024, 12, 1, tzinfo=UTC)
TRAINER = {"kind": "lightgbm", "rounds": 8, "threads": 1, "tuning": {"trials": 0}}


def day(number: int) -> datetime:
    """Return the moment `number` days after the first row."""
    return small_model.START + timedelta(days=number)


def spec(**changes: Any) -> ModelSpec:
    """Return the small model, which trains even faster here."""
    return small_model.spec(**{"trainer": TRAINER, **changes})


@dataclasses.dataclass(frozen=True)
class Deployment:
    """One home folder and the verbs of a pipeline."""

    home: Path

    @property
    def settings(self) -> Settings:
        return Settings.from_environment({"CT_HOME": str(self.home), "CT_MODELS": str(self.home / "models")})

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.settings.ledger)

    @property
    def store(self) -> Store:
        return Store(self.settings.artefacts)

    def land(self, days: int, change: Callable[[pd.DataFrame], pd.DataFrame] | None = None, **drift: int) -> None:
        """Write the rows of the first days; `change` gets them all and returns what is written instead."""
        small_model.land(self.home, days=days, **drift)
        if change is not None:
            file = self.home / "data" / "rows" / "rows.parquet"
            change(pd.read_parquet(file)).to_parquet(file, index=False)

    def plan(self, model: ModelSpec, **request: Any) -> Run:
        return plan(model, Request(**{"kind": "train", **request}), self.settings, now=NOW)

    def step(self, name: str, model: ModelSpec, run: Run) -> StepResult:
        return run_step(name, model, run, self.settings)

    def steps(self, model: ModelSpec, run: Run, *names: str) -> dict[str, StepResult]:
        return {name: self.step(name, model, run) for name in names}

    def train(self, model: ModelSpec, until: str = "deploy", **request: Any) -> tuple[Run, dict[str, StepResult]]:
        run = self.plan(model, **request)
        return run, self.steps(model, run, *TRAIN_STEPS[: TRAIN_STEPS.index(until) + 1])

    def watch(self, model: ModelSpec, **request: Any) -> tuple[Run, dict[str, StepResult]]:
        run = self.plan(model, kind="watch", **request)
        return run, self.steps(model, run, *WATCH_STEPS)

    def matrix(self, prepared: StepResult, name: str) -> np.ndarray:
        """Return a matrix that prepare stored."""
        return np.load(io.BytesIO(self.store.get(prepared.outputs[name])), allow_pickle=False)

    def copy(self, home: Path) -> "Deployment":
        """Return the same deployment in another folder, to go on from there."""
        shutil.copytree(self.home, home)
        return Deployment(home)
