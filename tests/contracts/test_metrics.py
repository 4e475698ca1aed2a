"""What holds for every kind of metric that a model file may declare; a kind joins by being named in `AnyMetric`."""

import doctest
import inspect
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from continuous_training import performance
from continuous_training._performance import Truth
from continuous_training.metrics import KINDS, AnyMetric

UNHURRIED = settings(deadline=None, max_examples=50)
SAMPLING = {"confidence": 0.95, "resamples": 100, "seed": 7}
EXAMPLES = [
    {"kind": "cost", "name": "m", "true_positive": 5, "false_positive": 7, "false_negative": 90, "true_negative": -1},
    {"kind": "cost", "name": "m", "false_positive": 1, "false_negative": 3, "threshold": 0.4},
    {"kind": "f_beta", "name": "m", "beta": 2},
    {"kind": "f_beta", "name": "m", "beta": 0.5, "threshold": 0.3},
    {"kind": "precision_at", "name": "m", "top": 0.13},
    {"kind": "recall_at", "name": "m", "top": 0.13},
    {"kind": "quantile_loss", "name": "m", "quantile": 0.8},
    {"kind": "within", "name": "m", "tolerance": 0.7},
]
every_metric = pytest.mark.parametrize(
    "metric", [TypeAdapter(AnyMetric).validate_python(one) for one in EXAMPLES], ids=repr
)


def rows(metric, count=200, *, seed=0, strength=0.3):
    random = np.random.default_rng(seed)
    if metric.task_kind == "regression":
        y = random.normal(size=count)
        return y, y + random.normal(0, 1 - strength, count).round(1)
    y = (random.random(count) < 0.3).astype(float)
    score = np.clip(strength * y + (1 - strength) * random.random(count), 0, 1).round(2)  # many rows of one score
    return y, np.column_stack([1 - score, score])


def value(metric, y, prediction, weights=None):
    return metric.statistic(Truth(y), prediction)(np.ones(len(y)) if weights is None else weights)


def test_every_kind_has_an_example():
    assert {one["kind"] for one in EXAMPLES} == {kind.model_fields["kind"].default for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_its_docstring_says_which_side_is_better_and_its_example_runs(kind):
    text = inspect.getdoc(kind).partition("\n\n")[0]
    assert text.endswith("more is better." if kind.greater else "less is better.")
    module = import_module(kind.__module__)
    [test] = doctest.DocTestFinder(recurse=False).find(kind, kind.__name__, module=module, globs=vars(module).copy())
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


@every_metric
@UNHURRIED
@given(st.lists(st.integers(0, 3), min_size=40, max_size=40).filter(any), st.integers(0, 5))
def test_a_weight_is_how_often_a_row_is_there(metric, weights, seed):
    y, prediction = rows(metric, 40, seed=seed)
    many = np.repeat(np.arange(40), weights)
    found = value(metric, y, prediction, np.array(weights, dtype=float))
    assert found == pytest.approx(value(metric, y[many], prediction[many]), nan_ok=True)


@every_metric
@UNHURRIED
@given(st.permutations(range(40)), st.integers(0, 5))
def test_the_order_of_rows_makes_no_difference(metric, order, seed):
    y, prediction = rows(metric, 40, seed=seed)
    assert value(metric, y[order], prediction[order]) == pytest.approx(value(metric, y, prediction), nan_ok=True)


@every_metric
def test_the_better_model_is_shown_to_be_better_by_the_same_interval_whichever_side_that_is(metric):
    y, good = rows(metric, 2000, strength=0.8)
    bad = rows(metric, 2000, strength=0.1)[1]
    found = performance.compare(
        metric, y, good, bad, slices={"half": np.arange(2000) % 2}, all_metrics=[metric], **SAMPLING
    )
    assert 0 < found.difference.low < found.difference.value < found.difference.high
    assert (found.metric, found.greater_is_better) == ("m", metric.greater)
    assert all(part.difference.low > 0 for part in found.slices)
    assert found.metrics == {"m": (found.challenger.value, found.champion.value)}
    turned = performance.compare(metric, y, bad, good, slices={}, all_metrics=(), **SAMPLING).difference
    assert (turned.low, turned.high) == pytest.approx((-found.difference.high, -found.difference.low))


@every_metric
def test_its_interval_holds_its_value(metric):
    y, prediction = rows(metric, 1000)
    found = performance.estimate(metric, y, prediction, **SAMPLING)
    assert found.metric == "m"
    assert found.value == pytest.approx(value(metric, y, prediction))
    assert found.low < found.value < found.high


@every_metric
def test_more_than_two_classes_have_no_value_and_a_reason(metric):
    if metric.task_kind != "classification":
        return
    found = performance.estimate(metric, np.arange(30) % 3, np.full((30, 3), 1 / 3), **SAMPLING)
    assert found.value is None
    assert found.note == f"{metric.kind} is for two classes and there are 3"


@every_metric
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_labels_that_are_all_the_same_are_measured_or_said_to_be_too_few(metric, label):
    y, prediction = np.full(40, label), rows(metric, 40)[1] * 0.2
    found = performance.estimate(metric, y, prediction, **SAMPLING)
    assert (found.value is None) == bool(found.note)
    assert "{" not in found.note


@every_metric
def test_it_travels_as_json(metric):
    adapter = TypeAdapter(AnyMetric)
    assert adapter.validate_json(adapter.dump_json(metric)) == metric


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "cost", "false_positive": 1, "false_negative": 0},
        {"kind": "cost", "false_positive": 1, "false_negative": 5, "true_positive": 5},
        {"kind": "cost", "false_positive": 1, "false_negative": 5, "true_negative": 2},
        {"kind": "cost", "false_positive": 1, "false_negative": 5, "threshold": 1},
        {"kind": "cost", "false_positive": 1, "false_negative": 5, "threshold": "best"},
        {"kind": "cost", "false_positive": 1},
        {"kind": "f_beta", "beta": 0},
        {"kind": "f_beta", "beta": 1, "threshold": 0},
        {"kind": "precision_at", "top": 0},
        {"kind": "recall_at", "top": 1},
        {"kind": "quantile_loss", "quantile": 1},
        {"kind": "within", "tolerance": -1},
        {"kind": "within", "tolerance": float("inf")},
        {"kind": "within", "tolerance": 1, "code": "y - p"},
        {"kind": "rmse"},
        *({"kind": "within", "tolerance": 1, "name": name} for name in ("", "Late", "my metric", "1st", "m" * 64)),
    ],
    ids=str,
)
def test_a_declaration_without_a_meaning_is_refused(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(AnyMetric).validate_python({"name": "m", **wrong})
