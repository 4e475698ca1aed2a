import inspect
import json
import logging
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from continuous_training import strict_yaml, suites, validation
from continuous_training.core.data_check import DataCheck, Expectation, FailedExpectation, Suite
from continuous_training.core.decisions import Outcome
from continuous_training.core.errors import DataInvalid, SpecError
from continuous_training.core.task import Features, Task

INCLUDE = Path(__file__).parents[2] / "include"
TASK = Task(kind="classification", label="late", event_time="scheduled_departure")
FEATURES = Features(numeric=("distance", "temperature", "gust"), categorical=("carrier", "destination"))
COLUMNS = (TASK.event_time, *FEATURES.columns, TASK.label)


def flights(rows: int = 600, seed: int = 3) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "scheduled_departure": pd.date_range("2013-03-01", periods=rows, freq="10min", tz="UTC"),
            "distance": random.integers(80, 2600, rows),
            "temperature": np.where(random.random(rows) < 0.01, np.nan, random.normal(45, 9, rows)),
            "gust": np.where(random.random(rows) < 0.75, np.nan, random.normal(25, 5, rows)),
            "carrier": random.choice(["UA", "B6", "NO", "9E"], rows),
            "destination": [f"D{number:02}" for number in random.integers(0, 90, rows)],
            "late": np.where(random.random(rows) < 0.03, np.nan, random.random(rows) < 0.25),
        }
    )


def suite(*critical: dict, warning: tuple[dict, ...] = ()) -> Suite:
    return Suite.model_validate({"critical": critical, "warning": warning})


def check(frame: pd.DataFrame, *critical: dict, warning: tuple[dict, ...] = ()) -> DataCheck:
    return validation.check(frame, suite(*critical, warning=warning), name="flights").check


def load(tmp_path: Path, text: str, columns: tuple[str, ...] | None = COLUMNS) -> Suite:
    path = tmp_path / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return validation.load_suite(path, columns)


def columns_of_the_flights_model() -> list[str]:
    model = strict_yaml.read(INCLUDE / "models/flight_delays.yaml").data
    features = model["features"]
    return [model["task"]["event_time"], model["task"]["label"], *features["numeric"], *features["categorical"]]


# The suite file


def test_a_suite_file_becomes_its_expectations_in_order(tmp_path):
    loaded = load(
        tmp_path,
        "critical:\n  - expect_column_values_to_not_be_null: {column: carrier, mostly: 0.99}\n"
        "warning:\n  - expect_column_to_exist: {column: late}\n",
    )
    assert loaded == suite(
        {"expect_column_values_to_not_be_null": {"column": "carrier", "mostly": 0.99}},
        warning=({"expect_column_to_exist": {"column": "late"}},),
    )


def test_a_suite_survives_json():
    written = suite(
        {"expect_table_row_count_to_be_between": {"min_value": 1}},
        warning=({"expect_column_to_exist": {"column": "a"}},),
    )
    assert Suite.model_validate_json(written.model_dump_json()) == written


def test_the_suite_of_the_flights_speaks_only_of_columns_its_model_reads():
    loaded = validation.load_suite(INCLUDE / "expectations/flight_delays.yaml", columns_of_the_flights_model())
    assert len(loaded.critical) >= 8
    assert loaded.warning


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ("expect_column_values_to_not_be_nul: {column: late}", ["suite.yaml:2:5: critical[0]", "no such expectation", "did you mean expect_column_values_to_not_be_null"]),
        ("expect_column_to_exist: {colum: late}", ["suite.yaml:2:30", "no such argument", "did you mean column?", "allowed are column, column_index"]),
        ("expect_column_to_exist: {column: lat}", ["reads no column 'lat'", "did you mean late?"]),
        ("expect_column_to_exist: {column: 5}", ["reads no column 5"]),
        ("expect_column_values_to_not_be_null: {column: late, mostly: 1.4}", ["mostly: 1.4 is not allowed", "less than or equal to 1"]),
        ("expect_table_row_count_to_be_between: {min_value: many}", ["min_value: 'many' is not allowed"]),
        ("expect_column_values_to_be_in_set: {column: late}", ["the argument value_set is missing"]),
        ("expect_column_values_to_be_between: {column: late}", ["min_value and max_value cannot both be None"]),
        ("expect_table_row_count_to_be_between:", ["without arguments this expects nothing"]),
        ("expect_column_values_to_be_unique: {column: late, row_condition: '@x'}", ["row_condition: there is no such argument"]),
        ("expect_column_values_to_be_between: {column: late, min_value: {$PARAMETER: now}}", ["min_value: parameters ($...) are not allowed"]),
        ("unexpected_rows_expectation: {unexpected_rows_query: 'SELECT 1'}", ["not allowed", "SQL"]),
        ("expect_column_values_to_match_like_pattern: {column: carrier, like_pattern: 'U%'}", ["not allowed", "expect_column_values_to_match_regex"]),
        ("expect_column_to_exist: [late]", ["suite.yaml:2:5: critical[0]", "takes its arguments by name"]),
        ("expect_column_to_exist", ["write one expectation and its arguments"]),
    ],
)  # fmt: skip
def test_a_wrong_expectation_is_refused_where_it_stands(tmp_path, line, fragments):
    with pytest.raises(SpecError) as refusal:
        load(tmp_path, f"critical:\n  - {line}\n")
    for fragment in fragments:
        assert fragment in str(refusal.value)


def test_every_wrong_expectation_of_a_file_is_named_at_once(tmp_path):
    with pytest.raises(SpecError, match=r"(?s)suite\.yaml:2:5.*suite\.yaml:4:5"):
        load(tmp_path, "critical:\n  - expect_a: {}\nwarning:\n  - expect_b: {}\n")


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("critcal: []\n", "did you mean 'critical'?"),
        ("critical: []\n", "at least one expectation"),
        ("critical: 3\n", "allowed: a list"),
        ("critical: &a []\nwarning: *a\n", "anchors"),
    ],
)
def test_a_wrong_section_is_refused(tmp_path, text, fragment):
    with pytest.raises(SpecError) as refusal:
        load(tmp_path, text)
    assert fragment in str(refusal.value)


def test_two_expectations_in_one_item_are_refused():
    with pytest.raises(ValidationError, match="write one expectation"):
        Expectation.model_validate({"expect_column_to_exist": {"column": "a"}, "expect_column_to_be": {}})


def test_a_suite_made_in_python_is_refused_before_anything_is_checked():
    with pytest.raises(SpecError, match="Nothing was checked"):
        check(flights(), {"expect_no_such_thing": {"column": "late"}})


def test_every_expectation_of_the_library_is_allowed_or_refused_with_a_reason():
    from great_expectations import expectations

    from continuous_training import _validation

    there = {
        member.expectation_type
        for _, member in inspect.getmembers(expectations, inspect.isclass)
        if getattr(member, "expectation_type", "")
    }
    assert set(_validation.catalogue()) == there - set(suites.REFUSED)
    assert set(suites.REFUSED) < there


def test_the_names_and_arguments_known_without_the_library_are_the_library_s():
    from continuous_training import _validation

    assert {name: " ".join(_validation.arguments_of(name)) for name in _validation.catalogue()} == suites.CATALOGUE


def test_no_expectation_takes_code_a_query_or_another_table_from_a_suite():
    from continuous_training import _validation

    taken = {argument for name in _validation.catalogue() for argument in _validation.arguments_of(name)}
    assert {"column", "mostly", "value_set"} < taken
    assert not {
        argument
        for argument in taken
        if re.search("query|table|condition_parser|row_condition|schema|meta|windows|catch|id$", argument)
    }


# The check


def test_rows_that_meet_the_suite_pass():
    found = check(flights(), {"expect_column_values_to_not_be_null": {"column": "carrier"}})
    assert found == DataCheck(evaluated=1)
    assert found.success
    assert found.outcome is Outcome.PASS


def test_a_failed_critical_expectation_fails_the_check_with_its_numbers():
    rows = flights(200)
    rows.loc[:49, "carrier"] = "ZZ"
    found = check(
        rows,
        {
            "expect_column_values_to_be_in_set": {
                "column": "carrier",
                "value_set": ["UA", "B6", "NO", "9E"],
                "mostly": 0.9,
            }
        },
    )
    assert found.outcome is Outcome.FAIL
    assert found.critical_failed == (
        FailedExpectation(
            name="expect_column_values_to_be_in_set",
            column="carrier",
            text="carrier: expect_column_values_to_be_in_set: 50 of 200 values fail (25 %); allowed are 10 %",
        ),
    )


def test_an_aggregate_says_what_it_observed_and_what_is_allowed():
    (failed,) = check(flights(100), {"expect_table_row_count_to_be_between": {"min_value": 5000}}).critical_failed
    assert failed.column is None
    assert failed.text == "expect_table_row_count_to_be_between: observed 100; allowed is min_value 5,000"


def test_a_failed_warning_is_recorded_and_the_check_passes():
    found = check(flights(), warning=({"expect_column_max_to_be_between": {"column": "distance", "max_value": 100}},))
    assert found.success
    assert [failed.column for failed in found.warnings] == ["distance"]


def test_failures_come_in_the_order_of_the_suite():
    found = check(
        flights(),
        {"expect_column_max_to_be_between": {"column": "distance", "max_value": 1}},
        {"expect_column_mean_to_be_between": {"column": "carrier", "max_value": 1}},
        {"expect_column_min_to_be_between": {"column": "distance", "max_value": 1}},
    )
    assert [failed.column for failed in found.critical_failed] == ["distance", "carrier", "distance"]
    assert ["could not be evaluated" in failed.text for failed in found.critical_failed] == [False, True, False]


def test_an_expectation_on_a_missing_column_is_a_critical_failure_even_as_a_warning():
    found = check(flights(), warning=({"expect_column_mean_to_be_between": {"column": "distence", "min_value": 0}},))
    assert not found.success
    assert "the data has no column 'distence'; did you mean distance?" in found.critical_failed[0].text


def test_an_expectation_on_the_wrong_type_is_a_critical_failure_that_names_the_type():
    (failed,) = check(
        flights(), {"expect_column_mean_to_be_between": {"column": "carrier", "min_value": 0}}
    ).critical_failed
    assert "could not be evaluated" in failed.text
    assert "carrier holds object" in failed.text


def test_an_expectation_whose_success_is_a_numpy_boolean_fails():
    ranges = {"quantiles": [0.1, 0.9], "value_ranges": [[0, 1], [None, 2]]}
    assert not check(
        flights(), {"expect_column_quantile_values_to_be_between": {"column": "distance", "quantile_ranges": ranges}}
    ).success


def test_columns_missing_from_an_exact_set_are_named():
    (failed,) = check(
        flights(), {"expect_table_columns_to_match_set": {"column_set": [*COLUMNS, "gate"]}}
    ).critical_failed
    assert "the data has no column 'gate'" in failed.text


@pytest.mark.parametrize(
    "label",
    [pd.array([True, None, False], dtype="boolean"), [True, None, False], [1.0, np.nan, 0.0], [True, True, False]],
)
def test_a_yes_or_no_label_is_compared_with_0_and_1_whatever_its_type(label):
    found = check(
        pd.DataFrame({"late": label}),
        {"expect_column_values_to_be_in_set": {"column": "late", "value_set": [0, 1]}},
        {"expect_column_mean_to_be_between": {"column": "late", "min_value": 0.4, "max_value": 0.8}},
    )
    assert found.critical_failed == ()


@pytest.mark.parametrize("rows", [flights().iloc[:0], flights().assign(late=None, carrier=None, temperature=np.nan)])
def test_empty_rows_and_empty_columns_give_a_result(rows):
    shipped = validation.load_suite(INCLUDE / "expectations/flight_delays.yaml")
    found = check(
        rows,
        {"expect_column_mean_to_be_between": {"column": "temperature", "min_value": 0}},
        {"expect_table_row_count_to_be_between": {"min_value": 10_000}},
        *(item.model_dump() for item in shipped.critical),
    )
    assert not found.success
    assert found.evaluated == 2 + len(shipped.critical)


def test_a_check_leaves_the_rows_alone_and_writes_prints_and_logs_nothing(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    rows = flights()
    before = rows.copy(deep=True)
    check(
        rows,
        {"expect_column_distinct_values_to_be_in_set": {"column": "carrier", "value_set": ["UA"]}},
        {"expect_column_mean_to_be_between": {"column": "carrier", "min_value": 0}},
    )
    pd.testing.assert_frame_equal(rows, before)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


# The artefacts


EVIL = "<script>alert(1)</script><img src=http://x.example/>"


@pytest.fixture(scope="module")
def checked() -> validation.CheckedData:
    rows = pd.DataFrame({"name": ["a", EVIL, "${x} {{ 7 * 7 }}"], EVIL: [1.0, np.nan, 3.0]})
    asked = suite(
        {"expect_column_values_to_be_in_set": {"column": "name", "value_set": ["a", "<b>"]}},
        {"expect_column_most_common_value_to_be_in_set": {"column": "name", "value_set": ["b"]}},
        {"expect_column_mean_to_be_between": {"column": "name", "min_value": 0}},
        {"expect_column_mean_to_be_between": {"column": EVIL, "min_value": 9}},
        {"expect_table_columns_to_match_set": {"column_set": ["name"]}},
        warning=({"expect_column_stdev_to_be_between": {"column": "name", "min_value": 9}},),
    )
    return validation.check(rows, asked, name=f"flights {EVIL}")


def test_the_result_is_strict_json_with_every_expectation(checked):
    result = json.loads(checked.result, parse_constant=pytest.fail)
    assert len(result["results"]) == 6
    assert result["results"][0]["result"]["unexpected_count"] == 2


def test_infinite_values_give_a_result_that_is_strict_json_too():
    rows = pd.DataFrame({"distance": [1.0, np.inf, -np.inf, np.nan]})
    asked = suite(
        {"expect_column_max_to_be_between": {"column": "distance", "max_value": 9}},
        {"expect_column_stdev_to_be_between": {"column": "distance", "max_value": 9}},
    )
    found = validation.check(rows, asked, name="infinite")
    assert ["observed" in failed.text for failed in found.check.critical_failed] == [True, True]
    assert json.loads(found.result, parse_constant=pytest.fail)["results"][0]["result"]["observed_value"] == "Infinity"


def test_the_page_says_the_verdict_and_every_failure(checked):
    page = checked.page.decode()
    assert "6 expectations,\n6 critical failed, 0 warnings" in page
    assert "2 of 3 values fail (66.67 %)" in page
    assert "values must belong to this set" in page
    assert "fingerprint" not in page


def test_the_page_fetches_nothing_and_runs_nothing(checked):
    page = checked.page.decode()
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|img|link|iframe|object|form)\b", page)
    assert set(re.findall(r"\bhref=\"(.)", page)) == {"#"}
    assert "url(" not in page
    assert "@import" not in page


def test_the_page_shows_what_the_data_holds_as_text(checked):
    page = checked.page.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page


# Columns


def test_columns_as_the_model_needs_them_have_no_problem():
    assert validation.schema_problems(flights(), TASK, FEATURES) == ()


def test_a_renamed_column_is_found_under_its_new_name():
    (problem,) = validation.schema_problems(flights().rename(columns={"distance": "distance_miles"}), TASK, FEATURES)
    assert problem == "the feature 'distance' is missing from the data; was it renamed to 'distance_miles'?"


def test_another_feature_is_never_taken_for_a_renamed_one():
    features = Features(numeric=("distance", "distance_miles"))
    assert validation.schema_problems(flights(), TASK, features) == (
        "the feature 'distance_miles' is missing from the data",
    )


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"distance": "far"}, "the feature 'distance' holds text, not numbers"),
        ({"distance": pd.Timestamp("2013-01-01")}, "holds times, not numbers"),
        ({"distance": pd.Categorical(["1"] * 600)}, "holds categories, not numbers"),
        ({"scheduled_departure": "2013-01-01"}, "the event time 'scheduled_departure' holds text, not times"),
    ],
)
def test_a_column_of_the_wrong_type_is_named(change, fragment):
    (problem,) = validation.schema_problems(flights().assign(**change), TASK, FEATURES)
    assert fragment in problem


@pytest.mark.parametrize(
    "values", [[1, None], [True, False], [Decimal(1), None], [None, None], pd.array([1, None], dtype="Int64")]
)
def test_every_way_to_store_numbers_is_a_number(values):
    rows = flights(2).assign(distance=pd.Series(values, dtype=getattr(values, "dtype", object)))
    assert validation.schema_problems(rows, TASK, FEATURES) == ()


def test_the_label_of_a_regression_must_be_a_number():
    task = TASK.model_copy(update={"kind": "regression"})
    assert "the label 'late' holds text" in validation.schema_problems(flights().assign(late="yes"), task, FEATURES)[0]
    assert validation.schema_problems(flights().assign(late="yes"), TASK, FEATURES) == ()


def test_a_column_given_twice_is_named():
    rows = flights()
    assert validation.schema_problems(pd.concat([rows, rows[["carrier"]]], axis=1), TASK, FEATURES) == (
        "the feature 'carrier' is in the data 2 times; keep one",
    )


# Labels


@pytest.mark.parametrize(
    ("labels", "fragments"),
    [
        ([], ["none of 0 rows has a label in 'late'; at least 50"]),
        ([None] * 80, ["none of 80 rows has a label"]),
        ([0, 1, None], ["2 of 3 rows have a label in 'late'; at least 50 are needed (min_rows)"]),
        ([1] * 60 + [None], ["all 60 labels in 'late' are 1"]),
        ([1, 1], ["2 of 2 rows", "all 2 labels"]),
        ([0, 1] * 25, []),
    ],
)
def test_labels_that_teach_nothing_are_named(labels, fragments):
    problems = validation.label_problems(pd.DataFrame({"late": pd.Series(labels, dtype=object)}), TASK, 50)
    assert len(problems) == len(fragments)
    for problem, fragment in zip(problems, fragments, strict=True):
        assert fragment in problem


def test_a_regression_may_have_one_value_only():
    task = TASK.model_copy(update={"kind": "regression"})
    assert validation.label_problems(pd.DataFrame({"late": [1.0] * 60}), task, 50) == ()


def test_a_ranking_needs_its_group_and_a_relevant_row():
    task = TASK.model_copy(update={"kind": "ranking", "group": "trip"})
    [problem] = validation.schema_problems(flights(), task, FEATURES)
    assert problem.startswith("the group 'trip' is missing from the data")
    assert validation.schema_problems(flights().assign(trip="a"), task, FEATURES) == ()
    [problem] = validation.label_problems(pd.DataFrame({"late": [0] * 60}), task, 50)
    assert "no row has a relevance above 0 in 'late'" in problem
    assert validation.label_problems(pd.DataFrame({"late": [0] * 60 + [1]}), task, 50) == ()


def test_a_missing_label_column_is_a_problem_of_the_schema_alone():
    assert validation.label_problems(flights().drop(columns="late"), TASK, 50) == ()


# The proposal


@pytest.fixture(scope="module")
def proposed(tmp_path_factory) -> Suite:
    return load(tmp_path_factory.mktemp("proposal"), validation.suggest(flights(), TASK, FEATURES))


def test_a_window_passes_the_suite_proposed_from_it(proposed):
    assert validation.check(flights(), proposed, name="flights").check == DataCheck(
        evaluated=len([*proposed.critical, *proposed.warning])
    )


def test_another_window_of_the_same_kind_passes_it_too(proposed):
    assert validation.check(flights(seed=4), proposed, name="flights").check.success


def with_missing(rows: pd.DataFrame) -> pd.DataFrame:
    rows.loc[:119, "distance"] = np.nan
    return rows


@pytest.mark.parametrize(
    ("fault", "column"),
    [
        (with_missing, "distance"),
        (lambda rows: rows.assign(gust=np.nan), "gust"),
        (lambda rows: rows.assign(temperature=rows.temperature * 100), "temperature"),
        (lambda rows: rows.assign(distance=rows.distance * 100), "distance"),
        (lambda rows: rows.assign(carrier=rows.carrier.where(rows.index % 5 > 0, "?")), "carrier"),
        (lambda rows: rows.assign(distance=rows.distance.astype(str)), "distance"),
        (lambda rows: rows.iloc[:300], None),
    ],
    ids=[
        "missing values",
        "an empty column",
        "another unit",
        "another scale",
        "unknown categories",
        "text for numbers",
        "half the rows",
    ],
)
def test_the_proposed_suite_stops_a_window_with_a_fault(proposed, fault, column):
    found = validation.check(fault(flights()), proposed, name="flights").check
    assert {failed.column for failed in found.critical_failed} == {column}


def test_the_proposal_says_what_each_line_was_observed_from():
    text = validation.suggest(flights(), TASK, FEATURES)
    assert text.startswith("# Proposed from 600 rows of 2013-03-01 to 2013-03-05.")
    assert re.search(
        r'- expect_column_values_to_be_in_set: \{column: "carrier", value_set: \["9E", "B6", "NO", "UA"\], mostly: 0.98\}  # 4 different values',
        text,
    )
    assert 'expect_column_values_to_be_between: {column: "distance", min_value: 0, ' in text
    assert '- expect_column_unique_value_count_to_be_between: {column: "destination"' in text


def test_nothing_is_proposed_from_rows_that_cannot_be_used():
    with pytest.raises(DataInvalid, match="there are no rows"):
        validation.suggest(flights().iloc[:0], TASK, FEATURES)
    with pytest.raises(DataInvalid, match="'late' is missing"):
        validation.suggest(flights().drop(columns="late"), TASK, FEATURES)


@pytest.mark.parametrize("name", ["{{ x }}", "a\x07", "a\u2028"])
def test_categories_that_a_suite_file_may_not_hold_are_counted_instead_of_listed(tmp_path, name):
    rows = flights()
    rows.loc[0, "carrier"] = name
    loaded = load(tmp_path, validation.suggest(rows, TASK, FEATURES))
    assert validation.check(rows, loaded, name="flights").check.success


NUMBERS = st.one_of(st.none(), st.floats(-1e12, 1e12), st.just(float("inf")), st.integers(-5, 5))
WORDS = st.one_of(st.none(), st.text(max_size=8), st.integers(-3, 3), st.booleans())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.tuples(NUMBERS, WORDS, st.sampled_from([None, "yes", "no"])), min_size=1, max_size=12))
def test_any_window_passes_the_suite_proposed_from_it(tmp_path, values):
    numbers, words, labels = zip(*values, strict=True)
    rows = pd.DataFrame(
        {
            "at": [datetime(2013, 1, 1, tzinfo=UTC)] * len(values),
            "number": pd.Series(numbers, dtype=float),
            "word": pd.Series(words, dtype=object),
            "label": pd.Series(labels, dtype=object),
        }
    )
    task = Task(kind="classification", label="label", event_time="at")
    features = Features(numeric=("number",), categorical=("word",))
    loaded = load(tmp_path, validation.suggest(rows, task, features), tuple(rows.columns))
    found = validation.check(rows, loaded, name="any").check
    assert found.critical_failed + found.warnings == ()
