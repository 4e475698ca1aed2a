"""Training and prediction with LightGBM."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np

from continuous_training.core.errors import ArtefactCorrupt, SpecError
from continuous_training.trainers._search import Attempt, Parameters, Range, Search
from continuous_training.trainers._single_rows import SingleRows
from continuous_training.trainers.base import Fitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from continuous_training.trainers.base import TrainingData
    from continuous_training.trainers.lightgbm import Trees

SPACE = {
    "num_leaves": Range(7, 255, 31, log=True),
    "learning_rate": Range(0.01, 0.3, 0.1, log=True),
    "min_data_in_leaf": Range(5, 500, 20, log=True),
    "feature_fraction": Range(0.4, 1.0, 1.0),
    "bagging_fraction": Range(0.4, 1.0, 1.0),
    "lambda_l1": Range(1e-8, 10.0, 0.0, log=True),
    "lambda_l2": Range(1e-8, 10.0, 0.0, log=True),
}
HIGHER_IS_BETTER = {"auc", "auc_mu", "average_precision", "map", "ndcg"}
_END = "\npandas_categorical:null\n"  # half a model's text makes LightGBM end the process
_FEW_ROWS = 1000  # below, starting threads takes longer than predicting
SINGLE_ROWS = 8
"""Up to so many rows are predicted one by one, because LightGBM's way in for many takes as long as ten predictions."""


def fit(trainer: Trees, data: TrainingData, *, seed: int, trials: int | None, warm_start: Parameters | None) -> Fitted:
    """Return the best model of the search."""
    settings = all_settings(trainer, data.classes, seed)
    with refusals():
        train, tune = _datasets(data, settings)

        def evaluate(parameters: Parameters) -> Attempt:
            return _train(settings | parameters, train, tune, trainer)

        return search(trainer, data, evaluate, seed=seed, trials=trials, warm_start=warm_start)


def all_settings(trainer: Trees, classes: int, seed: int) -> Parameters:
    """Return all that LightGBM is told."""
    return {
        "bagging_freq": 1,  # without it LightGBM ignores bagging_fraction
        **trainer.settings(classes),
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,  # the bins are shared by trials that differ in min_data_in_leaf
        "seed": seed % 2**31,
        "verbosity": -1,
    }


def search(
    trainer: Trees,
    data: TrainingData,
    evaluate: Callable[[Parameters], Attempt],
    *,
    seed: int,
    trials: int | None,
    warm_start: Parameters | None,
) -> Fitted:
    """Return the best of the models that `evaluate` trains."""
    looked = Search(evaluate, SPACE, dict(trainer.parameters), trainer.tuning)
    best, parameters = looked.run(data, seed=seed % 2**31, trials=trials, warm_start=warm_start)
    return Fitted(best.model(), parameters | best.found, looked.trials)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what LightGBM refuses into a `SpecError`."""
    try:
        yield
    except lgb.basic.LightGBMError as error:
        cause = str(error).split(" at /")[0].strip()  # the rest is a line of LightGBM's own source
        msg = f"LightGBM refused trainer.parameters or the labels: {cause}; mend the model file, a retry gives the same"
        raise SpecError(msg) from error


def columns(data: TrainingData) -> dict[str, Any]:
    """Return what LightGBM is told of the columns."""
    plain = all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in data.names)
    return {
        "feature_name": list(data.names) if plain else "auto",  # LightGBM refuses or rewrites other names
        "categorical_feature": list(data.categorical),
    }


def _datasets(data: TrainingData, settings: Parameters) -> tuple[lgb.Dataset, lgb.Dataset | None]:
    told = {**columns(data), "params": settings}
    train = lgb.Dataset(
        data.x_train, data.y_train, weight=data.train_weights, group=data.train_groups, **told
    ).construct()
    if not len(data.y_tune):
        return train, None
    tune = lgb.Dataset(data.x_tune, data.y_tune, group=data.tune_groups, reference=train, **told)
    return train, tune.construct()


def _train(parameters: Parameters, train: lgb.Dataset, tune: lgb.Dataset | None, trainer: Trees) -> Attempt:
    if tune is None:
        booster = lgb.train(parameters, train, trainer.rounds, keep_training_booster=True)
        rounds = booster.current_iteration()
        return Attempt(float("nan"), lambda: text_of(booster, rounds), {"rounds": rounds})
    booster = lgb.train(
        parameters,
        train,
        trainer.rounds,
        valid_sets=[tune],
        valid_names=["tune"],
        callbacks=[lgb.early_stopping(trainer.patience, verbose=False)],
        keep_training_booster=True,
    )
    [(name, value)] = booster.best_score["tune"].items()  # ndcg comes as ndcg@10
    rounds = booster.best_iteration
    score = -value if parameters["metric"] in HIGHER_IS_BETTER else value
    return Attempt(score, lambda: text_of(booster, rounds), {"rounds": rounds}, {name: float(value)})


def text_of(booster: lgb.Booster, rounds: int) -> bytes:
    """Return the model's first `rounds` trees (per class) as LightGBM's own text."""
    text: str = booster.model_to_string(num_iteration=rounds)
    return text.encode()


class Booster:
    """One model of LightGBM that predicts as every model does."""

    def __init__(self, booster: lgb.Booster) -> None:
        self._booster = booster
        self._binary = booster.num_model_per_iteration() == 1 and "binary" in str(booster.params.get("objective"))
        self._single_rows = SingleRows(booster)

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return probabilities (rows, classes) or values (rows,)."""
        predicted = self._single_rows.predict(x) if 0 < len(x) <= SINGLE_ROWS else self._predict(x)
        return np.column_stack([1.0 - predicted, predicted]) if self._binary else predicted

    def predict_row(self, row: list[float]) -> float | list[float]:
        """Return what `predict` does for a single row; with two classes the probability of the second alone."""
        predicted = self._single_rows.predict_row(row)
        return predicted if len(predicted) > 1 else predicted[0]

    def _predict(self, x: NDArray[Any]) -> NDArray[Any]:
        few = {"num_threads": 1} if len(x) < _FEW_ROWS else {}
        return np.asarray(self._booster.predict(x, **few))

    def contributions(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return how much each feature moved each row's prediction (SHAP values), (rows, features).

        With several classes it is the sum over classes of what moved, without its sign.
        """
        found = self.explain(x)[..., :-1]
        return found if found.ndim == 2 else np.abs(found).sum(axis=1)  # noqa: PLR2004 - rows and features

    def explain(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return SHAP values with the base value at the end, (rows, features + 1) or (rows, classes, features + 1)."""
        found = np.asarray(self._booster.predict(x, pred_contrib=True), dtype=np.float64)
        by_class = found.reshape(len(x), -1, x.shape[1] + 1)
        return by_class[:, 0] if by_class.shape[1] == 1 else by_class


def load(path: Path) -> Booster:
    """Return the model whose text is in `path`; verify its digest first."""
    return parse(path.read_bytes(), path.name)


def parse(text: bytes, name: str) -> Booster:
    """Return the model of which `text` was made.

    Raises
    ------
    ArtefactCorrupt
        It is not a model's text; the message calls it `name`.
    """
    try:
        decoded = text.decode()
        if decoded.startswith("tree\n") and decoded.endswith(_END):
            return Booster(lgb.Booster(model_str=decoded))
        cause: Exception = ValueError("it does not begin or end as a model's text does")
    except (ValueError, lgb.basic.LightGBMError) as error:
        cause = error
    msg = f"{name} is not a LightGBM model: {cause}; train again; a retry reads the same bytes"
    raise ArtefactCorrupt(msg) from cause
