"""Read MLflow's scoring request: JSON with exactly one of four keys that hold the rows."""

import json
from collections.abc import Sequence
from typing import Any

from continuous_training.core.errors import DataInvalid

MAX_ROWS = 100_000
FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")


class TooManyRows(DataInvalid):
    """The request holds more rows than one request may."""


def read_request(body: bytes, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the columns `names` of a request, each a list with one value for each row; other columns are left out.

    Values are passed on as they are; `null`, `NaN` and infinities are missing values to a model.

    Parameters
    ----------
    body
        JSON text in UTF-8, an object with one key: `dataframe_split`, `dataframe_records`, `inputs` (columns or rows) or
        `instances` (rows). Rows are objects, or lists with exactly one value for each of `names`.
    names
        The columns the model uses, in order.

    Raises
    ------
    DataInvalid
        The text is not such a request, or a column is missing.
    TooManyRows
        More than 100,000 rows.

    Examples
    --------
    >>> read_request(b'{"dataframe_records": [{"a": 1, "b": "x", "c": 0}, {"b": "y", "a": null}]}', ["a", "b"])
    {'a': [1, None], 'b': ['x', 'y']}
    >>> read_request(b'{"dataframe_split": {"columns": ["b", "a"], "data": [["x", 1]]}}', ["a", "b"])
    {'a': [1], 'b': ['x']}
    >>> read_request(b'{"inputs": {"a": [1, 2], "b": ["x", "y"]}}', ["a", "b"])
    {'a': [1, 2], 'b': ['x', 'y']}
    >>> read_request(b'{"instances": [[1, "x"]]}', ["a", "b"])
    {'a': [1], 'b': ['x']}
    """
    form, value = _only_form(_parse(body))
    if form == "dataframe_split":
        return _from_split(value, names)
    if form == "inputs" and isinstance(value, dict):
        return _from_columns(value, names)
    return _from_rows(form, value, names)


def _parse(body: bytes) -> object:
    try:
        return json.loads(body)
    except RecursionError as error:
        msg = "the body is nested too deeply; write rows of plain values"
        raise DataInvalid(msg) from error
    except ValueError as error:
        raise DataInvalid(f"the body is not JSON in UTF-8 ({error})") from error


def _only_form(request: object) -> tuple[str, Any]:
    if not isinstance(request, dict) or len(request) != 1 or not request.keys() & set(FORMS):
        seen = f"the keys {sorted(request)}" if isinstance(request, dict) else _kind(request)
        raise DataInvalid(f"the body holds {seen:.200}; write an object with exactly one of {', '.join(FORMS)}")
    return next(iter(request.items()))


def _from_split(value: object, names: Sequence[str]) -> dict[str, list[Any]]:
    given, rows = (value.get("columns"), value.get("data")) if isinstance(value, dict) else (None, None)
    if not isinstance(given, list) or not isinstance(rows, list):
        msg = "dataframe_split: write an object with the two lists columns and data"
        raise DataInvalid(msg)
    _check_rows(len(rows))
    _check_names("dataframe_split", names, given)
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(given):
            raise DataInvalid(
                f"dataframe_split: row {number} is not a list of {len(given)} values, one for each of columns"
            )
    twice = [name for name in names if given.count(name) > 1]
    if twice:
        raise DataInvalid(f"dataframe_split: columns names {', '.join(twice)} more than once; name each column once")
    return {name: [row[position] for row in rows] for name, position in ((name, given.index(name)) for name in names)}


def _from_columns(value: dict[str, Any], names: Sequence[str]) -> dict[str, list[Any]]:
    _check_names("inputs", names, value)
    columns = {name: value[name] for name in names}
    for name, values in columns.items():
        if not isinstance(values, list):
            raise DataInvalid(f"inputs: column {name} is {_kind(values)}; write a list with one value for each row")
    _check_rows(max(map(len, columns.values())))
    return columns


def _from_rows(form: str, rows: object, names: Sequence[str]) -> dict[str, list[Any]]:
    if not isinstance(rows, list):
        raise DataInvalid(f"{form}: holds {_kind(rows)}; write a list of rows")
    _check_rows(len(rows))
    named = form == "dataframe_records" or any(isinstance(row, dict) for row in rows)
    for number, row in enumerate(rows):
        if not named and (not isinstance(row, list) or len(row) != len(names)):
            raise DataInvalid(f"{form}: row {number} is not a list of {len(names)} values: {', '.join(names)}")
        if named and not isinstance(row, dict):
            raise DataInvalid(f"{form}: row {number} is {_kind(row)}; write an object with one value for each column")
        if named:
            _check_names(f"{form}: row {number}", names, row)
    keys: Sequence[Any] = names if named else range(len(names))
    return {name: [row[key] for row in rows] for name, key in zip(names, keys, strict=True)}


def _check_rows(count: int) -> None:
    if count > MAX_ROWS:
        raise TooManyRows(f"the request holds {count:,} rows; send at most {MAX_ROWS:,} at once")


def _check_names(where: str, names: Sequence[str], given: dict[str, Any] | list[Any]) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        raise DataInvalid(f"{where}: missing {', '.join(missing)}; write null for a value that is not known")


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
