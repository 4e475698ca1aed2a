"""Split the rows by time and turn them into matrices, with a transformation fitted on the training rows only."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from continuous_training.core.errors import DataInvalid
from continuous_training.steps.context import Context, Output, to_json
from continuous_training.trainers.bundle import golden_rows
from continuous_training.trainers.preparation import Preparation, encode_label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from continuous_training.spec import ModelSpec


def do(context: Context) -> Output:
    """Store the fitted transformation, the rows as one matrix, where its parts end, and the rows that prove a bundle.

    Train, tune and hold-out rows follow each other in the matrix, so that whoever trains on several of them takes one
    slice of a mapped file.
    """
    spec = context.spec
    rows = labelled_rows(pd.read_parquet(context.fetch("collect", "rows")), spec)
    train, tune, hold_out = split_by_time(rows, spec)
    if spec.task.group is not None and not train.stop:
        msg = (
            f"the {len(rows)} labelled rows have too few groups by {spec.task.group!r} to train on the first "
            f"{spec.split.train:.0%} of them; use a longer reference window or shorter groups; a retry gives the same"
        )
        raise DataInvalid(msg)
    preparation = Preparation.fit(rows.iloc[train], spec.features, spec.cleaning)
    _, classes = encode_label(rows[spec.task.label].iloc[train], spec.task)
    wanted = rows.iloc[: hold_out.stop if spec.refits else tune.stop]
    y, _ = encode_label(wanted[spec.task.label], spec.task, classes)
    # A class that appears after the training rows, or an infinite value, cannot be learned from.
    learnable = np.isfinite(y)
    known = wanted[learnable]
    matrices = {"x": preparation.transform(known), "y": y[learnable]}
    if spec.task.group is not None:
        matrices["groups"] = group_sizes(known, spec.task.group)
    if spec.trainer.mitigation is not None:
        # Of the sensitive column the numbers of its groups are handed on, and nobody but the mitigation reads them.
        matrices["people"] = pd.factorize(known[spec.trainer.mitigation.by].astype(str))[0]
    outputs = {name: context.store.put(_npy(matrix)) for name, matrix in matrices.items()}
    ends = {"train": int(learnable[train].sum()), "tune": int(learnable[: tune.stop].sum())}
    outputs["ends"] = context.store.put(to_json(ends))
    outputs["golden"] = context.store.put(
        golden_rows(rows.iloc[train])[[*spec.features.columns]].to_parquet(index=False)
    )
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
    """Return the rows whose label is known, in order of event time, cleaned of exact duplicates if asked.

    In ranking the rows of a group stand together, and the groups in the order in which they ended: what is trained on was
    over before anything it is judged on was.
    """
    known = rows[rows[spec.task.label].notna()]
    if spec.task.group is not None:
        known = known[known[spec.task.group].notna()]
    cleaned = spec.cleaning.clean(known, spec.features, spec.task, beside=spec.beside).reset_index(drop=True)
    if spec.task.group is None:
        return cleaned
    ended = cleaned.index.to_series().groupby(cleaned[spec.task.group]).transform("max")
    return cleaned.iloc[np.argsort(ended, kind="stable")].reset_index(drop=True)


def group_sizes(rows: pd.DataFrame, group: str) -> NDArray[np.int64]:
    """Return how many rows each group has; the rows of a group stand together."""
    return np.bincount(pd.factorize(rows[group])[0])


def split_by_time(rows: pd.DataFrame, spec: ModelSpec) -> tuple[slice, slice, slice]:
    """Return the positions of the train, tune and hold-out rows of `labelled_rows`: oldest, next, newest.

    The shares are those of rows, in ranking those of groups, and no group is cut.
    """
    group = spec.task.group
    ends = np.arange(len(rows) + 1) if group is None else np.append(0, np.cumsum(group_sizes(rows, group)))
    shares = (spec.split.train, spec.split.train + spec.split.tune)
    first, second = (int(ends[int((len(ends) - 1) * share)]) for share in shares)
    return slice(0, first), slice(first, second), slice(second, len(rows))


def _npy(matrix: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, matrix, allow_pickle=False)
    return buffer.getvalue()
