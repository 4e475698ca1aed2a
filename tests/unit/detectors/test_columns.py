"""Which columns a detector measures, how it reads them, and what it imports."""

import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from continuous_training.core.errors import DataInvalid
from continuous_training.core.task import Features
from continuous_training.detectors import KS, PSI, ChiSquare
from continuous_training.detectors._columns import read_categories, read_numbers

FEATURES = Features(numeric=("x", "code"), categorical=("c",))
FRAME = pd.DataFrame(
    {"x": np.arange(300.0), "code": [1, 2, 3] * 100, "c": ["a", "b", "c"] * 100, "other": [7, 8] * 150, "t": "text"}
)


@pytest.mark.parametrize(
    ("values", "numeric"),
    [
        ([0.25, 0.5], True),
        ([0, 1], True),
        ([True, False], False),
        (["no", "yes"], False),
        (pd.Categorical([1, 2]), False),
        (pd.array([1, None], dtype="Int64"), True),
    ],
    ids=["float", "int", "bool", "text", "category", "nullable"],
)
def test_a_column_that_is_no_feature_is_measured_by_its_type(values, numeric):
    frame = pd.DataFrame({"prediction": values})
    prepared = PSI(columns=("prediction",)).fit(frame, FEATURES)
    assert ("0.edges" in prepared) is numeric


def test_a_column_that_the_reference_lacks_is_inconclusive_whatever_it_holds_now():
    detector = PSI(columns=("prediction", "x"))
    prepared = detector.fit(FRAME, FEATURES)
    absent, present = detector.score(prepared, FRAME.assign(prediction="yes"), FEATURES)
    assert (absent.column, absent.exceeded, absent.reference_rows, absent.current_rows) == ("prediction", None, 0, 300)
    assert absent.note.endswith("prediction is there where a model has predicted, or once labels are known")
    assert present.exceeded is False


def measured(detector, features=FEATURES):
    return [score.column for score in detector.score(detector.fit(FRAME, features), FRAME, features)]


def test_all_means_the_features_of_a_type_that_the_detector_measures():
    assert measured(KS()) == ["x", "code"]
    assert measured(ChiSquare()) == ["c"]
    assert measured(PSI()) == ["x", "code", "c"]


def test_named_columns_need_not_be_features():
    assert measured(KS(columns=("other", "x"))) == ["other", "x"]
    assert measured(ChiSquare(columns=("other", "t"))) == ["other", "t"]
    assert measured(PSI(columns=("t", "other"))) == ["t", "other"]


def test_a_column_of_both_possible_types_is_measured_as_the_model_uses_it():
    as_category = Features(numeric=("x",), categorical=("code",))
    assert "0.edges" in PSI(columns=("code",)).fit(FRAME, FEATURES)
    assert "0.categories" in PSI(columns=("code",)).fit(FRAME, as_category)
    assert "0.edges" in PSI(columns=("other",)).fit(FRAME, FEATURES)
    assert "0.categories" in PSI(columns=("t",)).fit(FRAME, FEATURES)


@pytest.mark.parametrize(
    "values",
    [["a", "b"], pd.to_datetime(["2013-01-01", None]), pd.to_timedelta([1, 2]), [1 + 2j, 3j], [[1], [2]]],
    ids=["text", "time", "duration", "complex", "lists"],
)
def test_what_is_not_a_number_is_refused_with_its_type_and_what_to_do(values):
    with pytest.raises(
        DataInvalid, match=r"ks needs numbers in column 'x'.*detector of categories.*retry gives the same"
    ):
        read_numbers(pd.Series(values, name="x"), "ks")


@pytest.mark.parametrize(
    "series",
    [
        pd.Series([1.5, None, np.inf, 2]),
        pd.Series([1.5, pd.NA, 2, None], dtype="Float64"),
        pd.Series([1.5, pd.NA, None, 2], dtype=object),
        pd.Series([Decimal("1.5"), None, Decimal(2)]),
        pd.Series(pd.Categorical([1.5, None, 2.0])),
        pd.Series(["1.5", None, "2"]),
    ],
    ids=["float", "nullable", "object", "decimal", "category", "text"],
)
def test_usable_numbers_are_the_finite_ones_in_row_order(series):
    assert read_numbers(series, "ks").tolist() == [1.5, 2.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2, 1.0, "1", None, "", "b", float("nan")], {"": 1, "1": 2, "2": 1, "b": 1}),
        ([True, False, None, True], {"False": 1, "True": 2}),
        ([2.5, 1e15, float("inf")], {"1000000000000000": 1, "2.5": 1, "inf": 1}),
        ([[1], [2], [1]], {"[1]": 2, "[2]": 1}),
        ([], {}),
    ],
    ids=["mixed", "booleans", "fractions", "lists", "none"],
)
def test_categories_are_sorted_text_with_their_rows(values, expected):
    names, counts = read_categories(pd.Series(values, dtype=object))
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == expected
    assert names.tolist() == sorted(names.tolist())


def test_naming_the_detectors_imports_no_heavy_library():
    code = (
        "import sys, continuous_training.detectors\n"
        "print(sorted({'numpy', 'pandas', 'scipy', 'alibi_detect'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
