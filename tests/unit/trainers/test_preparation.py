from __future__ import annotations

from decimal import Decimal
from math import inf, nan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from continuous_training.core.errors import DataInvalid, SpecError
from continuous_training.core.task import Features, Task
from continuous_training.trainers import Cleaning, Preparation, encode_label

CLASSIFY = Task(kind="classification", label="late", event_time="at")
PREDICT = Task(kind="regression", label="delay", event_time="at")
FLIGHTS = Features(numeric=("distance", "hour"), categorical=("carrier",))


def prepared(categories=("AA", "UA"), **cleaning) -> Preparation:
    return Preparation(features=FLIGHTS, cleaning=Cleaning(**cleaning), categories={"carrier": categories})


def one(value, *, column="distance", preparation=None) -> float:
    row = {"distance": [1.0], "hour": [2.0], "carrier": ["AA"], column: [value]}
    return (preparation or prepared()).transform(row)[0, FLIGHTS.columns.index(column)]


def label(value) -> str:
    return f"{type(value).__name__} {value}"


# Categories


def test_a_category_with_too_few_training_rows_joins_those_never_seen():
    frame = pd.DataFrame({"distance": 1.0, "hour": 1, "carrier": ["UA"] * 3 + ["AA"] * 2 + ["OO"]})
    fitted = Preparation.fit(frame, FLIGHTS, Cleaning(rare=2))
    assert fitted.categories == {"carrier": ("AA", "UA")}
    assert one("OO", column="carrier", preparation=fitted) == one("never", column="carrier", preparation=fitted) == 2


@pytest.mark.parametrize(
    "missing", [None, nan, pd.NA, pd.NaT, np.float64("nan"), Decimal("NaN"), Decimal("sNaN")], ids=label
)
def test_a_missing_value_is_nan_in_every_column(missing):
    assert np.isnan(one(missing, column="carrier"))
    assert np.isnan(one(missing, column="distance"))


@pytest.mark.parametrize("value", [5, 5.0, "5", Decimal(5), Decimal("5.00"), np.int8(5), np.float32(5)], ids=label)
def test_a_whole_number_is_the_same_category_however_it_is_stored(value):
    assert one(value, column="carrier", preparation=prepared(("4", "5"))) == 1


@pytest.mark.parametrize(("value", "code"), [(True, 1), (np.True_, 1), ("True", 1), (1, 0), (False, 2)], ids=label)
def test_true_is_a_category_of_its_own(value, code):
    assert one(value, column="carrier", preparation=prepared(("1", "True"))) == code


def test_a_column_that_mixes_true_and_one_is_read_the_same_from_a_frame():
    values = [True, 1, 1.0, "1", None]
    rows = {"distance": [0.0] * 5, "hour": [0] * 5, "carrier": values}
    frame = pd.DataFrame({**rows, "carrier": pd.Series(values, dtype=object)})
    preparation = prepared(("1", "True"))
    np.testing.assert_array_equal(preparation.transform(frame)[:, 2], [1, 0, 0, 0, nan])
    np.testing.assert_array_equal(preparation.transform(rows)[:, 2], [1, 0, 0, 0, nan])


def test_only_the_most_frequent_categories_are_kept(monkeypatch):
    monkeypatch.setattr("continuous_training.trainers._frames.MOST_CATEGORIES", 2)
    frame = pd.DataFrame({"distance": 1.0, "hour": 1, "carrier": ["c", "c", "b", "a", "a"]})
    assert Preparation.fit(frame, FLIGHTS, Cleaning(rare=1)).categories == {"carrier": ("a", "c")}


@pytest.mark.parametrize("value", [["AA"], {"a": 1}, pd.Timestamp("2013-01-01"), b"AA", 1j])
def test_what_is_no_category_is_refused_with_column_and_value(value):
    with pytest.raises(DataInvalid, match=r"'carrier' must hold categories.*" + type(value).__name__):
        one(value, column="carrier")


# Numbers


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7.0), (True, 1.0), (np.False_, 0.0), (Decimal("2.5"), 2.5), (np.float32(0.5), 0.5), (2**60 + 1, 2.0**60)],
)
def test_every_type_of_number_is_understood(value, number):
    assert one(value) == number


@pytest.mark.parametrize("value", [inf, -inf, 10**400, Decimal("1e999")])
def test_a_number_without_a_size_is_missing(value):
    assert np.isnan(one(value))


def test_a_value_outside_its_range_is_missing_and_its_ends_are_inside():
    preparation = prepared(ranges={"distance": (0, 100), "hour": (None, 23)})
    columns = {"distance": [-0.1, 0, 100, 101], "hour": [-5, 23, 24, nan], "carrier": ["AA"] * 4}
    expected = [[nan, -5], [0, 23], [100, nan], [nan, nan]]
    np.testing.assert_array_equal(preparation.transform(columns)[:, :2], expected)


@pytest.mark.parametrize("value", ["12", "far", [1.0], pd.Timestamp("2013-01-01"), 1j])
def test_what_is_no_number_is_refused_with_column_and_value(value):
    with pytest.raises(DataInvalid, match=r"'distance' must hold numbers, got .*" + type(value).__name__):
        one(value)
    frame = pd.DataFrame({"distance": pd.Series([value], dtype=object), "hour": 1, "carrier": "AA"})
    with pytest.raises(DataInvalid, match="'distance' must hold numbers"):
        prepared().transform(frame)


def test_a_long_wrong_value_is_shortened_in_the_message():
    with pytest.raises(DataInvalid) as caught:
        one("x" * 5000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("column", ["distance", "carrier"])
def test_times_are_not_taken_for_their_nanoseconds(column):
    columns = {"distance": [1.0], "hour": [1], "carrier": ["AA"], column: np.array(["2013-01-01"], "M8[ns]")}
    with pytest.raises(DataInvalid, match=f"'{column}' holds times"):
        prepared().transform(columns)
    with pytest.raises(DataInvalid, match=f"'{column}' must hold"):
        prepared().transform(pd.DataFrame(columns))


# The shape of what comes in


def test_the_order_of_columns_and_columns_that_are_no_features_make_no_difference():
    row = {"distance": [1.0], "hour": [2], "carrier": ["UA"]}
    other = {"late": [True], **dict(reversed(row.items()))}
    np.testing.assert_array_equal(prepared().transform(row), [[1, 2, 1]])
    np.testing.assert_array_equal(prepared().transform(other), [[1, 2, 1]])


def test_a_missing_column_is_named():
    with pytest.raises(DataInvalid, match="column 'distance' is missing"):
        prepared().transform({"distance": [1.0], "carrier": ["AA"]})
    with pytest.raises(DataInvalid, match="column 'carrier' is missing"):
        Preparation.fit(pd.DataFrame({"distance": [1.0]}), FLIGHTS, Cleaning())


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(DataInvalid, match="'hour' has 2 values and column 'distance' has 1"):
        prepared().transform({"distance": [1.0], "hour": [1, 2], "carrier": ["AA"]})


@pytest.mark.parametrize("values", ["AA", 5, {"0": 1.0}, {1.0}, np.ones((1, 1)), None])
def test_a_column_must_be_one_list(values):
    with pytest.raises(DataInvalid, match="'distance' must be one list of values"):
        prepared().transform({"distance": values, "hour": [1], "carrier": ["AA"]})


def test_a_frame_with_a_column_twice_is_refused():
    frame = pd.DataFrame([[1.0, 2.0, 3, "AA"]], columns=["distance", "distance", "hour", "carrier"])
    with pytest.raises(DataInvalid, match="'distance' must be one list of values"):
        prepared().transform(frame)


def test_no_rows_make_a_matrix_without_rows():
    assert prepared().transform({"distance": [], "hour": [], "carrier": []}).shape == (0, 3)


def test_the_matrix_names_its_categorical_columns_by_position():
    assert prepared().categorical == (2,)


# One transformation, two ways

NUMBERS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.decimals(allow_nan=True), st.just(pd.NA)
)
CATEGORIES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, -0.0, 1.0, 1.5, nan, inf]),
    st.sampled_from(["", "1", "1.5", "True", "AA", "nan", "é"]),
    st.decimals(-3, 3, places=1),
)
KNOWN = ("-1", "", "0", "1", "1.5", "AA", "True", "é")


@settings(deadline=None, max_examples=150)
@given(rows=st.lists(st.tuples(NUMBERS, NUMBERS, CATEGORIES), min_size=1, max_size=8))
def test_lists_and_frames_of_any_values_give_the_same_bits(rows):
    preparation = prepared(KNOWN, ranges={"hour": (-10, 1e6)})
    columns = {name: list(values) for name, values in zip(FLIGHTS.columns, zip(*rows, strict=True), strict=True)}
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    whole = preparation.transform(columns)
    assert whole.tobytes() == preparation.transform(frame).tobytes()
    alone = [{name: values[row] for name, values in columns.items()} for row in range(len(rows))]
    singles = [preparation.transform({name: [value] for name, value in row.items()}) for row in alone]
    quick = [preparation.transform_row(row) for row in alone]
    assert np.vstack(singles).tobytes() == np.vstack(quick).tobytes() == np.ascontiguousarray(whole).tobytes()


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e308, 10**400, True, None, np.nan, -7.0])
def test_a_number_at_the_edge_is_the_same_in_a_row_and_in_a_batch(value):
    preparation = Preparation(
        features=Features(numeric=("a", "b"), categorical=()), cleaning=Cleaning(ranges={"b": (0, None)}), categories={}
    )
    for row in ({"a": value, "b": 1.0}, {"a": 1.0, "b": value}, {"a": value, "b": value}):
        whole = preparation.transform({name: [each] for name, each in row.items()})
        assert np.array([preparation.transform_row(row)]).tobytes() == whole.tobytes()


def test_a_row_without_a_column_is_refused():
    with pytest.raises(DataInvalid, match="column 'distance' is missing"):
        prepared(KNOWN).transform_row({"carrier": "AA"})


WHOLE = st.lists(st.integers(-3, 3), min_size=1, max_size=9)
DTYPES = {
    "int8": WHOLE,
    "uint16": st.lists(st.integers(0, 5), min_size=1, max_size=9),
    "float32": st.lists(st.sampled_from([nan, 0.0, -1.0, 1.5]), min_size=1, max_size=9),
    "bool": st.lists(st.booleans(), min_size=1, max_size=9),
    "Int64": st.lists(st.one_of(st.none(), st.integers(-3, 3)), min_size=1, max_size=9),
    "Float64": st.lists(st.one_of(st.none(), st.sampled_from([0.0, 1.5, 2.0])), min_size=1, max_size=9),
    "boolean": st.lists(st.one_of(st.none(), st.booleans()), min_size=1, max_size=9),
    "category": WHOLE,
    "int64[pyarrow]": WHOLE,
    "double[pyarrow]": st.lists(st.one_of(st.none(), st.sampled_from([0.0, 1.5])), min_size=1, max_size=9),
}


@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_typed_columns_give_the_same_bits_as_their_values_in_a_list(dtype, data):
    series = pd.Series(data.draw(DTYPES[dtype]), dtype=dtype)
    frame = pd.DataFrame({"distance": series, "hour": series, "carrier": series})
    listed = {name: frame[name].tolist() for name in frame}
    assert prepared(KNOWN).transform(frame).tobytes() == prepared(KNOWN).transform(listed).tobytes()


@pytest.mark.parametrize("dtype", ["object", "string", "category", "string[pyarrow]"])
def test_text_columns_of_every_type_give_the_same_codes(dtype):
    series = pd.Series(["UA", None, "AA", "ZZ", "UA"], dtype=dtype)
    frame = pd.DataFrame({"distance": 1.0, "hour": 1, "carrier": series})
    np.testing.assert_array_equal(prepared().transform(frame)[:, 2], [1, nan, 0, 2, 1])


@pytest.mark.parametrize("values", [np.array([1, 2]), np.array([1.0, nan]), np.array([True, False]), (1, None)])
def test_arrays_and_tuples_are_read_like_lists(values):
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    for kind in (values, np.array(listed, dtype=object)):
        columns = {"distance": kind, "hour": kind, "carrier": kind}
        lists = {"distance": listed, "hour": listed, "carrier": listed}
        np.testing.assert_array_equal(prepared(KNOWN).transform(columns), prepared(KNOWN).transform(lists))


def test_a_preparation_survives_its_journey_as_json():
    preparation = prepared(ranges={"distance": (0, None)})
    again = Preparation.model_validate_json(preparation.model_dump_json())
    assert again == preparation
    row = {"distance": [-1, 5.5], "hour": [1, 2], "carrier": ["UA", "ZZ"]}
    np.testing.assert_array_equal(again.transform(row), preparation.transform(row))


def test_the_categories_must_be_those_of_the_features():
    with pytest.raises(ValidationError, match="exactly the categorical features"):
        Preparation(features=FLIGHTS, cleaning=Cleaning(), categories={})


# Cleaning


def test_a_range_that_ends_before_it_starts_is_refused():
    with pytest.raises(ValidationError, match=r"ranges.distance: the lowest value 5 lies above the highest 1"):
        Cleaning(ranges={"distance": (5, 1)})


def test_a_range_on_a_column_that_is_no_number_is_refused_with_those_allowed():
    cleaning = Cleaning(ranges={"carrier": (0, 1)})
    with pytest.raises(ValueError, match="names carrier, which is not a numeric feature; allowed: distance, hour"):
        cleaning.check(FLIGHTS)
    with pytest.raises(SpecError, match="mend the model file"):
        Preparation.fit(pd.DataFrame({"carrier": ["AA"]}), FLIGHTS, cleaning)


def flights(**columns) -> pd.DataFrame:
    at = pd.to_datetime(["2013-01-01", "2013-01-01", "2013-01-01", "2013-01-02"], utc=True)
    base = {
        "distance": [1.0, 1.0, 1.0, 1.0],
        "hour": 5,
        "carrier": "AA",
        "late": True,
        "at": at,
        "tail": ["a", "b", "c", "d"],
    }
    return pd.DataFrame({**base, **columns}, index=[7, 7, 8, 9])


def test_of_equal_rows_the_first_is_kept_whatever_the_other_columns_hold():
    kept = Cleaning().clean(flights(), FLIGHTS, CLASSIFY)
    assert kept["tail"].tolist() == ["a", "d"]


@pytest.mark.parametrize(
    "differs",
    [{"distance": [1.0, 2.0, 3.0, 1.0]}, {"carrier": ["AA", "UA", "OO", "AA"]}, {"late": [None, True, False, True]}],
)
def test_rows_that_differ_in_a_feature_or_the_label_are_kept(differs):
    assert len(Cleaning().clean(flights(**differs), FLIGHTS, CLASSIFY)) == 4


def test_missing_values_are_equal_to_each_other():
    frame = flights(distance=[nan, nan, 1.0, nan], carrier=[None, None, "AA", None])
    assert Cleaning().clean(frame, FLIGHTS, CLASSIFY)["tail"].tolist() == ["a", "c", "d"]


def test_duplicates_stay_when_the_model_file_says_so():
    assert len(Cleaning(drop_duplicates=False).clean(flights(), FLIGHTS, CLASSIFY)) == 4


def test_rows_with_lists_cannot_be_compared():
    with pytest.raises(DataInvalid, match="rows cannot be compared"):
        Cleaning().clean(flights(carrier=[["AA"]] * 4), FLIGHTS, CLASSIFY)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, nan]), st.integers(0, 1), st.sampled_from("ab")), max_size=12))
def test_cleaning_keeps_what_pandas_would_keep(rows):
    frame = pd.DataFrame(rows, columns=["distance", "hour", "carrier"]).astype({"distance": float, "carrier": object})
    frame["late"], frame["at"] = True, pd.Timestamp("2013-01-01", tz="UTC")
    kept = Cleaning().clean(frame, FLIGHTS, CLASSIFY)
    pd.testing.assert_frame_equal(kept, frame.drop_duplicates(["distance", "hour", "carrier", "late", "at"]))


# Labels


@pytest.mark.parametrize(
    ("values", "classes", "numbers"),
    [
        ([True, False, None], (False, True), [1, 0, nan]),
        (["no", "yes", None], ("no", "yes"), [0, 1, nan]),
        ([3, 1, 2], (1, 2, 3), [2, 0, 1]),
        ([1.0, 0.0, nan], (0, 1), [1, 0, nan]),
        ([Decimal(1), Decimal("2.0"), None], (1, 2), [0, 1, nan]),
        (pd.Series([True, None, False], dtype="boolean"), (False, True), [1, nan, 0]),
        (pd.Series(["b", "a", None], dtype="category"), ("a", "b"), [1, 0, nan]),
    ],
)
def test_classes_are_learned_and_numbered_in_their_order(values, classes, numbers):
    label, learned = encode_label(pd.Series(values), CLASSIFY)
    assert learned == classes
    assert [type(value) for value in learned] == [type(value) for value in classes]
    assert label.dtype == np.float64
    np.testing.assert_array_equal(label, numbers)


def test_known_classes_keep_their_numbers_and_another_class_is_unknown():
    label, classes = encode_label(pd.Series(["c", "b", "new", None]), CLASSIFY, ("a", "b", "c"))
    assert classes == ("a", "b", "c")
    np.testing.assert_array_equal(label, [2, 1, nan, nan])


def test_a_window_without_labels_is_fine_for_a_trained_model():
    assert np.isnan(encode_label(pd.Series([None, None]), CLASSIFY, (False, True))[0]).all()
    assert np.isnan(encode_label(pd.Series([nan]), PREDICT, ())[0]).all()


def test_a_truth_label_is_recognised_when_it_arrives_as_numbers():
    np.testing.assert_array_equal(encode_label(pd.Series([1.0, 0.0]), CLASSIFY, (False, True))[0], [1, 0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, None], "'late' is missing in all 2 training rows.*label_delay"),
        ([True, True, None], r"'late' has the one class True \(bool\) in all 3 training rows"),
        (list(range(101)), r"'late' has 101 classes, at most 100 .*\{kind: regression\}"),
        (
            [0.5, 1.0],
            r"'late' holds 0.5 \(float\); classes are text, whole numbers or true/false.*\{kind: regression\}",
        ),
        (["a", 1], "'late' mixes text with numbers"),
        ([pd.Timestamp("2013-01-01"), pd.Timestamp("2013-01-02")], "'late' holds Timestamp.*classes are"),
    ],
)
def test_a_label_that_names_no_classes_is_refused(values, message):
    with pytest.raises(DataInvalid, match=message):
        encode_label(pd.Series(values), CLASSIFY)


def test_a_hundred_classes_are_allowed():
    assert len(encode_label(pd.Series(range(100)), CLASSIFY)[1]) == 100


def test_a_regression_label_is_its_numbers():
    label, classes = encode_label(pd.Series([1, None, Decimal("2.5"), inf], dtype=object), PREDICT)
    assert classes == ()
    np.testing.assert_array_equal(label, [1, nan, 2.5, nan])


@pytest.mark.parametrize(
    ("values", "message"), [([nan, inf], "'delay' is missing in all 2"), (["x"], "must hold numbers")]
)
def test_a_regression_label_that_is_no_number_is_refused(values, message):
    with pytest.raises(DataInvalid, match=message):
        encode_label(pd.Series(values), PREDICT)


RANK = Task(kind="ranking", label="relevance", event_time="at", group="session")


def test_a_relevance_is_a_whole_number_or_unknown():
    label, classes = encode_label(pd.Series([0, 2, None, 30]), RANK)
    assert classes == ()
    np.testing.assert_array_equal(label, [0, 2, np.nan, 30])


@pytest.mark.parametrize("wrong", [-1, 0.5, 31])
def test_a_relevance_that_is_no_small_whole_number_is_refused_with_the_value_seen(wrong):
    with pytest.raises(DataInvalid, match=f"label 'relevance' holds {wrong}.*a whole number from 0 .* to 30"):
        encode_label(pd.Series([0, 1, wrong]), RANK)


def test_the_same_row_in_two_groups_is_no_duplicate():
    rows = pd.DataFrame({"x": [1.0, 1.0, 1.0], "relevance": [0, 0, 0], "at": [1, 1, 1], "session": ["a", "b", "b"]})
    assert len(Cleaning().clean(rows, Features(numeric=("x",)), RANK)) == 2


def test_the_label_is_not_changed_in_place():
    series = pd.Series([1.0, inf])
    encode_label(series, PREDICT)
    assert series.tolist() == [1.0, inf]
