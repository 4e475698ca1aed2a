"""Train the challenger and pack it as the bundle that would serve."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from continuous_training.steps.champion import load_champion
from continuous_training.steps.context import Context, Output, to_json
from continuous_training.steps.prepare import labelled_rows, split_by_time
from continuous_training.trainers.base import TrainingData
from continuous_training.trainers.bundle import Manifest, make_bundle
from continuous_training.trainers.preparation import Class, Preparation


def do(context: Context) -> Output:
    """Store the challenger's bundle and the parameters that were tried."""
    spec, run = context.spec, context.run
    preparation = Preparation.model_validate_json(context.read("prepare", "preparation"))
    classes = tuple(json.loads(context.read("prepare", "classes")))
    stored = (*MATRICES, *GROUPS) if spec.task.group else MATRICES
    matrices = {name: np.load(context.fetch("prepare", name), mmap_mode="r", allow_pickle=False) for name in stored}
    data = TrainingData(
        **matrices,
        names=preparation.features.columns,
        categorical=preparation.categorical,
        classes=len(classes),
        categories=preparation.categories,
        champion=_champion_model(context, classes),
    )
    fitted = spec.trainer.fit(data, seed=spec.seed, trials=run.trials, warm_start=_champion_parameters(context))
    rows = labelled_rows(pd.read_parquet(context.fetch("collect", "rows")), spec)
    train, _, _ = split_by_time(rows, spec)
    manifest = Manifest(
        model=spec.model, trainer=spec.trainer, task=spec.task, preparation=preparation, classes=classes, digests={}
    )
    files = make_bundle(manifest, fitted, rows.iloc[train])
    bundle = context.store.put_folder(files)
    outputs = {"bundle": bundle, "trials": context.store.put(to_json(fitted.trials))}
    return Output(
        outputs=outputs, facts={"bundle": bundle, "parameters": fitted.parameters, "trials": len(fitted.trials)}
    )


MATRICES = ("x_train", "y_train", "x_tune", "y_tune")
GROUPS = ("train_groups", "tune_groups")


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
