from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from continuous_training.core.errors import SpecError
from continuous_training.trainers import LightGBM, TrainingData, Tuning
from continuous_training.trainers.lightgbm import ALLOWED, INSTEAD, METRICS, OBJECTIVES


def rows(classes: int = 2, *, train: int = 300) -> TrainingData:
    random = np.random.default_rng(0)
    x = np.column_stack([random.normal(size=(400, 2)), random.integers(0, 6, 400)])
    signal = x[:, 0] + (x[:, 2] == 3) + 0.5 * random.normal(size=400)
    y = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)) if classes else signal + 5
    y = y.astype(np.float64)
    return TrainingData(x[:train], y[:train], x[300:], y[300:], ("a", "b", "c"), (2,), classes)


def small(**fields) -> LightGBM:
    return LightGBM(**{"rounds": 20, "threads": 1, **fields})


def test_every_parameter_it_allows_is_known_to_lightgbm_and_reads_no_file():
    from lightgbm.basic import _ConfigAliases

    _ConfigAliases.get("num_leaves")
    assert set(ALLOWED) <= set(_ConfigAliases.aliases)
    assert not [name for name in ALLOWED if "file" in name or name in {"data", "valid", "config", "machines"}]


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_single_rows_are_predicted_as_in_a_batch_to_the_last_bit(classes, tmp_path):
    data = rows(classes)
    path = tmp_path / "model.txt"
    path.write_bytes(small().fit(data, seed=1).model)
    model = small().load(path)
    x = np.vstack([data.x_tune, [[np.nan, 1e300, 7.0]]])
    batch = model.predict(x)
    for row, expected in zip(x, batch, strict=True):
        assert model.predict(row[None]).tobytes() == np.ascontiguousarray(expected).tobytes()
        single = model.predict_row(row.tolist())
        assert single == (expected[1] if classes == 2 else expected.tolist())
    with pytest.raises(ValueError, match="has 3 features, the row has 2"):
        model.predict_row([1.0, 2.0])


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_contributions_add_up_to_the_raw_score(classes, tmp_path):
    data = rows(classes)
    path = tmp_path / "model.txt"
    path.write_bytes(small().fit(data, seed=1).model)
    model = small().load(path)
    raw = model.explain(data.x_tune).sum(axis=-1)
    predicted = model.predict(data.x_tune)
    if classes == 0:
        assert raw == pytest.approx(predicted, abs=1e-9)
    elif classes == 2:
        assert 1 / (1 + np.exp(-raw)) == pytest.approx(predicted[:, 1], abs=1e-9)
    else:
        powers = np.exp(raw)
        assert powers / powers.sum(axis=1, keepdims=True) == pytest.approx(predicted, abs=1e-9)


def test_the_model_is_lightgbms_own_text():
    assert small().fit(rows(), seed=1).model.startswith(b"tree\nversion=v4\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("output_model", "/tmp/x"),
        ("forcedsplits_filename", "x"),
        ("machines", "x"),
        ("input_model", "x"),
        ("data", "x"),
    ],
)
def test_a_parameter_that_names_a_file_or_a_machine_is_refused(name, value):
    with pytest.raises(ValidationError, match=f"{name} is not a parameter of LightGBM that a model file may set"):
        LightGBM(parameters={name: value})


def test_a_misspelt_parameter_is_answered_with_the_nearest_and_all_allowed():
    with pytest.raises(ValidationError, match=r"did you mean num_leaves\? allowed: alpha, .*tweedie_variance_power"):
        LightGBM(parameters={"num_leafs": 31})


@pytest.mark.parametrize(("name", "instead"), [("n_estimators", "field rounds"), ("eta", "learning_rate")])
def test_a_name_known_from_elsewhere_is_answered_with_the_right_one(name, instead):
    with pytest.raises(ValidationError, match=f"{name} cannot be set here; use .*{instead}"):
        LightGBM(parameters={name: 1})


def test_no_name_is_both_allowed_and_replaced():
    assert not set(ALLOWED) & set(INSTEAD)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("num_leaves", 31.5, "a whole number"),
        ("num_leaves", True, "a whole number"),
        ("learning_rate", "fast", "a number"),
        ("learning_rate", None, "a number"),
        ("extra_trees", 1, "true or false"),
        ("objective", 3, "text"),
    ],
)
def test_a_parameter_of_the_wrong_type_is_refused_with_the_value_seen(name, value, wanted):
    with pytest.raises(ValidationError, match=f"{name} must be {wanted}, got {value!r}"):
        LightGBM(parameters={name: value})


def test_a_whole_number_is_a_number():
    assert LightGBM(parameters={"lambda_l2": 1}).parameters == {"lambda_l2": 1}


def test_a_value_that_lightgbm_itself_refuses_is_an_error_of_the_model_file():
    with pytest.raises(SpecError, match=r"LightGBM refused .*\(num_leaves\) > \(1\); .*retry gives the same"):
        small(parameters={"num_leaves": 1}).fit(rows(), seed=1)


def test_labels_that_the_objective_cannot_learn_are_an_error_of_the_model_file():
    data = rows(0)
    with pytest.raises(SpecError, match="LightGBM refused"):
        small(parameters={"objective": "poisson"}).fit(replace(data, y_train=-data.y_train), seed=1)


@pytest.mark.parametrize(("name", "value"), [("objective", "poisson"), ("metric", "rmse"), ("objective", "lambdarank")])
def test_what_is_made_for_values_is_refused_for_classes(name, value):
    trainer = small(parameters={name: value})
    with pytest.raises(ValueError, match=f"{name}: '{value}' is not for classification; allowed: binary"):
        trainer.check("classification")
    with pytest.raises(SpecError, match=r"cannot learn 2 classes; .*choose a metric among binary_logloss, auc"):
        trainer.fit(rows(), seed=1)


def test_an_objective_for_two_classes_is_refused_when_there_are_three():
    trainer = small(parameters={"objective": "binary"})
    trainer.check("classification")
    with pytest.raises(SpecError, match=r"objective 'binary' .*cannot learn 3 classes"):
        trainer.fit(rows(3), seed=1)


@pytest.mark.parametrize("metric", METRICS["binary"])
def test_two_classes_can_be_judged_by_every_metric(metric):
    fitted = small(parameters={"metric": metric}).fit(rows(), seed=1)
    assert 0 <= fitted.trials[0][metric] <= 1


@pytest.mark.parametrize("metric", METRICS["multiclass"])
def test_three_classes_can_be_judged_by_every_metric(metric):
    assert small(parameters={"metric": metric}).fit(rows(3), seed=1).trials[0][metric] >= 0


@pytest.mark.parametrize("metric", METRICS["regression"])
def test_values_can_be_judged_by_every_metric(metric):
    assert np.isfinite(small(parameters={"metric": metric}).fit(rows(0), seed=1).trials[0][metric])


@pytest.mark.parametrize("objective", OBJECTIVES["regression"])
def test_values_can_be_learned_with_every_objective(objective, tmp_path):
    trainer = small(parameters={"objective": objective})
    trainer.check("regression")
    path = tmp_path / "model.txt"
    path.write_bytes(trainer.fit(rows(0), seed=1).model)
    predicted = trainer.load(path).predict(rows(0).x_tune)
    assert 3 < predicted.mean() < 7


def test_a_metric_that_should_rise_is_searched_upwards():
    fitted = small(parameters={"metric": "auc"}, tuning=Tuning(trials=5)).fit(rows(), seed=1)
    best = max(trial["auc"] for trial in fitted.trials)
    chosen = [t for t in fitted.trials if {**t["parameters"], "rounds": t["rounds"]} == fitted.parameters]
    assert chosen[0]["auc"] == best > min(trial["auc"] for trial in fitted.trials)


def test_growing_stops_early_and_the_best_number_of_trees_is_kept():
    fitted = LightGBM(rounds=500, patience=5, threads=1, parameters={"learning_rate": 0.3}).fit(rows(), seed=1)
    kept = fitted.parameters["rounds"]
    assert kept < 100
    assert fitted.model.count(b"\nTree=") == kept


def test_without_tune_rows_all_rounds_are_grown():
    data = rows()
    data = replace(data, x_tune=data.x_tune[:0], y_tune=data.y_tune[:0])
    fitted = small().fit(data, seed=1)
    assert fitted.parameters == {"rounds": 20}
    assert fitted.trials[0]["score"] is None


def test_trials_that_share_their_bins_equal_models_trained_alone():
    given = {"learning_rate": 0.001}
    fitted = small(parameters=given, tuning=Tuning(trials=6)).fit(rows(), seed=1)
    parameters = {name: value for name, value in fitted.parameters.items() if name != "rounds"}
    assert len(parameters) > len(given)  # what was found beats what was given
    assert small(parameters=parameters).fit(rows(), seed=1).model == fitted.model


def test_a_category_is_learned_as_a_category(tmp_path):
    assert b"num_cat=1" in small().fit(rows(), seed=1).model


@pytest.mark.parametrize("names", [("distance [km]", "a,b", "c:d"), ("größe", "b c", "d")])
def test_names_that_lightgbm_cannot_write_do_no_harm(names):
    fitted = small().fit(replace(rows(), names=names), seed=1)
    assert b"feature_names=Column_0 Column_1 Column_2\n" in fitted.model
    assert b"feature_names=a b c\n" in small().fit(rows(), seed=1).model


def test_a_seed_of_any_size_is_taken():
    assert small().fit(rows(), seed=2**63).model


def test_the_defaults_are_those_of_the_documentation():
    trainer = LightGBM()
    assert (trainer.rounds, trainer.patience, trainer.threads, trainer.tuning.trials) == (300, 30, 2, 0)
