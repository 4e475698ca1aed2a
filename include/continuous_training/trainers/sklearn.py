"""Estimators of scikit-learn, each in a pipeline that makes numbers of its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from continuous_training.core.task import TaskKind
from continuous_training.trainers.base import Fitted, Model, Trainer, TrainingData

if TYPE_CHECKING:
    from pathlib import Path

Estimator = Literal[
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "ElasticNet",
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "GaussianNB",
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "LinearRegression",
    "LogisticRegression",
    "PoissonRegressor",
    "RandomForestClassifier",
    "RandomForestRegressor",
    "Ridge",
]
ESTIMATORS: dict[TaskKind, tuple[Estimator, ...]] = {
    "classification": (
        "DecisionTreeClassifier",
        "ExtraTreesClassifier",
        "GaussianNB",
        "GradientBoostingClassifier",
        "HistGradientBoostingClassifier",
        "LogisticRegression",
        "RandomForestClassifier",
    ),
    "regression": (
        "DecisionTreeRegressor",
        "ElasticNet",
        "ExtraTreesRegressor",
        "GradientBoostingRegressor",
        "HistGradientBoostingRegressor",
        "LinearRegression",
        "PoissonRegressor",
        "RandomForestRegressor",
        "Ridge",
    ),
}


class Sklearn(Trainer):
    """An estimator of scikit-learn.

    Numeric columns are imputed with the median, marked where they were missing, and scaled; categories are one-hot
    encoded, and a category not seen in training is all zeros. HistGradientBoosting takes missing values and categories
    as they are. A search varies the few parameters that matter most for the estimator around `parameters`. The model is
    a skops file, which is read without unpickling; the same rows, seed and threads give the same bytes.

    References
    ----------
    Pedregosa et al.: Scikit-learn: Machine Learning in Python. JMLR 12, 2011.
    """

    file: ClassVar[Literal["model.skops"]] = "model.skops"

    kind: Literal["sklearn"] = "sklearn"
    estimator: Estimator = Field(description="Class of scikit-learn; its name says whether it classifies.")

    def check(self, kind: TaskKind) -> None:
        """Raise `ValueError` when the estimator does not learn that kind of task."""
        super().check(kind)
        if self.estimator not in ESTIMATORS[kind]:
            msg = f"trainer.estimator: {self.estimator} is not for {kind}; allowed: {', '.join(ESTIMATORS[kind])}"
            raise ValueError(msg)

    def fit(
        self, data: TrainingData, *, seed: int, trials: int | None = None, warm_start: dict[str, Any] | None = None
    ) -> Fitted:
        """Train on the train rows, choose parameters on the tune rows by log loss or squared error."""
        from continuous_training.trainers import _sklearn

        return _sklearn.fit(self, data, seed=seed, trials=trials, warm_start=warm_start)

    def load(self, path: Path) -> Model:
        """Return the pipeline in `path`; a file that holds any type but those we write is refused."""
        from continuous_training.trainers import _sklearn

        return _sklearn.load(path)
