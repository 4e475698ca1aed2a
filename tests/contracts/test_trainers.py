"""What every trainer promises, for every kind of task it learns."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from pydantic import TypeAdapter

from continuous_training.core.errors import ArtefactCorrupt, DataInvalid, SpecError
from continuous_training.trainers import AnyTrainer, Ensemble, Fitted, LightGBM, Sklearn, Trainer, TrainingData, Tuning
from continuous_training.trainers.sklearn import Estimator

if TYPE_CHECKING:
    from pathlib import Path

FEW_TREES = {"n_estimators": 8}
SMALL: dict[str, dict[str, Any]] = {
    **{
        f"{kind}{suffix}": FEW_TREES
        for kind in ("ExtraTrees", "RandomForest")
        for suffix in ("Classifier", "Regressor")
    },
    **{f"GradientBoosting{suffix}": {"n_estimators": 8} for suffix in ("Classifier", "Regressor")},
    **{f"HistGradientBoosting{suffix}": {"max_iter": 8} for suffix in ("Classifier", "Regressor")},
}
TRAINERS: list[Trainer] = [
    LightGBM(rounds=40, threads=1),
    Ensemble(rounds=40, threads=1),
    *(Sklearn(estimator=name, threads=1, parameters=SMALL.get(name, {})) for name in get_args(Estimator)),
]
CLASSES = {"binary": 2, "multiclass": 3, "regression": 0}
TRAIN = 160


def learns(trainer: Trainer, classes: int) -> bool:
    try:
        trainer.check("classification" if classes else "regression")
    except ValueError:
        return False
    return True


def rows(classes: int, seed: int = 0) -> TrainingData:
    """Two informative columns and one of noise, with gaps, and a categorical column of five codes."""
    random = np.random.default_rng(seed)
    x = np.column_stack([random.normal(size=(240, 3)), random.integers(0, 5, 240)])
    signal = x[:, 0] + (x[:, 3] == 2) + 0.3 * random.normal(size=240)
    y = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)) if classes else signal + 5
    x[::11, 1] = np.nan
    x[::13, 3] = np.nan
    y = y.astype(np.float64)
    return TrainingData(x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:], ("a", "b", "c", "d"), (3,), classes)


CASES = [(trainer, classes) for trainer in TRAINERS for classes in CLASSES.values() if learns(trainer, classes)]


def name(case: tuple[Trainer, int]) -> str:
    trainer, classes = case
    return f"{getattr(trainer, 'estimator', trainer.kind)}-{classes or 'values'}"


@pytest.fixture(params=CASES, ids=name, scope="module")
def case(request: pytest.FixtureRequest) -> tuple[Trainer, TrainingData, Fitted]:
    trainer, classes = request.param
    data = rows(classes)
    return trainer, data, trainer.fit(data, seed=7)


def predictions(trainer: Trainer, fitted: Fitted, x: np.ndarray, folder: Path) -> np.ndarray:
    path = folder / trainer.file
    path.write_bytes(fitted.model)
    return trainer.load(path).predict(x)


def loss(predicted: np.ndarray, data: TrainingData) -> float:
    if not data.classes:
        return float(np.mean((predicted - data.y_tune) ** 2))
    true = predicted[np.arange(len(predicted)), data.y_tune.astype(int)]
    return float(-np.log(np.maximum(true, 1e-15)).mean())


def test_a_loaded_model_predicts_probabilities_of_all_classes_or_one_value_a_row(case, tmp_path):
    trainer, data, fitted = case
    predicted = predictions(trainer, fitted, data.x_tune, tmp_path)
    assert predicted.shape == ((80, data.classes) if data.classes else (80,))
    assert np.isfinite(predicted).all()
    if data.classes:
        assert (predicted >= 0).all()
        assert predicted.sum(axis=1) == pytest.approx(1, abs=1e-9)


def test_a_model_is_better_than_knowing_nothing(case, tmp_path):
    trainer, data, fitted = case
    predicted = predictions(trainer, fitted, data.x_tune, tmp_path)
    if data.classes:
        assert (predicted.argmax(axis=1) == data.y_tune).mean() > 1.3 / data.classes
    else:
        assert loss(predicted, data) < np.var(data.y_tune)


def test_the_same_rows_and_seed_give_the_same_bytes(case):
    trainer, data, fitted = case
    assert trainer.fit(data, seed=7).model == fitted.model


def test_matrices_mapped_from_a_file_give_the_same_bytes(case, tmp_path):
    trainer, data, fitted = case
    mapped = {}
    for name in ("x_train", "y_train", "x_tune", "y_tune"):
        np.save(tmp_path / name, np.asfortranarray(getattr(data, name)))
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    assert trainer.fit(replace(data, **mapped), seed=7).model == fitted.model


def test_unseen_and_missing_values_get_a_finite_answer(case, tmp_path):
    trainer, _, fitted = case
    strange = np.array([[0.1, 0.2, 0.3, 5.0], [0.1, 0.2, 0.3, 99.0], [np.nan] * 4, [1e2, -1e2, 0.0, 1.0]])
    assert np.isfinite(predictions(trainer, fitted, strange, tmp_path)).all()


def test_one_row_gets_the_answer_it_gets_among_others(case, tmp_path):
    trainer, data, fitted = case
    path = tmp_path / trainer.file
    path.write_bytes(fitted.model)
    model = trainer.load(path)
    alone = np.concatenate([model.predict(data.x_tune[row : row + 1]) for row in range(5)])
    np.testing.assert_allclose(alone, model.predict(data.x_tune)[:5], rtol=1e-12, atol=1e-12)


def test_a_search_is_never_worse_on_the_tune_rows_and_repeats_itself(case, tmp_path):
    trainer, data, fitted = case
    tuned = trainer.fit(data, seed=7, trials=3)
    once = loss(predictions(trainer, fitted, data.x_tune, tmp_path), data)
    assert loss(predictions(trainer, tuned, data.x_tune, tmp_path), data) <= once + 1e-12
    assert len(tuned.trials) == 3
    assert tuned.trials[0]["parameters"] == trainer.parameters
    assert trainer.fit(data, seed=7, trials=3) == tuned
    assert len(json.dumps(tuned.trials)) < 2000


def test_the_champions_parameters_are_the_second_trial(case):
    trainer, data, _ = case
    champion = trainer.fit(data, seed=1, trials=4).parameters
    tuned = trainer.fit(data, seed=7, trials=2, warm_start={**champion, "of_another_trainer": 3})
    known = {name: value for name, value in champion.items() if name not in {"rounds", *trainer.parameters}}
    if known:
        assert tuned.trials[1]["parameters"] == {**trainer.parameters, **known}
    assert "of_another_trainer" not in tuned.parameters


def test_what_was_found_fits_again_in_the_same_way_without_tune_rows(case, tmp_path):
    trainer, data, _ = case
    tuned = trainer.fit(data, seed=7, trials=3)
    alone = replace(data, x_tune=data.x_tune[:0], y_tune=data.y_tune[:0])
    again = trainer.settled(tuned.parameters).fit(alone, seed=7)
    assert again.parameters == tuned.parameters
    assert len(again.trials) == 1
    np.testing.assert_allclose(
        predictions(trainer, again, data.x_tune, tmp_path), predictions(trainer, tuned, data.x_tune, tmp_path)
    )


def test_the_parameters_found_can_be_written_as_json(case):
    assert json.loads(json.dumps(case[2].parameters)) == case[2].parameters


def test_very_few_rows_give_a_model_or_a_defined_error(case, tmp_path):
    trainer, data, _ = case
    few = max(data.classes, 2)
    y = np.arange(few, dtype=np.float64)
    tiny = replace(data, x_train=data.x_train[:few], y_train=y, x_tune=data.x_tune[:0], y_tune=data.y_tune[:0])
    with contextlib.suppress(DataInvalid):
        fitted = trainer.fit(tiny, seed=7)
        assert np.isfinite(predictions(trainer, fitted, data.x_tune, tmp_path)).all()


def test_a_column_without_any_value_does_no_harm(case, tmp_path):
    trainer, data, _ = case
    x_train, x_tune = data.x_train.copy(), data.x_tune.copy()
    x_train[:, 2] = x_tune[:, 2] = np.nan
    x_train[:, 3] = np.nan
    fitted = trainer.fit(replace(data, x_train=x_train, x_tune=x_tune), seed=7)
    assert np.isfinite(predictions(trainer, fitted, data.x_tune, tmp_path)).all()


def test_a_search_without_tune_rows_is_refused(case):
    trainer, data, _ = case
    with pytest.raises(DataInvalid, match=r"3 trials need tune rows.*tuning: \{trials: 0\}"):
        trainer.fit(replace(data, x_tune=data.x_tune[:0], y_tune=data.y_tune[:0]), seed=7, trials=3)


def test_a_damaged_file_is_refused(case, tmp_path):
    trainer, _, fitted = case
    path = tmp_path / trainer.file
    for damaged in (b"", b"nonsense", fitted.model[: len(fitted.model) // 2], b"\xff" + fitted.model[1:-40]):
        path.write_bytes(damaged)
        with pytest.raises(
            ArtefactCorrupt, match=f"{trainer.file} is not a model|{trainer.file} is not a LightGBM model"
        ):
            trainer.load(path)


def test_a_trainer_survives_its_journey_as_json(case):
    trainer = case[0]
    adapter: TypeAdapter[Any] = TypeAdapter(AnyTrainer)
    assert adapter.validate_json(trainer.model_dump_json()) == trainer


@pytest.mark.parametrize("trainer", [t for t in TRAINERS if not learns(t, 2)], ids=lambda t: t.estimator)
def test_an_estimator_for_values_refuses_classes(trainer):
    with pytest.raises(SpecError, match=f"{trainer.estimator} is not for classification; allowed: DecisionTreeClass"):
        trainer.fit(rows(2), seed=7)


def test_another_seed_gives_another_model_where_chance_has_a_part():
    trainer = LightGBM(rounds=10, threads=1, parameters={"bagging_fraction": 0.5})
    assert trainer.fit(rows(2), seed=1).model != trainer.fit(rows(2), seed=2).model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.empty((0, 4)), "y_train": np.empty(0)}, "no training rows"),
        ({"y_train": np.full(TRAIN, np.nan)}, "have no label"),
        ({"y_tune": np.full(80, np.nan)}, "have no label"),
        ({"y_train": np.zeros(TRAIN)}, r"1 of 2 classes have no training row \(class number 1"),
    ],
)
def test_rows_that_cannot_be_learned_are_refused_before_any_trainer_sees_them(change, message):
    with pytest.raises(DataInvalid, match=message):
        replace(rows(2), **change)


def test_time_for_the_search_ends_it_after_the_first_trial_at_the_earliest():
    trainer = LightGBM(rounds=5, threads=1, tuning=Tuning(trials=50, time="0 seconds"))
    assert len(trainer.fit(rows(2), seed=7).trials) == 1
