"""Gradient-boosted trees by LightGBM."""

from __future__ import annotations

from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator

from continuous_training.core.errors import SpecError
from continuous_training.core.task import TaskKind
from continuous_training.trainers.base import Fitted, Model, Trainer, TrainingData
from continuous_training.trainers.dask import Dask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Value = int | float | str | bool | None

# What a model file may set. Files, machines, devices, logging and everything this trainer sets itself are left out.
ALLOWED: dict[str, type] = {
    "alpha": float,
    "bagging_fraction": float,
    "bagging_freq": int,
    "bin_construct_sample_cnt": int,
    "boost_from_average": bool,
    "cat_l2": float,
    "cat_smooth": float,
    "data_sample_strategy": str,
    "extra_trees": bool,
    "fair_c": float,
    "feature_fraction": float,
    "feature_fraction_bynode": float,
    "is_unbalance": bool,
    "lambda_l1": float,
    "lambda_l2": float,
    "lambdarank_norm": bool,
    "lambdarank_truncation_level": int,
    "learning_rate": float,
    "max_bin": int,
    "max_cat_threshold": int,
    "max_cat_to_onehot": int,
    "max_delta_step": float,
    "max_depth": int,
    "metric": str,
    "min_data_in_bin": int,
    "min_data_in_leaf": int,
    "min_data_per_group": int,
    "min_gain_to_split": float,
    "min_sum_hessian_in_leaf": float,
    "neg_bagging_fraction": float,
    "num_leaves": int,
    "objective": str,
    "other_rate": float,
    "path_smooth": float,
    "poisson_max_delta_step": float,
    "pos_bagging_fraction": float,
    "reg_sqrt": bool,
    "scale_pos_weight": float,
    "top_rate": float,
    "tweedie_variance_power": float,
}

# Names that scikit-learn's and XGBoost's users write, and what this trainer sets itself.
INSTEAD = {
    "boosting": "nothing: only gbdt is supported",
    "boosting_type": "nothing: only gbdt is supported",
    "colsample_bytree": "feature_fraction",
    "early_stopping_round": "the trainer's own field patience",
    "early_stopping_rounds": "the trainer's own field patience",
    "eta": "learning_rate",
    "min_child_samples": "min_data_in_leaf",
    "min_child_weight": "min_sum_hessian_in_leaf",
    "n_estimators": "the trainer's own field rounds",
    "n_jobs": "the trainer's own field threads",
    "num_boost_round": "the trainer's own field rounds",
    "num_class": "nothing: classes are counted in the training rows",
    "num_iterations": "the trainer's own field rounds",
    "num_threads": "the trainer's own field threads",
    "random_state": "nothing: every run carries its seed",
    "reg_alpha": "lambda_l1",
    "reg_lambda": "lambda_l2",
    "seed": "nothing: every run carries its seed",
    "subsample": "bagging_fraction",
}

# Objective to the metric that stops training early unless another is named.
OBJECTIVES: dict[TaskKind, dict[str, str]] = {
    "classification": {"binary": "binary_logloss", "multiclass": "multi_logloss"},
    "regression": {
        "regression": "l2",
        "regression_l1": "l1",
        "fair": "fair",
        "gamma": "gamma",
        "huber": "huber",
        "mape": "mape",
        "poisson": "poisson",
        "quantile": "quantile",
        "tweedie": "tweedie",
    },
    "ranking": {"lambdarank": "ndcg", "rank_xendcg": "ndcg"},
}
METRICS: dict[str, tuple[str, ...]] = {
    "binary": ("binary_logloss", "auc", "average_precision", "binary_error"),
    "multiclass": ("multi_logloss", "auc_mu", "multi_error"),
    "regression": ("l1", "l2", "rmse", "fair", "gamma", "huber", "mape", "poisson", "quantile", "tweedie"),
    "lambdarank": ("ndcg", "map"),
}


class Trees(Trainer):
    """Whatever LightGBM grows: its settings, and which of them suit a task."""

    rounds: int = Field(300, ge=1, le=100_000, description="Most trees (per class) to grow.")
    patience: int = Field(
        30, ge=1, description="Stop when the tune rows' metric has not improved for this many trees; needs tune rows."
    )

    def settled(self, parameters: dict[str, Any]) -> Self:
        """Return the trainer that fits once, with as many trees as were found to be enough."""
        given = {name: value for name, value in parameters.items() if name != "rounds"}
        return super().settled(given).model_copy(update={"rounds": parameters["rounds"]})

    @field_validator("parameters")
    @classmethod
    def _known(cls, parameters: dict[str, Value]) -> dict[str, Value]:
        for name, value in parameters.items():
            if name not in ALLOWED:
                raise ValueError(_unknown(name))
            kind = ALLOWED[name]
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (whole if kind is int else isinstance(value, kind) or (kind is float and whole)):
                msg = f"{name} must be {_KINDS[kind]}, got {value!r}"
                raise ValueError(msg)
        return parameters

    def check(self, kind: TaskKind) -> None:
        """Raise `ValueError` when the trainer, `objective` or `metric` is not made for that kind of task."""
        super().check(kind)
        objectives = tuple(OBJECTIVES[kind])
        metrics = tuple(metric for objective in objectives for metric in METRICS.get(objective, ()))
        for name, allowed in (("objective", objectives), ("metric", metrics)):
            value = self.parameters.get(name)
            if value is not None and value not in allowed:
                msg = f"trainer.parameters.{name}: {value!r} is not for {kind}; allowed: {', '.join(allowed)}"
                raise ValueError(msg)

    def settings(self, classes: int) -> dict[str, Any]:
        """Return LightGBM's parameters for a task with that many classes (0 for regression), without the seed.

        Raises
        ------
        SpecError
            `objective` or `metric` do not suit the classes.
        """
        kind: TaskKind = "classification" if classes else "regression"
        usual = {0: "regression", 2: "binary"}.get(classes, "multiclass")
        objective = str(self.parameters.get("objective", usual))
        metric = str(self.parameters.get("metric", OBJECTIVES[kind].get(objective)))
        suits = objective in OBJECTIVES[kind] and (kind == "regression" or objective == usual)
        if not suits or metric not in METRICS[usual]:
            msg = (
                f"trainer.parameters: objective {objective!r} with metric {metric!r} cannot learn "
                f"{f'{classes} classes' if classes else 'a regression'}; leave both out, or choose a metric among "
                f"{', '.join(METRICS[usual])}; mend the model file, a retry gives the same"
            )
            raise SpecError(msg)
        fixed = {"objective": objective, "metric": metric, "num_threads": self.threads}
        return self.parameters | fixed | ({"num_class": classes} if usual == "multiclass" else {})


class LightGBM(Trees):
    """Gradient-boosted trees that take missing values and categories as they are.

    The number of trees is chosen on the tune rows by early stopping. A search varies num_leaves, learning_rate,
    min_data_in_leaf, feature_fraction, bagging_fraction, lambda_l1 and lambda_l2 around `parameters`; everything else
    in `parameters` stays as it is. The model is LightGBM's own text: the same rows, seed and threads give the same
    bytes.

    References
    ----------
    Ke et al.: LightGBM: A Highly Efficient Gradient Boosting Decision Tree. NeurIPS 2017.
    """

    file: ClassVar[Literal["model.txt"]] = "model.txt"

    kind: Literal["lightgbm"] = "lightgbm"
    engine: Dask | None = Field(None, description="Workers that train together; without it one process trains.")

    def check(self, kind: TaskKind) -> None:
        """Raise `ValueError` when these settings cannot learn that kind of task, or the engine cannot follow them."""
        super().check(kind)
        if self.engine is not None and self.mitigation is not None:
            msg = "trainer.mitigation: the workers of an engine do not weigh rows; remove trainer.mitigation or trainer.engine"
            raise ValueError(msg)

    @contextmanager
    def ready(self, locations: Mapping[str, str]) -> Iterator[Self]:
        """Give the trainer with the workers of its engine."""
        if self.engine is None:
            yield self
        else:
            with self.engine.ready(locations) as engine:
                yield self.model_copy(update={"engine": engine})

    def fit(
        self, data: TrainingData, *, seed: int, trials: int | None = None, warm_start: dict[str, Any] | None = None
    ) -> Fitted:
        """Train on the train rows, stop early and choose parameters on the tune rows."""
        if self.engine is not None:
            return self.engine.fit(self, data, seed=seed, trials=trials, warm_start=warm_start)
        from continuous_training.trainers import _lightgbm

        return _lightgbm.fit(self, data, seed=seed, trials=trials, warm_start=warm_start)

    def load(self, path: Path) -> Model:
        """Return the booster whose text is in `path`."""
        from continuous_training.trainers import _lightgbm

        return _lightgbm.load(path)


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _unknown(name: str) -> str:
    if name in INSTEAD:
        return f"{name} cannot be set here; use {INSTEAD[name]}"
    close = get_close_matches(name, ALLOWED, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{name} is not a parameter of LightGBM that a model file may set; {hint}allowed: {', '.join(ALLOWED)}"
