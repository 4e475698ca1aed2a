"""What a model would say of one row if it were another in one column."""

import json

import pytest

from continuous_training.core.errors import DataInvalid
from continuous_training.core.task import Task
from continuous_training.serving import what_if
from continuous_training.serving.asked import TooManyRows
from continuous_training.serving.strict import Strict
from continuous_training.serving.what_if import MAX_VALUES, answer
from continuous_training.trainers import LightGBM
from continuous_training.trainers.bundle import load_bundle
from served_model import release, train

ROW = {"distance": 1400.0, "wind": 12.5, "carrier": "UA"}


@pytest.fixture(scope="module")
def bundle(trained):
    return load_bundle(trained[0])


def ask(bundle, **question):
    return json.loads(answer(release(7), bundle, None, json.dumps({"row": ROW} | question).encode()))


def test_each_value_gets_the_prediction_of_the_row_with_it(bundle):
    change = {"wind": [0, 5.5, None], "carrier": ["AA", "never seen"], "distance": [1400.0]}
    told = ask(bundle, change=change)
    assert (told["model_name"], told["model_version"]) == ("flights", "7")
    assert told["prediction"] == bundle.answer_row(ROW)
    assert told["change"] == {
        name: [bundle.answer_row(ROW | {name: value}) for value in values] for name, values in change.items()
    }
    assert "crossings" not in told


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("row", [ROW, {"distance": 300, "wind": None, "carrier": None}])
def test_a_crossing_is_the_nearest_known_value_that_crosses(bundle, row, threshold):
    told = ask(bundle, row=row, threshold=threshold)
    above = told["prediction"] >= threshold
    known = {name: [golden[name] for golden in bundle.golden.rows] for name in ("distance", "wind")}
    known["carrier"] = list(bundle.manifest.preparation.categories["carrier"])
    for name, values in known.items():
        predicted = {value: bundle.answer_row(row | {name: value}) for value in values if value is not None}
        crossing = [value for value, found in predicted.items() if (found >= threshold) != above]
        assert (name in told["crossings"]) == bool(crossing)
        if crossing:
            found = told["crossings"][name]
            assert found["prediction"] == predicted[found["value"]]
            assert found["value"] in crossing
            if name == "distance":
                assert abs(found["value"] - row[name]) == min(abs(value - row[name]) for value in crossing)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({}, "there is nothing to answer"),
        ({"change": {}}, "there is nothing to answer"),
        ({"change": {"wnd": [1]}}, "change: 'wnd' is no column of the model; allowed: distance, wind, carrier"),
        ({"change": {"wind": []}}, "change: wind has no values"),
        ({"change": {"wind": ["x"]}}, "change: column 'wind' must hold numbers, got 'x'"),
        ({"change": {"wind": [[1]]}}, "change: wind holds a list"),
        ({"change": {"carrier": [{"a": 1}]}}, "change: carrier holds an object"),
        ({"change": {"wind": 5}}, r"Expected `array`, got `int`.*change"),
        ({"change": [1]}, "Expected `object`, got `array`"),
        ({"threshold": "high"}, r"Expected `float \| null`.*threshold"),
        ({"row": {"wind": 1}, "threshold": 0.5}, "row: missing distance, carrier"),
        ({"row": {**ROW, "wind": "x"}, "threshold": 0.5}, "column 'wind' must hold numbers"),
        ({"row": {**ROW, "wind": [1]}, "threshold": 0.5}, "column 'wind' must hold numbers"),
        ({"row": 5, "threshold": 0.5}, "Expected `object`, got `int`"),
        ({"rows": [ROW], "threshold": 0.5}, "unknown field `rows`"),
    ],
)
def test_what_is_no_question_is_refused_by_the_name_of_what_is_wrong(bundle, question, said):
    with pytest.raises(DataInvalid, match=said):
        ask(bundle, **question)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 200_000, b"null", b'{"row": NaN}', b'{"change": {}}'])
def test_what_is_no_json_object_with_a_row_is_refused(bundle, body):
    with pytest.raises(DataInvalid, match="the body"):
        answer(release(7), bundle, None, body)


def test_a_question_is_bounded(bundle, monkeypatch):
    assert len(ask(bundle, change={"wind": [1] * MAX_VALUES})["change"]["wind"]) == MAX_VALUES
    with pytest.raises(TooManyRows, match="change: holds 1,001 values"):
        ask(bundle, change={"wind": [1] * MAX_VALUES, "distance": [1]})
    monkeypatch.setattr(what_if, "MAX_CELLS", 100)
    with pytest.raises(TooManyRows, match=r"threshold: .* at most 33 are tried"):
        ask(bundle, threshold=0.5)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"row": ROW | {"gust": 1}, "threshold": 0.5}, "gust: no column of the model, and this server is strict"),
        ({"row": ROW | {"carrier": "ZZ"}, "threshold": 0.5}, "column 'carrier' holds 'ZZ'"),
        ({"row": ROW, "change": {"wind": [1, 2], "carrier": ["UA", "ZZ"]}}, "column 'carrier' holds 'ZZ'"),
    ],
)
def test_a_strict_server_tries_only_what_training_saw(bundle, question, said):
    strict, body = Strict(bundle.manifest.preparation), json.dumps(question).encode()
    assert answer(release(7), bundle, None, body)
    with pytest.raises(DataInvalid, match=said):
        answer(release(7), bundle, strict, body)
    answer(release(7), bundle, strict, json.dumps({"row": ROW, "change": {"carrier": ["AA", None]}}).encode())


def test_several_classes_are_tried_and_have_no_threshold(tmp_path):
    task = Task(kind="classification", label="carrier", event_time="at")
    bundle = load_bundle(train(tmp_path / "classes", 3, LightGBM(rounds=5), task))
    assert [len(found) for found in ask(bundle, change={"wind": [1, 2]})["change"]["wind"]] == [3, 3]
    with pytest.raises(DataInvalid, match="threshold: the model tells 3 classes apart"):
        ask(bundle, threshold=0.5)
