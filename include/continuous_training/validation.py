"""Check whether a window of rows looks the way training needs it.

The columns and labels are checked with pandas alone; the suite of a model is checked by Great Expectations, which is
imported only when there is one.
"""

from __future__ import annotations

import json
import logging
import math
import os
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from continuous_training import spec_errors, strict_yaml, suites
from continuous_training.core.data_check import DataCheck, Suite
from continuous_training.core.errors import DataInvalid, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    import pandas as pd

    from continuous_training.core.task import Features, Task


class CheckedData(NamedTuple):
    """A data check with its two artefacts."""

    check: DataCheck
    result: bytes
    """The complete validation result of Great Expectations: JSON, about 2 kB for each expectation."""
    page: bytes
    """Its Data Docs: one HTML page that fetches nothing and runs no script."""


def load_suite(path: Path, columns: Collection[str] | None = None) -> Suite:
    """Return the suite of a file as `suites.load_suite` does, with the values of arguments judged by the library too.

    Raises
    ------
    SpecError
        As there, or a value is not one that its expectation takes, for example `mostly: 1.4`.
    """
    suite = suites.load_suite(path, columns)
    document = strict_yaml.read(path)
    lines = [f"{document.where(key)}: {strict_yaml.key_path(key)}: {text}" for key, text in _problems(suite)]
    if lines:
        raise SpecError("\n".join([*lines[: spec_errors.MAX_PROBLEMS], strict_yaml.WHAT_NEXT]))
    return suite


def _problems(suite: Suite) -> Iterator[tuple[strict_yaml.KeyPath, str]]:
    """Yield what is wrong with a suite: its names, and the values that only the library can judge."""
    wrong = list(suites.suite_problems(suite, None))
    yield from wrong
    if wrong:
        return
    _prepare_great_expectations()
    from continuous_training import _validation

    for section in ("critical", "warning"):
        for number, expectation in enumerate(getattr(suite, section)):
            key = (section, number, expectation.name)
            for argument, text in _validation.value_problems(expectation):
                yield (key if argument is None else (*key, argument)), text


def _prepare_great_expectations() -> None:
    """Switch off, before the library is imported, its log lines (hundreds for one suite) and its messages home."""
    logger = logging.getLogger("great_expectations")
    logger.propagate = False  # some of its loggers set their own level
    logger.handlers = [logging.NullHandler()]
    os.environ["GX_ANALYTICS_ENABLED"] = "false"


def check(frame: pd.DataFrame, suite: Suite, *, name: str) -> CheckedData:
    """Evaluate `suite` on the rows of `frame`.

    Parameters
    ----------
    frame
        The rows of one window.
    suite
        What is expected of them. An expectation that cannot be evaluated, for a column that is not there or has the
        wrong type, is a critical failure and never an exception.
    name
        Names the rows on the page, for example the model and the window.

    Raises
    ------
    SpecError
        The suite, made without `load_suite`, names an expectation or an argument there is not.
    """
    wrong = [f"{strict_yaml.key_path(key)}: {text}" for key, text in _problems(suite)]
    if wrong:
        msg = f"the suite is wrong: {'; '.join(wrong)}. Nothing was checked; correct the suite, a retry gives the same."
        raise SpecError(msg)
    from continuous_training import _validation

    return CheckedData(*_validation.evaluate(frame, suite, name))


def schema_problems(frame: pd.DataFrame, task: Task, features: Features) -> tuple[str, ...]:
    """Return what is wrong with the columns of `frame`: missing, given twice, or not of the type the model needs."""
    needed = (*task.columns, *features.columns)
    names = [str(name) for name in frame.columns]
    spare = [name for name in names if name not in needed]
    found: list[str] = []
    for column in needed:
        count = names.count(column)
        if count == 0:
            near = get_close_matches(column, spare, n=1)
            renamed = f"; was it renamed to {near[0]!r}?" if near else ""
            found.append(f"{_role(column, task)} {column!r} is missing from the data{renamed}")
        elif count > 1:
            found.append(f"{_role(column, task)} {column!r} is in the data {count} times; keep one")
        elif wrong := _type_problem(frame[column], column, task, features):
            found.append(wrong)
    return tuple(found)


def _role(column: str, task: Task) -> str:
    roles = {task.label: "the label", task.event_time: "the event time", task.group: "the group"}
    return roles.get(column, "the feature")


def _type_problem(values: pd.Series, column: str, task: Task, features: Features) -> str | None:
    from pandas.api import types

    if column == task.event_time and not types.is_datetime64_any_dtype(values.dtype):
        return f"the event time {column!r} holds {_kind(values)}, not times; store it as a timestamp in UTC"
    is_number = column in features.numeric or (column == task.label and task.kind != "classification")
    if is_number and not _numeric(values):
        return f"{_role(column, task)} {column!r} holds {_kind(values)}, not numbers; convert it, or list it under features.categorical"
    return None


def _numeric(values: pd.Series) -> bool:
    from pandas.api import types

    if types.is_numeric_dtype(values.dtype):
        return True
    held = types.infer_dtype(values, skipna=True) if values.dtype == object else ""
    return held in {"integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty"}


def _kind(values: pd.Series) -> str:
    from pandas.api import types

    kind = str(types.infer_dtype(values, skipna=True))
    return {"string": "text", "categorical": "categories", "datetime64": "times", "empty": "nothing"}.get(kind, kind)


def label_problems(frame: pd.DataFrame, task: Task, min_rows: int) -> tuple[str, ...]:
    """Return why nothing can be learned from the labels of `frame`: too few, none, all of one class or irrelevant.

    Parameters
    ----------
    frame
        The rows of one window; a frame without the label column has no problem here but in `schema_problems`.
    min_rows
        Labelled rows needed.
    """
    if task.label not in frame.columns:
        return ()
    labels = frame[task.label].dropna()
    if labels.empty:
        return (
            f"none of {len(frame):,} rows has a label in {task.label!r}; at least {min_rows:,} labelled rows are needed (min_rows)",
        )
    found = []
    if len(labels) < min_rows:
        found.append(
            f"{len(labels):,} of {len(frame):,} rows have a label in {task.label!r}; at least {min_rows:,} are needed (min_rows)"
        )
    if task.kind == "ranking" and _numeric(labels) and not (labels > 0).any():
        found.append(f"no row has a relevance above 0 in {task.label!r}; there is nothing to rank higher than the rest")
    if task.kind == "classification" and (labels == labels.iloc[0]).all():
        found.append(
            f"all {len(labels):,} labels in {task.label!r} are {labels.iloc[0]!s:.80}; at least two classes are needed"
        )
    return tuple(found)


def suggest(frame: pd.DataFrame, task: Task, features: Features) -> str:
    """Propose a suite from the rows of one window: YAML, with the observation behind each line as its comment.

    The rows it comes from pass it. Ranges leave room for other seasons and shares for ordinary noise, so read it and
    tighten what you know better.

    Parameters
    ----------
    frame
        The rows of one window, best a reference window: the row count is taken from it.

    Raises
    ------
    DataInvalid
        The frame has no rows, or columns that `schema_problems` refuses.
    """
    wrong = schema_problems(frame, task, features) if len(frame) else ("there are no rows",)
    if wrong:
        msg = f"no suite can be proposed: {'; '.join(wrong)}. Correct the source or the window; a retry gives the same."
        raise DataInvalid(msg)
    times = frame[task.event_time]
    head = f"# Proposed from {len(frame):,} rows of {times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}. Tighten what you know better.\n"
    lines: dict[str, list[str]] = {"critical": [], "warning": []}
    for section, name, arguments, observed in _suggestions(frame, task, features):
        written = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
        lines[section].append(f"  - {name}: {{{written}}}  # {observed}")
    return (
        head
        + "\n".join(line for section, listed in lines.items() if listed for line in (f"{section}:", *listed))
        + "\n"
    )


_Suggestion = tuple[str, str, dict[str, Any], str]
_MOST_CATEGORIES = 50
_NOISE = 0.02
"""Share of values that may differ from what was seen before anybody should look."""


def _suggestions(frame: pd.DataFrame, task: Task, features: Features) -> Iterator[_Suggestion]:
    rows = len(frame)
    row_count = {"min_value": math.floor(rows * 0.6), "max_value": rows * 2}
    yield "critical", "expect_table_row_count_to_be_between", row_count, f"{rows:,} rows"
    for column in (task.event_time, *features.columns):
        yield _not_null(frame[column], column, "critical")
    yield _not_null(frame[task.label], task.label, "warning")
    for column in features.numeric:
        yield from _type(frame[column], column)
        yield from _range(frame[column], column, "critical")
    for column in features.categorical:
        yield from _categories(frame[column], column)
    if task.kind == "classification":
        yield from _categories(frame[task.label], task.label)
    else:
        yield from _range(frame[task.label], task.label, "warning")


def _not_null(values: pd.Series, column: str, section: str) -> _Suggestion:
    present = float(values.notna().mean())
    mostly = _floor(present - _NOISE - 0.3 * min(present, 1 - present))
    return (
        section,
        "expect_column_values_to_not_be_null",
        {"column": column, "mostly": mostly},
        f"{present:.1%} present",
    )


def _type(values: pd.Series, column: str) -> Iterator[_Suggestion]:
    import numpy as np

    if isinstance(values.dtype, np.dtype) and values.dtype != object:
        # One missing value turns whole numbers into floats, so both are the same to a model.
        types = sorted({str(values.dtype), "int64", "float64"})
        yield (
            "critical",
            "expect_column_values_to_be_in_type_list",
            {"column": column, "type_list": types},
            str(values.dtype),
        )


def _range(values: pd.Series, column: str, section: str) -> Iterator[_Suggestion]:
    present = values.dropna().astype(float)
    numbers = present[present.abs() < math.inf]
    if numbers.empty:
        return
    low, high = float(numbers.quantile(0.01)), float(numbers.quantile(0.99))
    room = (high - low) or float(numbers.max() - numbers.min()) or abs(high)
    least, most = _rounded(low - room, math.floor), _rounded(high + room, math.ceil)
    if numbers.min() >= 0:
        least = max(0, least)
    arguments = {
        "column": column,
        "min_value": least,
        "max_value": most,
        "mostly": _floor(present.between(least, most).mean() - _NOISE),
    }
    observed = f"{numbers.min():.4g} to {numbers.max():.4g}, 98 % within {low:.4g} to {high:.4g}"
    yield section, "expect_column_values_to_be_between", arguments, observed


def _floor(share: float) -> float:
    """Round a share down to a thousandth, so that what it was computed from still satisfies it."""
    return max(0.0, math.floor(share * 1000) / 1000)


def _rounded(value: float, direction: Callable[[float], int]) -> float:
    """Round to two significant digits, outwards."""
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0
    rounded = float(f"{direction(value / unit) * unit:.12g}")
    return int(rounded) if rounded.is_integer() else rounded


def _categories(values: pd.Series, column: str) -> Iterator[_Suggestion]:
    seen = [value.item() if hasattr(value, "item") else value for value in values.dropna().unique()]
    if not seen:
        return
    if len(seen) > _MOST_CATEGORIES or not all(_writable(value) for value in seen):
        arguments: dict[str, Any] = {"column": column, "min_value": len(seen) // 2, "max_value": len(seen) * 2}
        yield "warning", "expect_column_unique_value_count_to_be_between", arguments, f"{len(seen):,} different values"
        return
    arguments = {"column": column, "value_set": sorted(seen, key=str), "mostly": 1 - _NOISE}
    yield "critical", "expect_column_values_to_be_in_set", arguments, f"{len(seen)} different values"


def _writable(value: object) -> bool:
    return isinstance(value, bool | int | float) or (
        isinstance(value, str) and value.isprintable() and "{" not in value
    )
