"""The Great Expectations side of a data check: imported once, inside the verbs of `validation`."""

import inspect
import json
import warnings
from functools import cache
from html import escape
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations import expectations
from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResultSchema
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.render.renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

from continuous_training.core.data_check import DataCheck, Expectation, FailedExpectation, Suite
from continuous_training.suites import COLUMN_ARGUMENTS, REFUSED, columns_of, did_you_mean

Result = dict[str, Any]

# Besides the bookkeeping fields: a row condition is evaluated as an expression by pandas, which can run code.
_NOT_ARGUMENTS = {
    *expectations.Expectation.__fields__,
    "batch_id",
    "row_condition",
    "condition_parser",
    "library_metadata",
}


@cache
def catalogue() -> dict[str, type[expectations.Expectation]]:
    """Return the expectations a suite may name: those of Great Expectations itself that only look at rows."""
    members = (member for _, member in inspect.getmembers(expectations, inspect.isclass))
    named = {
        getattr(member, "expectation_type", ""): member
        for member in members
        if issubclass(member, expectations.Expectation)
    }
    return {name: member for name, member in named.items() if name and name not in REFUSED}


def arguments_of(name: str) -> list[str]:
    """Return the arguments that the expectation `name` takes from a suite."""
    return sorted(set(catalogue()[name].__fields__) - _NOT_ARGUMENTS)


def value_problems(expectation: Expectation) -> list[tuple[str | None, str]]:
    """Return what the library has against the values of one expectation: the argument, if any, and the text."""
    try:
        _build(expectation, "critical", 0)
    except (ValueError, TypeError) as error:
        parts: list[dict[str, Any]] = error.errors() if hasattr(error, "errors") else [{"loc": (), "msg": str(error)}]
        # A value that fits none of several types is reported once for each of them; the first says enough.
        first = {part["loc"][:1]: part["msg"] for part in reversed(parts)}
        return [_value_problem(expectation, *where, text=text) for where, text in reversed(first.items())]
    return []


def _value_problem(expectation: Expectation, argument: str | None = None, *, text: str) -> tuple[str | None, str]:
    if argument in expectation.arguments:
        return argument, f"{expectation.arguments[argument]!r:.80} is not allowed: {text}"
    return None, f"the argument {argument} is missing" if text == "field required" else text


def _build(expectation: Expectation, severity: str, position: int) -> expectations.Expectation:
    return catalogue()[expectation.name](**expectation.arguments, severity=severity, meta={"position": position})


def evaluate(frame: pd.DataFrame, suite: Suite, name: str) -> tuple[DataCheck, bytes, bytes]:
    """Evaluate `suite` on `frame`; return the finding, the full result as JSON, and the page as HTML."""
    asked = [*suite.critical, *suite.warning]
    built = [
        _build(expectation, "critical" if position < len(suite.critical) else "warning", position)
        for position, expectation in enumerate(asked)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, about infinite or empty columns
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
        rows = (
            context.data_sources.add_pandas("window")
            .add_dataframe_asset("rows")
            .add_batch_definition_whole_dataframe("all")
        )
        found = rows.get_batch({"dataframe": frame}).validate(
            gx.ExpectationSuite("suite", expectations=built), result_format="SUMMARY"
        )
        result = json.loads(json.dumps(found.to_json_dict(), default=_plain), parse_constant=str)
        result["results"].sort(key=lambda one: one["expectation_config"]["meta"]["position"])
        finding = _finding(frame, suite, result["results"])
        page = _page(result, finding, name)
    return finding, json.dumps(result, indent=1).encode(), page.encode()


def _plain(value: Any) -> Any:
    # The library leaves numpy booleans, even a whole expectation's success, in what it calls a JSON dict.
    return value.item() if isinstance(value, np.generic) else str(value)


def _finding(frame: pd.DataFrame, suite: Suite, results: list[Result]) -> DataCheck:
    critical: list[FailedExpectation] = []
    warned: list[FailedExpectation] = []
    for position, (expectation, result) in enumerate(zip([*suite.critical, *suite.warning], results, strict=True)):
        if result["success"]:
            continue
        error = _error(result)
        text = _missing_column(frame, expectation) or (
            _observed(expectation, result["result"]) if error is None else _not_evaluated(frame, expectation, error)
        )
        column = ", ".join(map(str, columns_of(expectation))) or None
        text = f"{f'{column}: ' if column else ''}{expectation.name}: {text}"
        failed = FailedExpectation(name=expectation.name, column=column, text=text[:500])
        (critical if error is not None or position < len(suite.critical) else warned).append(failed)
    return DataCheck(evaluated=len(results), critical_failed=tuple(critical), warnings=tuple(warned))


def _error(result: Result) -> str | None:
    info = result.get("exception_info") or {}
    infos = [info] if "raised_exception" in info else list(info.values())
    return next((str(one.get("exception_message")) for one in infos if one.get("raised_exception")), None)


def _missing_column(frame: pd.DataFrame, expectation: Expectation) -> str | None:
    missing = [column for column in columns_of(expectation) if column not in frame.columns]
    return (
        f"the data has no column {missing[0]!r}{did_you_mean(str(missing[0]), map(str, frame.columns))}"
        if missing
        else None
    )


def _not_evaluated(frame: pd.DataFrame, expectation: Expectation, error: str) -> str:
    types = ", ".join(
        f"{column} holds {frame[column].dtype}" for column in columns_of(expectation) if frame[column].ndim == 1
    )
    return f"could not be evaluated: {error[:200]}{f' ({types})' if types else ''}"


def _observed(expectation: Expectation, result: Result) -> str:
    arguments = expectation.arguments
    if "element_count" in result:
        counted = result["element_count"] - result.get("missing_count", 0)
        share, allowed = result.get("unexpected_percent") or 0.0, 100 * (1 - arguments.get("mostly", 1))
        return f"{result['unexpected_count']:,} of {counted:,} values fail ({share:.4g} %); allowed are {allowed:.4g} %"
    expected = ", ".join(
        f"{key} {_short(value)}" for key, value in arguments.items() if key not in COLUMN_ARGUMENTS[:3]
    )
    if result.get("observed_value") is not None:
        return f"observed {_short(result['observed_value'])}; allowed is {expected}"
    if "unexpected_count" in result:
        return f"{result['unexpected_count']:,} distinct values are not in the set; allowed are none"
    return f"nothing was observed; allowed is {expected}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


_LONGEST_VALUE = 120


def _page(result: Result, finding: DataCheck, name: str) -> str:
    """Return the Data Docs page of one result, complete in itself: it fetches nothing and runs no script.

    Great Expectations writes column names and values of the data into its page as they are, so they are escaped before.
    """
    escaped = {**result, "results": [_escaped_result(one) for one in result["results"]]}
    loaded = ExpectationSuiteValidationResultSchema().load(escaped)
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(loaded).to_json_dict()
    # The verdict at the top is ours (a warning does not fail a window); the run's information is in the manifest.
    overview, *sections = document["sections"][:-1]
    overview["content_blocks"] = overview["content_blocks"][1:]
    template = DefaultJinjaPageView().env.from_string(_PAGE)
    return str(
        template.render({**document, "sections": [overview, *sections]}, name=name, finding=finding, style=_STYLE)
    )


def _escaped_result(result: Result) -> Result:
    config = result["expectation_config"]
    column = {key: _escaped(value) for key, value in config["kwargs"].items() if key == "column"}
    return {
        **result,
        "expectation_config": {**config, "kwargs": {**config["kwargs"], **column}},
        "result": _escaped(result["result"]),
        "exception_info": _escaped(result["exception_info"]),
    }


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value, quote=False)
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return {key: _escaped(item) for key, item in value.items()} if isinstance(value, dict) else value


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data check {{ name }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<header>
<h1>Data check {{ name }}</h1>
<p class="verdict {{ finding.outcome.value }}">
{%- if finding.success %}Passed{% else %}Failed{% endif %}: {{ finding.evaluated }} expectations,
{{ finding.critical_failed | length }} critical failed, {{ finding.warnings | length }} warnings</p>
{% for failed in finding.critical_failed + finding.warnings %}
<p><strong>{% if loop.index > finding.critical_failed | length %}Warning{% else %}Critical{% endif %}</strong>
{{ failed.text }}</p>
{% endfor %}
</header>
<div class="columns">
<aside>{% include "table_of_contents.j2" %}</aside>
<main>{% for section in sections %}{% set section_loop = loop %}{% include "section.j2" %}{% endfor %}</main>
</div>
<footer>Data Docs of Great Expectations {{ ge_version }}</footer>
</body>
</html>
"""
# Stands in for the Bootstrap and icon fonts that the library's own page fetches.
_STYLE = """
:root{color-scheme:light dark;--line:#8884;--good:#15803d;--bad:#b91c1c;--warn:#b45309}
*{box-sizing:border-box}
body{margin:0 auto;max-width:80rem;padding:1.5rem;font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}h4,h5,h6{font-size:1.05rem;margin:.4rem 0}
header p{margin:.4rem 0}.verdict{font-weight:600}.pass{color:var(--good)}.fail,.text-danger{color:var(--bad)}
.text-success{color:var(--good)}.text-warning{color:var(--warn)}
.columns{display:grid;grid-template-columns:13rem minmax(0,1fr);gap:2rem;margin-top:1.5rem}
aside{position:sticky;top:1rem;align-self:start}aside ul{list-style:none;margin:0;padding:0}
aside a{text-decoration:none}.card-header{margin-bottom:.3rem}
table{border-collapse:collapse;width:100%;margin:.4rem 0}
td,th{border:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{white-space:nowrap}
td table{display:block;max-height:14rem;overflow:auto}
.badge{background:#8883;border-radius:.3rem;padding:0 .35rem}
code{font-size:.9em;overflow-wrap:anywhere}
.alert{border-bottom:2px solid var(--line);margin-top:1rem}
i.fas{font-style:normal;font-weight:700}.fa-check-circle::before{content:"\\2714"}.fa-times::before{content:"\\2718"}
.fa-exclamation-triangle::before{content:"\\26A0"}
.collapse{display:none}.collapse:target{display:block}
.cooltip .top{display:none}.cooltip:hover .top{display:inline;margin-left:.5rem}
footer{margin-top:2rem;opacity:.7}
@media(max-width:45rem){.columns{grid-template-columns:minmax(0,1fr)}aside{display:none}}
"""
