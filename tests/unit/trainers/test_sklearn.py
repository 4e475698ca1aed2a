from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from zipfile import ZipFile

import numpy as np
import pytest
import skops.io
from pydantic import ValidationError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from continuous_training.core.errors import ArtefactCorrupt, DataInvalid, SpecError
from continuous_training.trainers import Sklearn, TrainingData, Tuning, _sklearn
from continuous_training.trainers.sklearn import ESTIMATORS


def rows(classes: int = 2, *, categories: int = 6) -> TrainingData:
    random = np.random.default_rng(0)
    x = np.column_stack([random.normal(size=(400, 2)), random.integers(0, categories, 400)])
    x[::9, 0] = np.nan
    signal = x[:, 1] + (x[:, 2] == 3)
    y = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)) if classes else signal + 5
    y = y.astype(np.float64)
    return TrainingData(x[:300], y[:300], x[300:], y[300:], ("a", "b", "c"), (2,), classes)


def load(trainer, model: bytes, folder):
    path = folder / "model.skops"
    path.write_bytes(model)
    return trainer.load(path)


def test_every_estimator_is_listed_once_and_exists():
    names = [*ESTIMATORS["classification"], *ESTIMATORS["regression"]]
    assert sorted(names) == sorted(_sklearn.ESTIMATORS)


def test_every_parameter_that_is_searched_belongs_to_its_estimator():
    for estimator, space in _sklearn.SPACES.items():
        assert set(space) <= set(estimator().get_params()), estimator


@pytest.mark.parametrize("name", ["SVC", "sklearn.svm.SVC", "os.system", ""])
def test_an_estimator_that_is_not_listed_is_refused(name):
    with pytest.raises(ValidationError, match="DecisionTreeClassifier"):
        Sklearn(estimator=name)


def test_a_misspelt_parameter_is_answered_with_the_nearest_and_all_allowed():
    trainer = Sklearn(estimator="Ridge", parameters={"alfa": 1.0})
    with pytest.raises(
        SpecError, match=r"alfa is not a parameter of Ridge .*did you mean alpha\? allowed: alpha, copy_X"
    ):
        trainer.fit(rows(0), seed=1)


@pytest.mark.parametrize("name", ["random_state", "n_jobs", "verbose", "warm_start"])
def test_what_the_trainer_sets_itself_cannot_be_set(name):
    trainer = Sklearn(estimator="RandomForestClassifier", parameters={name: 1})
    with pytest.raises(
        SpecError, match=f"{name} is not a parameter of RandomForestClassifier that a model file may set"
    ):
        trainer.fit(rows(), seed=1)


def test_a_value_that_scikit_learn_refuses_is_an_error_of_the_model_file():
    trainer = Sklearn(estimator="Ridge", parameters={"alpha": -1.0})
    with pytest.raises(SpecError, match=r"scikit-learn refused .*alpha.*-1"):
        trainer.fit(rows(0), seed=1)


def test_labels_that_the_estimator_cannot_learn_are_an_error_of_the_data():
    data = rows(0)
    data.y_train[0] = -3
    with pytest.raises(DataInvalid, match="PoissonRegressor cannot learn from these rows"):
        Sklearn(estimator="PoissonRegressor").fit(data, seed=1)


def test_rows_without_any_value_are_an_error_of_the_data():
    data = rows()
    data.x_train[:] = np.nan
    with pytest.raises(DataInvalid, match="no feature has a value in any of the 300 training rows"):
        Sklearn(estimator="GaussianNB").fit(data, seed=1)


def test_a_warning_of_the_estimator_is_told_in_the_trial_and_not_raised():
    trainer = Sklearn(estimator="LogisticRegression", parameters={"max_iter": 1})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = trainer.fit(rows(), seed=1)
    assert not caught
    assert "converge" in fitted.trials[0]["note"]


def test_a_category_of_more_kinds_than_bins_is_learned(tmp_path):
    data = rows(categories=400)
    trainer = Sklearn(estimator="HistGradientBoostingClassifier", parameters={"max_iter": 5, "max_bins": 20}, threads=1)
    model = load(trainer, trainer.fit(data, seed=1).model, tmp_path)
    assert np.isfinite(model.predict(data.x_tune)).all()


def test_a_forest_predicts_on_one_thread_so_that_its_sums_repeat(tmp_path):
    trainer = Sklearn(estimator="RandomForestClassifier", parameters={"n_estimators": 5}, threads=2)
    path = tmp_path / "model.skops"
    path.write_bytes(trainer.fit(rows(), seed=1).model)
    assert skops.io.load(path, trusted=_sklearn.TRUSTED)[-1].n_jobs == 1


def test_a_search_varies_what_matters_for_the_estimator():
    fitted = Sklearn(estimator="Ridge", tuning=Tuning(trials=5)).fit(rows(0), seed=1)
    assert all(set(trial["parameters"]) == {"alpha"} for trial in fitted.trials[1:])
    assert fitted.trials[0]["squared_error"] == fitted.trials[0]["score"]


# The file


def test_a_model_file_holds_no_time_and_no_address():
    model = Sklearn(estimator="RandomForestClassifier", parameters={"n_estimators": 3}).fit(rows(), seed=1).model
    with ZipFile(io.BytesIO(model)) as archive:
        names = archive.namelist()
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert names == [*(f"{number}.npy" for number in range(len(names) - 1)), "schema.json"]
        assert max(ids(json.loads(archive.read("schema.json")))) < 10_000


def ids(node) -> list[int]:
    if isinstance(node, dict):
        return [*([node["__id__"]] if "__id__" in node else []), *(i for part in node.values() for i in ids(part))]
    return [i for part in node for i in ids(part)] if isinstance(node, list) else []


def test_a_rewritten_file_holds_the_same_model(tmp_path):
    data = rows()
    trainer = Sklearn(estimator="LogisticRegression", threads=1)
    fitted = trainer.fit(data, seed=1)
    with ZipFile(io.BytesIO(fitted.model)) as archive:
        assert archive.testzip() is None
    expected = _sklearn._pipeline(_sklearn.LogisticRegression, {}, data, seed=1, threads=1)
    expected.fit(data.x_train, data.y_train.astype(int))
    found = load(trainer, fitted.model, tmp_path).predict(data.x_tune)
    np.testing.assert_array_equal(found, expected.predict_proba(data.x_tune))


def test_a_file_that_asks_for_another_type_is_refused_before_it_is_built(tmp_path):
    hostile = skops.io.dumps(Pipeline([("run", FunctionTransformer(func=os.system))]))
    with pytest.raises(ArtefactCorrupt, match=r"not a model of this trainer: .*system"):
        load(Sklearn(estimator="Ridge"), hostile, tmp_path)


def test_a_file_that_holds_no_pipeline_is_refused(tmp_path):
    with pytest.raises(ArtefactCorrupt, match="holds a list, not a pipeline"):
        load(Sklearn(estimator="Ridge"), skops.io.dumps([1, 2]), tmp_path)


def test_a_pickle_is_refused(tmp_path):
    with pytest.raises(ArtefactCorrupt, match="not a model of this trainer"):
        load(Sklearn(estimator="Ridge"), b"\x80\x04K\x01.", tmp_path)


def test_a_file_that_is_not_there_is_no_corrupt_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        Sklearn(estimator="Ridge").load(tmp_path / "model.skops")


FINGERPRINTS = """
import hashlib, sys
import numpy as np
from continuous_training.trainers import LightGBM, Sklearn, TrainingData
random = np.random.default_rng(0)
x = np.column_stack([random.normal(size=(400, 2)), random.integers(0, 6, 400)])
x[::9, 0] = np.nan
y = (x[:, 1] + random.normal(size=400) > 0).astype(float)
data = TrainingData(x[:300], y[:300], x[300:], y[300:], ("a", "b", "c"), (2,), 2)
for trainer in (
    LightGBM(rounds=20),
    Sklearn(estimator="HistGradientBoostingClassifier", parameters={"max_iter": 10}, threads=1),
    Sklearn(estimator="RandomForestClassifier", parameters={"n_estimators": 10}),
    Sklearn(estimator="LogisticRegression"),
):
    for trials in (0, 4):
        print(hashlib.sha256(trainer.fit(data, seed=5, trials=trials).model).hexdigest())
"""


def test_processes_that_share_nothing_make_the_same_bytes():
    def fingerprints(hash_seed: str) -> list[str]:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", FINGERPRINTS],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        return done.stdout.split()

    first = fingerprints("1")
    assert len(set(first)) >= 4
    assert fingerprints("2") == first
