"""Train the challenger and pack it as the bundle that would serve."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from continuous_training.steps.champion import load_champion
from continuous_training.steps.context import Context, Output, to_json
from continuous_training.trainers.base import Fitted, TrainingData
from continuous_training.trainers.bundle import Manifest, make_bundle
from continuous_training.trainers.preparation import Class, Preparation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from continuous_training.core.run import Run
    from continuous_training.trainers.base import Trainer

SERVING_PACKAGES = ("airflow-provider-continuous-training", "lightgbm", "scikit-learn", "numpy", "pandas", "skops")


def do(context: Context) -> Output:
    """Store the bundle that would serve, the one that is judged in its place, and the parameters that were tried.

    The judged one is fitted on the rows before the hold-out. The one that would serve is fitted once more in the same way
    on all rows, for the newest ones say most about what comes next.
    """
    spec, run = context.spec, context.run
    preparation = Preparation.model_validate_json(context.read("prepare", "preparation"))
    classes = tuple(json.loads(context.read("prepare", "classes")))
    ends = json.loads(context.read("prepare", "ends"))
    rows = _rows(context)
    train, tune = rows.part(0, ends["train"]), rows.part(ends["train"], ends["tune"])
    data = TrainingData(
        **train.train(),
        x_tune=tune.x,
        y_tune=tune.y,
        tune_groups=tune.groups,
        names=preparation.features.columns,
        categorical=preparation.categorical,
        classes=len(classes),
        categories=preparation.categories,
        champion=_champion_model(context, classes),
    )
    golden = pd.read_parquet(context.fetch("prepare", "golden"))
    manifest = Manifest(
        model=spec.model, trainer=spec.trainer, task=spec.task, preparation=preparation, classes=classes, digests={}
    )

    def stored(made: Fitted) -> str:
        return context.store.put_folder(make_bundle(manifest, made, golden))

    outputs = {}
    with spec.trainer.ready(context.settings.locations) as trainer:
        warm_start = _champion_parameters(context)
        fitted = _fit(trainer, data, train, seed=spec.seed, trials=run.trials, warm_start=warm_start)
        if spec.refits:
            settled = trainer.settled(fitted.parameters)
            untuned = replace(data, x_tune=rows.x[:0], y_tune=rows.y[:0], tune_groups=None)
            for name, part in (("judged", rows.part(0, ends["tune"])), ("bundle", rows)):
                outputs[name] = stored(_fit(settled, replace(untuned, **part.train()), part, seed=spec.seed))
        else:
            outputs["bundle"] = stored(fitted)
    outputs["trials"] = context.store.put(to_json(fitted.trials))
    return Output(outputs=outputs, facts=_facts(fitted, outputs["bundle"], run))


def _fit(trainer: Trainer, data: TrainingData, rows: Rows, **how: Any) -> Fitted:
    if trainer.mitigation is None or rows.people is None:
        return trainer.fit(data, **how)
    return trainer.mitigation.fit(trainer, data, rows.people, **how)


def _facts(fitted: Fitted, bundle: str, run: Run) -> dict[str, Any]:
    return {
        "bundle": bundle,
        "spec": run.spec_digest,
        "parameters": fitted.parameters,
        "trials": len(fitted.trials),
        # Where the model is registered these libraries may be others, or missing.
        "requirements": [f"{name}=={version(name)}" for name in SERVING_PACKAGES],
    }


@dataclass(frozen=True)
class Rows:
    """Prepared rows that follow each other in time, still in the files they are mapped from."""

    x: NDArray[Any]
    y: NDArray[Any]
    groups: NDArray[Any] | None
    """Ranking only: rows of each group."""
    people: NDArray[np.intp] | None = None
    """Number of the group of people of each row, where these are to be learned alike."""

    def part(self, start: int, stop: int) -> Rows:
        """Return the rows from one position to another; both lie between two groups."""
        groups = self.groups
        if groups is not None:
            first, last = np.searchsorted(np.cumsum(groups), (start, stop), side="right")
            groups = groups[first:last]
        people = None if self.people is None else self.people[start:stop]
        return replace(self, x=self.x[start:stop], y=self.y[start:stop], groups=groups, people=people)

    def train(self) -> dict[str, Any]:
        """Return the rows as the train rows of `TrainingData`."""
        return {"x_train": self.x, "y_train": self.y, "train_groups": self.groups}


def _rows(context: Context) -> Rows:
    """Return what `prepare` stored."""
    mitigation = context.spec.trainer.mitigation
    names = ["x", "y", *(["groups"] if context.spec.task.group else []), *(["people"] if mitigation else [])]
    found = {name: np.load(context.fetch("prepare", name), mmap_mode="r", allow_pickle=False) for name in names}
    return Rows(found["x"], found["y"], found.get("groups"), found.get("people"))


def _champion_model(context: Context, classes: tuple[Class, ...]) -> Path | None:
    """Return the champion's model file where the trainer can go on from it."""
    champion, kind = context.run.champion, context.spec.trainer.kind
    if champion is None or kind != "ensemble":
        return None
    manifest = load_champion(context, champion).manifest
    if (manifest.trainer.kind, manifest.classes) != (kind, classes):
        return None
    return context.bundle(champion.bundle) / manifest.trainer.file


def _champion_parameters(context: Context) -> dict[str, object] | None:
    champion = context.run.champion
    manifest = context.store.read_manifest(champion.run_key, "train") if champion else None
    return manifest["facts"]["parameters"] if manifest else None
