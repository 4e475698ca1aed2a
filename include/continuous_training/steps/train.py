"""Train the challenger and pack it as the bundle that would serve."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from continuous_training.steps.champion import load_champion
from continuous_training.steps.context import Context, Output, to_json
from continuous_training.steps.prepare import labelled_rows, split_by_time
from continuous_training.trainers.base import Fitted, TrainingData
from continuous_training.trainers.bundle import Manifest, make_bundle
from continuous_training.trainers.preparation import Class, Preparation

if TYPE_CHECKING:
    from numpy.typing import NDArray

SERVING_PACKAGES = ("airflow-provider-continuous-training", "lightgbm", "scikit-learn", "numpy", "pandas", "skops")


def do(context: Context) -> Output:
    """Store the bundle that would serve, the one that is judged in its place, and the parameters that were tried.

    The judged one is fitted on the rows before the hold-out. The one that would serve is fitted once more in the same way
    on all rows, for the newest ones say most about what comes next.
    """
    spec, run = context.spec, context.run
    preparation = Preparation.model_validate_json(context.read("prepare", "preparation"))
    classes = tuple(json.loads(context.read("prepare", "classes")))
    parts = {part: _part(context, part) for part in ("train", "tune")}
    data = TrainingData(
        **parts["train"],
        **parts["tune"],
        names=preparation.features.columns,
        categorical=preparation.categorical,
        classes=len(classes),
        categories=preparation.categories,
        champion=_champion_model(context, classes),
    )
    fitted = spec.trainer.fit(data, seed=spec.seed, trials=run.trials, warm_start=_champion_parameters(context))
    manifest = Manifest(
        model=spec.model, trainer=spec.trainer, task=spec.task, preparation=preparation, classes=classes, digests={}
    )
    rows = labelled_rows(pd.read_parquet(context.fetch("collect", "rows")), spec)
    golden = rows.iloc[split_by_time(rows, spec)[0]]

    def stored(made: Fitted) -> str:
        return context.store.put_folder(make_bundle(manifest, made, golden))

    outputs = {"trials": context.store.put(to_json(fitted.trials))}
    if spec.refits:
        trainer = spec.trainer.settled(fitted.parameters)
        outputs["judged"] = stored(trainer.fit(_joined(data, [*parts.values()]), seed=spec.seed))
        everything = _joined(data, [*parts.values(), _part(context, "hold_out")])
        outputs["bundle"] = stored(trainer.fit(everything, seed=spec.seed))
    else:
        outputs["bundle"] = stored(fitted)
    facts = {
        "bundle": outputs["bundle"],
        "parameters": fitted.parameters,
        "trials": len(fitted.trials),
        # Where the model is registered these libraries may be others, or missing.
        "requirements": [f"{name}=={version(name)}" for name in SERVING_PACKAGES],
    }
    return Output(outputs=outputs, facts=facts)


def _part(context: Context, part: str) -> dict[str, NDArray[Any]]:
    """Return the prepared rows of a part, as `prepare` stored them."""
    names = [f"x_{part}", f"y_{part}", *([f"{part}_groups"] if context.spec.task.group else [])]
    return {name: np.load(context.fetch("prepare", name), mmap_mode="r", allow_pickle=False) for name in names}


def _joined(data: TrainingData, parts: list[dict[str, NDArray[Any]]]) -> TrainingData:
    """Return training data whose train rows are those of all parts, without tune rows."""
    x, y, *groups = (np.concatenate(arrays) for arrays in zip(*(part.values() for part in parts), strict=True))
    of_groups = groups[0] if groups else None
    return replace(data, x_train=x, y_train=y, train_groups=of_groups, x_tune=x[:0], y_tune=y[:0], tune_groups=None)


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
