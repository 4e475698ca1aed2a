"""Training and prediction with scikit-learn, and model files that are the same whenever they are written."""

from __future__ import annotations

import io
import json
import warnings
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils._param_validation import InvalidParameterError
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from continuous_training.core.errors import ArtefactCorrupt, DataInvalid, SpecError
from continuous_training.trainers._search import Attempt, Parameters, Range, Search
from continuous_training.trainers.base import Fitted

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from continuous_training.trainers.base import TrainingData
    from continuous_training.trainers.sklearn import Sklearn

_FORESTS = (ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor)
_HISTOGRAMS = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_TREE = {"max_depth": Range(2, 20, 20), "min_samples_leaf": Range(1, 200, 1, log=True)}
_FOREST = {"max_features": Range(0.2, 1.0, 1.0), "min_samples_leaf": Range(1, 100, 1, log=True)}
_BOOSTED = {
    "learning_rate": Range(0.02, 0.3, 0.1, log=True),
    "max_depth": Range(2, 8, 3),
    "subsample": Range(0.5, 1.0, 1.0),
}
_HISTOGRAM = {
    "learning_rate": Range(0.02, 0.3, 0.1, log=True),
    "max_leaf_nodes": Range(7, 127, 31, log=True),
    "min_samples_leaf": Range(5, 200, 20, log=True),
    "l2_regularization": Range(1e-6, 10.0, 0.0, log=True),
}
SPACES: dict[type, dict[str, Range]] = {
    DecisionTreeClassifier: _TREE,
    DecisionTreeRegressor: _TREE,
    ElasticNet: {"alpha": Range(1e-4, 10.0, 1.0, log=True), "l1_ratio": Range(0.05, 1.0, 0.5)},
    ExtraTreesClassifier: _FOREST,
    ExtraTreesRegressor: _FOREST,
    GaussianNB: {"var_smoothing": Range(1e-12, 1e-1, 1e-9, log=True)},
    GradientBoostingClassifier: _BOOSTED,
    GradientBoostingRegressor: _BOOSTED,
    HistGradientBoostingClassifier: _HISTOGRAM,
    HistGradientBoostingRegressor: _HISTOGRAM,
    LinearRegression: {},
    LogisticRegression: {"C": Range(1e-4, 100.0, 1.0, log=True)},
    PoissonRegressor: {"alpha": Range(1e-4, 10.0, 1.0, log=True)},
    RandomForestClassifier: _FOREST,
    RandomForestRegressor: _FOREST,
    Ridge: {"alpha": Range(1e-3, 1e3, 1.0, log=True)},
}
ESTIMATORS: dict[str, type] = {estimator.__name__: estimator for estimator in SPACES}

# What skops does not trust by itself and our pipelines hold. A file never adds to this list.
TRUSTED = [
    "functools.partial",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "sklearn.utils.validation.check_array",
]

_OURS = {"categorical_features", "n_jobs", "random_state", "verbose", "warm_start"}
_PROBABLE = 1e-15  # a probability below this counts as this, or one sure mistake would hide everything else


def fit(
    trainer: Sklearn, data: TrainingData, *, seed: int, trials: int | None, warm_start: Parameters | None
) -> Fitted:
    """Return the best model of the search."""
    estimator = ESTIMATORS[trainer.estimator]
    _check(trainer, data)

    def evaluate(parameters: Parameters) -> Attempt:
        pipeline = _pipeline(estimator, parameters, data, seed=seed % 2**31, threads=trainer.threads)
        return _train(pipeline, data)

    search = Search(evaluate, SPACES[estimator], dict(trainer.parameters), trainer.tuning)
    with threadpool_limits(limits=trainer.threads):
        best, parameters = search.run(data, seed=seed % 2**31, trials=trials, warm_start=warm_start)
        return Fitted(best.model(), parameters | best.found, search.trials)


def _check(trainer: Sklearn, data: TrainingData) -> None:
    try:
        trainer.check("classification" if data.classes else "regression")
    except ValueError as error:
        msg = f"{error}; mend the model file, a retry gives the same"
        raise SpecError(msg) from error
    allowed = sorted(set(ESTIMATORS[trainer.estimator]().get_params()) - _OURS)
    for name in trainer.parameters:
        if name not in allowed:
            close = get_close_matches(name, allowed, n=1)
            msg = (
                f"trainer.parameters.{name} is not a parameter of {trainer.estimator} that a model file may set; "
                f"{f'did you mean {close[0]}? ' if close else ''}allowed: {', '.join(allowed)}; "
                "mend the model file, a retry gives the same"
            )
            raise SpecError(msg)


def _pipeline(estimator: type, parameters: Parameters, data: TrainingData, *, seed: int, threads: int) -> Pipeline:
    learner = estimator(**parameters)
    names = set(learner.get_params())
    if "random_state" in names:
        learner.set_params(random_state=seed)
    if isinstance(learner, _FORESTS):
        learner.set_params(n_jobs=threads)
    if isinstance(learner, LogisticRegression) and "max_iter" not in parameters:
        learner.set_params(max_iter=1000)  # with the default of 100 it seldom converges on one-hot columns
    known = np.flatnonzero(~np.isnan(data.x_train).all(axis=0)).tolist()  # some estimators fail on empty columns
    if not known:
        msg = f"no feature has a value in any of the {len(data.y_train)} training rows; a retry gives the same"
        raise DataInvalid(msg)
    numeric = [position for position in known if position not in data.categorical]
    categorical = [position for position in known if position in data.categorical]
    if isinstance(learner, _HISTOGRAMS):
        learner.set_params(categorical_features=list(range(len(numeric), len(known))))
        numbers: Any = "passthrough"
        categories: Any = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=learner.max_bins
        )
    else:
        imputer = SimpleImputer(strategy="median", add_indicator=True)
        numbers = Pipeline([("impute", imputer), ("scale", StandardScaler())])
        categories = OneHotEncoder(handle_unknown="ignore")
    parts = [("numeric", numbers, numeric), ("categorical", categories, categorical)]
    dense = isinstance(learner, GaussianNB)
    prepare = ColumnTransformer([part for part in parts if part[2]], sparse_threshold=0.0 if dense else 0.3)
    return Pipeline([("prepare", prepare), ("estimator", learner)])


def _train(pipeline: Pipeline, data: TrainingData) -> Attempt:
    y = data.y_train.astype(np.int64) if data.classes else data.y_train
    weights = {} if data.train_weights is None else {"estimator__sample_weight": data.train_weights}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pipeline.fit(data.x_train, y, **weights)
        except InvalidParameterError as error:
            msg = f"scikit-learn refused trainer.parameters: {error}; mend the model file, a retry gives the same"
            raise SpecError(msg) from error
        except ValueError as error:
            msg = f"{type(pipeline[-1]).__name__} cannot learn from these rows: {error}; a retry gives the same"
            raise DataInvalid(msg) from error
    report: dict[str, Any] = {"note": str(caught[0].message).splitlines()[0][:200]} if caught else {}
    if isinstance(pipeline[-1], _FORESTS):
        # The trees' votes are added in the order in which threads finish: one thread, one result.
        pipeline[-1].set_params(n_jobs=1)
    if not len(data.y_tune):
        return Attempt(float("nan"), lambda: _dumps(pipeline), report=report)
    score = _score(_Pipeline(pipeline).predict(data.x_tune), data)
    metric = "log_loss" if data.classes else "squared_error"
    return Attempt(score, lambda: _dumps(pipeline), report={metric: score, **report})


def _score(predicted: NDArray[Any], data: TrainingData) -> float:
    if not data.classes:
        return float(np.mean((predicted - data.y_tune) ** 2))
    true = predicted[np.arange(len(predicted)), data.y_tune.astype(np.int64)]
    return abs(float(np.log(np.maximum(true, _PROBABLE)).mean()))


class _Pipeline:
    def __init__(self, pipeline: Pipeline) -> None:
        self._predict = getattr(pipeline, "predict_proba", pipeline.predict)

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return probabilities (rows, classes) or values (rows,)."""
        with np.errstate(over="ignore"):  # a far-off row of a log-link model is infinite, and is told as such
            predicted: NDArray[Any] = self._predict(x)
        return predicted


def load(path: Path) -> _Pipeline:
    """Return the pipeline in `path`, which may hold nothing but skops' own and our trusted types."""
    try:
        pipeline = skops.io.load(path, trusted=TRUSTED)
    except OSError:
        raise
    except Exception as error:  # a damaged or hostile file fails anywhere in the reader
        msg = f"{path.name} is not a model of this trainer: {error}; train again; a retry reads the same bytes"
        raise ArtefactCorrupt(msg) from error
    if not isinstance(pipeline, Pipeline):
        kind = type(pipeline).__name__
        msg = f"{path.name} holds a {kind}, not a pipeline; train again; a retry reads the same bytes"
        raise ArtefactCorrupt(msg)
    return _Pipeline(pipeline)


def _dumps(pipeline: Pipeline) -> bytes:
    """Return the pipeline as a skops file without its traces of time and memory addresses."""
    with ZipFile(io.BytesIO(skops.io.dumps(pipeline))) as source:
        schema = json.loads(source.read("schema.json"))
        files: dict[str, str] = {}
        _renumber(schema, {}, files)
        target = io.BytesIO()
        with ZipFile(target, "w") as archive:
            for old, new in files.items():
                archive.writestr(ZipInfo(new), source.read(old))
            archive.writestr(ZipInfo("schema.json"), json.dumps(schema, separators=(",", ":")))
    return target.getvalue()


def _renumber(node: Any, ids: dict[int, int], files: dict[str, str]) -> None:
    """Replace addresses by the order in which they are met, in place; fill `files` with old and new names."""
    if isinstance(node, list):
        for part in node:
            _renumber(part, ids, files)
    if not isinstance(node, dict):
        return
    if node.get("__loader__") == "JsonNode":
        node.pop("__id__")  # whether two equal numbers are one object is chance, and makes no difference
    elif "__id__" in node:
        node["__id__"] = ids.setdefault(node["__id__"], len(ids) + 1)
    if node.get("__loader__") == "NdArrayNode" and "file" in node:
        node["file"] = files.setdefault(node["file"], f"{len(files)}.npy")
    for part in node.values():
        _renumber(part, ids, files)
