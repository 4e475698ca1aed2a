"""Split the rows by time and turn them into matrices, with a transformation fitted on the training rows only."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from continuous_training.steps.context import Context, Output, to_json
from continuous_training.trainers.preparation import Preparation, encode_label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from continuous_training.spec import ModelSpec


def do(context: Context) -> Output:
    """Store the fitted transformation, the matrices of the train and tune rows, and where the hold-out starts."""
    spec = context.spec
    rows = labelled_rows(pd.read_parquet(context.fetch("collect", "rows")), spec)
    train, tune, hold_out = split_by_time(len(rows), spec)
    preparation = Preparation.fit(rows.iloc[train], spec.features, spec.cleaning)
    y_train, classes = encode_label(rows[spec.task.label].iloc[train], spec.task)
    y_tune, _ = encode_label(rows[spec.task.label].iloc[tune], spec.task, classes)
    # A class that appears after the training rows, or an infinite value, cannot be learned from.
    fit, choose = np.isfinite(y_train), np.isfinite(y_tune)
    matrices = {
        "x_train": preparation.transform(rows.iloc[train][fit]),
        "y_train": y_train[fit],
        "x_tune": preparation.transform(rows.iloc[tune][choose]),
        "y_tune": y_tune[choose],
    }
    outputs = {name: context.store.put(_npy(matrix)) for name, matrix in matrices.items()}
    outputs["preparation"] = context.store.put(to_json(preparation.model_dump(mode="json")))
    outputs["classes"] = context.store.put(to_json(list(classes)))
    facts = {
        "rows": len(rows),
        "train": train.stop - train.start,
        "tune": tune.stop - tune.start,
        "hold_out": hold_out.stop - hold_out.start,
        "hold_out_from": rows[spec.task.event_time].iloc[hold_out.start].isoformat(),
    }
    return Output(outputs=outputs, facts=facts)


def labelled_rows(rows: pd.DataFrame, spec: ModelSpec) -> pd.DataFrame:
    """Return the rows whose label is known, in order of event time, cleaned of exact duplicates if asked."""
    known = rows[rows[spec.task.label].notna()]
    return spec.cleaning.clean(known, spec.features, spec.task).reset_index(drop=True)


def split_by_time(rows: int, spec: ModelSpec) -> tuple[slice, slice, slice]:
    """Return the positions of the train, tune and hold-out rows: oldest, next, newest."""
    first, second = int(rows * spec.split.train), int(rows * (spec.split.train + spec.split.tune))
    return slice(0, first), slice(first, second), slice(second, rows)


def _npy(matrix: NDArray[np.float64]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, matrix, allow_pickle=False)
    return buffer.getvalue()
