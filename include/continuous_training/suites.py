"""Suites as people write them: which expectations and arguments there are, known without Great Expectations.

Airflow reads every suite whenever it parses DAGs, and importing the library costs seconds, so what it offers is written
down here; a test holds it against the library. Values of arguments are checked by the library itself, in `validation`.
"""

from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from continuous_training import spec_errors, strict_yaml
from continuous_training.core.data_check import Expectation, Suite
from continuous_training.core.errors import SpecError

# Name of an expectation to its arguments.
CATALOGUE = {
    "expect_column_distinct_values_to_be_in_set": "column value_set",
    "expect_column_distinct_values_to_contain_set": "column value_set",
    "expect_column_distinct_values_to_equal_set": "column value_set",
    "expect_column_max_to_be_between": "column max_value min_value strict_max strict_min",
    "expect_column_mean_to_be_between": "column max_value min_value strict_max strict_min",
    "expect_column_median_to_be_between": "column max_value min_value strict_max strict_min",
    "expect_column_min_to_be_between": "column max_value min_value strict_max strict_min",
    "expect_column_most_common_value_to_be_in_set": "column ties_okay value_set",
    "expect_column_pair_values_a_to_be_greater_than_b": "column_A column_B ignore_row_if mostly or_equal",
    "expect_column_pair_values_to_be_equal": "column_A column_B ignore_row_if mostly",
    "expect_column_pair_values_to_be_in_set": "column_A column_B ignore_row_if mostly value_pairs_set",
    "expect_column_proportion_of_non_null_values_to_be_between": "column max_value min_value strict_max strict_min",
    "expect_column_proportion_of_unique_values_to_be_between": "column max_value min_value strict_max strict_min",
    "expect_column_quantile_values_to_be_between": "allow_relative_error column quantile_ranges",
    "expect_column_stdev_to_be_between": "column max_value min_value strict_max strict_min",
    "expect_column_sum_to_be_between": "column max_value min_value strict_max strict_min",
    "expect_column_to_exist": "column column_index",
    "expect_column_type_to_be": "column type_",
    "expect_column_unique_value_count_to_be_between": "column max_value min_value strict_max strict_min",
    "expect_column_value_lengths_to_be_between": "column max_value min_value mostly strict_max strict_min",
    "expect_column_value_lengths_to_equal": "column mostly value",
    "expect_column_value_z_scores_to_be_less_than": "column double_sided mostly threshold",
    "expect_column_values_to_be_between": "column max_value min_value mostly strict_max strict_min",
    "expect_column_values_to_be_dateutil_parseable": "column mostly",
    "expect_column_values_to_be_decreasing": "column mostly strictly",
    "expect_column_values_to_be_in_set": "column mostly value_set",
    "expect_column_values_to_be_in_type_list": "column mostly type_list",
    "expect_column_values_to_be_increasing": "column mostly strictly",
    "expect_column_values_to_be_json_parseable": "column mostly",
    "expect_column_values_to_be_null": "column mostly",
    "expect_column_values_to_be_of_type": "column mostly type_",
    "expect_column_values_to_be_unique": "column mostly",
    "expect_column_values_to_match_regex": "column mostly regex",
    "expect_column_values_to_match_regex_list": "column match_on mostly regex_list",
    "expect_column_values_to_match_strftime_format": "column mostly strftime_format",
    "expect_column_values_to_not_be_in_set": "column mostly value_set",
    "expect_column_values_to_not_be_null": "column mostly",
    "expect_column_values_to_not_be_outliers": "column method mostly multiplier",
    "expect_column_values_to_not_match_regex": "column mostly regex",
    "expect_column_values_to_not_match_regex_list": "column mostly regex_list",
    "expect_compound_columns_to_be_unique": "column_list ignore_row_if mostly",
    "expect_multicolumn_sum_to_equal": "column_list ignore_row_if mostly sum_total",
    "expect_multicolumn_values_to_be_equal": "column_list ignore_row_if mostly",
    "expect_select_column_values_to_be_unique_within_record": "column_list ignore_row_if mostly",
    "expect_table_column_count_to_be_between": "max_value min_value",
    "expect_table_column_count_to_equal": "value",
    "expect_table_columns_to_match_ordered_list": "column_list",
    "expect_table_columns_to_match_set": "column_set exact_match",
    "expect_table_row_count_to_be_between": "max_value min_value strict_max strict_min",
    "expect_table_row_count_to_equal": "value",
}
_SQL = "it needs SQL, and a data check reads the rows of a window"
_LIKE = "it needs a SQL database; use expect_column_values_to_match_regex or its relatives"
REFUSED = {
    "expect_query_results_to_match_comparison": _SQL,
    "expect_table_row_count_to_equal_other_table": _SQL,
    "unexpected_rows_expectation": _SQL,
    "expect_column_values_to_match_like_pattern": _LIKE,
    "expect_column_values_to_match_like_pattern_list": _LIKE,
    "expect_column_values_to_not_match_like_pattern": _LIKE,
    "expect_column_values_to_not_match_like_pattern_list": _LIKE,
    "expect_column_values_to_match_json_schema": "a schema may name addresses that would be fetched",
    "expect_column_kl_divergence_to_be_less_than": "distance between windows is drift; use a detector of the model file",
}

COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list", "column_set")


def load_suite(path: Path, columns: Collection[str] | None = None) -> Suite:
    """Return the suite that the YAML file `path` describes.

    Parameters
    ----------
    path
        The file: lists of expectations under `critical` and `warning`.
    columns
        The columns there will be; a suite that speaks of any other is refused.

    Raises
    ------
    SpecError
        The file cannot be read, or names an expectation, an argument or a column there is not; the message has file,
        line, key, and the nearest right spelling.
    """
    document = strict_yaml.read(path)
    try:
        suite = Suite.model_validate(document.data)
    except ValidationError as error:
        raise spec_errors.explain_validation(error, document, Suite) from None
    lines = [
        f"{document.where(key)}: {strict_yaml.key_path(key)}: {text}" for key, text in suite_problems(suite, columns)
    ]
    if lines:
        raise SpecError("\n".join([*lines[: spec_errors.MAX_PROBLEMS], strict_yaml.WHAT_NEXT]))
    return suite


def suite_problems(suite: Suite, columns: Collection[str] | None) -> Iterator[tuple[strict_yaml.KeyPath, str]]:
    """Yield what is wrong with the names in a suite: the key path it is about, and the text."""
    for section in ("critical", "warning"):
        for number, expectation in enumerate(getattr(suite, section)):
            key = (section, number, expectation.name)
            for argument, text in problems(expectation, columns):
                yield (key if argument is None else (*key, argument)), text


def columns_of(expectation: Expectation) -> list[str]:
    """Return the columns an expectation speaks of."""
    found: list[str] = []
    for argument in COLUMN_ARGUMENTS:
        value = expectation.arguments.get(argument)
        found += value if isinstance(value, list | tuple) else [] if value is None else [value]
    return found


def problems(expectation: Expectation, columns: Collection[str] | None) -> list[tuple[str | None, str]]:
    """Return what is wrong with the names in one expectation: the argument it is about, if any, and the text.

    `columns` are those the expectation may speak of, if they are known.
    """
    name = expectation.name
    if name in REFUSED:
        return [(None, f"this expectation is not allowed: {REFUSED[name]}")]
    if name not in CATALOGUE:
        return [(None, f"there is no such expectation{did_you_mean(name, CATALOGUE)}")]
    allowed = CATALOGUE[name].split()
    if not expectation.arguments:
        return [(None, f"without arguments this expects nothing; give some of {', '.join(allowed)}")]
    found: list[tuple[str | None, str]] = [
        (argument, f"there is no such argument; allowed are {', '.join(allowed)}{did_you_mean(argument, allowed)}")
        for argument in expectation.arguments
        if argument not in allowed
    ]
    found += [
        (argument, "parameters ($...) are not allowed; write the value itself")
        for argument, value in expectation.arguments.items()
        if _has_parameter(value)
    ]
    return found + [
        (None, f"the model reads no column {column!r}{did_you_mean(str(column), columns)}")
        for column in columns_of(expectation)
        if columns is not None and column not in columns
    ]


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return the end of a message that names the nearest right spelling, if one is near."""
    near = get_close_matches(word, list(choices), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _has_parameter(value: Any) -> bool:
    if isinstance(value, dict):
        return any(str(key).startswith("$") or _has_parameter(item) for key, item in value.items())
    return isinstance(value, list | tuple) and any(_has_parameter(item) for item in value)
