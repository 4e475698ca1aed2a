"""Training with fairlearn's reduction of a constrained problem to weighed ones."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from fairlearn.reductions import (  # type: ignore[import-untyped]
    DemographicParity,
    EqualizedOdds,
    GridSearch,
)

from continuous_training.core.errors import DataInvalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from continuous_training.trainers.base import Trainer, TrainingData
    from continuous_training.trainers.mitigation import Reduction

_TWO = 2
_CONSTRAINTS = {"demographic_parity": DemographicParity, "equalised_odds": EqualizedOdds}


def fit(reduction: Reduction, trainer: Trainer, data: TrainingData, people: NDArray[np.intp], *, seed: int) -> bytes:
    """Return the model that the grid search takes."""
    groups = len(np.unique(people))
    if data.classes != _TWO or groups < _TWO:
        msg = (
            f"trainer.mitigation: reduction needs two classes and two groups of {reduction.by}; there are {data.classes} classes and "
            f"{groups} groups; remove it or use kind: balanced; a retry gives the same"
        )
        raise DataInvalid(msg)
    search = GridSearch(
        _Learner(trainer, data, seed),
        _CONSTRAINTS[reduction.constraint](),
        constraint_weight=reduction.weight,
        grid_size=reduction.models,
    )
    # It copies what it is given several times: it gets places instead of rows.
    places = pd.DataFrame({"place": np.arange(len(people))})
    search.fit(places, data.y_train.astype(np.int64), sensitive_features=people)
    taken = search.predictors_[search.best_idx_]
    if not isinstance(taken, _Learner):
        msg = (
            "trainer.mitigation: the best trade is to decide the same for everybody; lower trainer.mitigation.weight, or remove the "
            "mitigation; a retry gives the same"
        )
        raise DataInvalid(msg)
    return taken.model


class _Learner:
    """A trainer as fairlearn calls it, on the train rows."""

    def __init__(self, trainer: Trainer, data: TrainingData, seed: int) -> None:
        self._trainer, self._data, self._seed = trainer, data, seed
        self.model = b""
        self._decided: NDArray[Any] = np.empty(0)

    def __deepcopy__(self, memo: object) -> _Learner:
        return _Learner(self._trainer, self._data, self._seed)

    def fit(self, places: pd.DataFrame, y: Any, sample_weight: Any) -> None:  # noqa: ARG002 - its own rows
        weighed = replace(
            self._data,
            y_train=np.asarray(y, dtype=np.float64),
            x_tune=self._data.x_tune[:0],
            y_tune=self._data.y_tune[:0],
            train_weights=np.asarray(sample_weight, dtype=np.float64),
        )
        self.model = self._trainer.fit(weighed, seed=self._seed).model
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / self._trainer.file
            file.write_bytes(self.model)
            self._decided = self._trainer.load(file).predict(self._data.x_train).argmax(axis=1)

    def predict(self, places: pd.DataFrame) -> NDArray[Any]:  # noqa: ARG002 - its own rows
        return self._decided
