"""MLflow's scoring request and answer: JSON with exactly one of four keys that hold the rows, and perhaps `params`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from continuous_training.core.errors import DataInvalid
from continuous_training.serving.asked import NOTHING_MORE, Asked, check_rows, kind, wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from continuous_training.deployers.base import Release
    from continuous_training.serving.asked import Why
    from continuous_training.trainers.bundle import Prediction

FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
_DECODER = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()


def read_request(body: bytes, names: Sequence[str]) -> Asked:
    """Return what is asked of the columns `names`; other columns are left out.

    Values are passed on as they are; `null`, `NaN` and infinities are missing values to a model.

    Parameters
    ----------
    body
        JSON text in UTF-8, an object with one of the keys `dataframe_split`, `dataframe_records`, `inputs` (columns or
        rows) and `instances` (rows), and perhaps `params`. Rows are objects, or lists with exactly one value for each
        of `names`.
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
    >>> read_request(b'{"dataframe_records": [{"a": 1, "b": "x", "c": 0}, {"b": "y", "a": null}]}', ["a", "b"]).given
    {'a': [1, None], 'b': ['x', 'y']}
    >>> read_request(b'{"dataframe_split": {"columns": ["b", "a"], "data": [["x", 1]]}}', ["a", "b"]).given
    {'a': [1], 'b': ['x']}
    >>> read_request(b'{"inputs": {"a": [1, 2], "b": ["x", "y"]}}', ["a", "b"]).given
    {'a': [1, 2], 'b': ['x', 'y']}
    >>> read_request(b'{"instances": [[1, "x"]], "params": {"contributions": true}}', ["a", "b"])
    Asked(given={'a': [1], 'b': ['x']}, rows=1, contributions=True, id=None, outputs=(), row=None, named=(), reasons=False)
    """
    request = _parse(body)
    form, value = _only_form(request)
    more = wanted(request["params"], "params") if "params" in request else NOTHING_MORE
    if type(value) is list and len(value) == 1 and type(value[0]) is dict and form != "dataframe_split":
        return Asked({}, 1, more.contributions, row=value[0], named=value, reasons=more.reasons)
    named: Sequence[Any]
    if form == "dataframe_split":
        columns, named = _from_split(value, names), [value["columns"]]
    elif form == "inputs" and isinstance(value, dict):
        columns, named = _from_columns(value, names), [value]
    else:
        columns = _from_rows(form, value, names)
        named = value if value and isinstance(value[0], dict) else ()
    return Asked(columns, max(map(len, columns.values())), more.contributions, named=named, reasons=more.reasons)


def write_answer(_release: Release, _asked: Asked, predictions: Sequence[Prediction], why: Why | None = None) -> bytes:
    """Return the answer as JSON."""
    answer: dict[str, Any] = {"predictions": predictions}
    if why and why.contributions:
        answer["contributions"] = why.contributions._asdict()
    if why and why.reasons:
        answer["reasons"] = why.reasons
    return _ENCODER.encode(answer)


def _parse(body: bytes) -> Any:
    try:
        return _DECODER.decode(body)
    except RecursionError as error:
        msg = "the body is nested too deeply; write rows of plain values"
        raise DataInvalid(msg) from error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _parse_leniently(body)


def _parse_leniently(body: bytes) -> Any:
    """Read what MLflow's clients write and JSON does not know: NaN, infinities, numbers beyond floats."""
    try:
        request = json.loads(body)
        _ENCODER.encode(request)  # half a character (\\ud800) is read, and could not be written anywhere
    except RecursionError as error:
        msg = "the body is nested too deeply; write rows of plain values"
        raise DataInvalid(msg) from error
    except ValueError as error:
        raise DataInvalid(f"the body is not JSON in UTF-8 ({error})") from error
    return request


def _only_form(request: object) -> tuple[str, Any]:
    forms = [name for name in request if name != "params"] if isinstance(request, dict) else []
    if not isinstance(request, dict) or len(forms) != 1 or forms[0] not in FORMS:
        seen = f"the keys {sorted(request)}" if isinstance(request, dict) else kind(request)
        raise DataInvalid(
            f"the body holds {seen:.200}; write an object with exactly one of {', '.join(FORMS)}, and params if you like"
        )
    return forms[0], request[forms[0]]


def _from_split(value: object, names: Sequence[str]) -> dict[str, list[Any]]:
    given, rows = (value.get("columns"), value.get("data")) if isinstance(value, dict) else (None, None)
    if not isinstance(given, list) or not isinstance(rows, list):
        msg = "dataframe_split: write an object with the two lists columns and data"
        raise DataInvalid(msg)
    check_rows(len(rows))
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
            raise DataInvalid(f"inputs: column {name} is {kind(values)}; write a list with one value for each row")
    check_rows(max(map(len, columns.values())))
    return columns


def _from_rows(form: str, rows: object, names: Sequence[str]) -> dict[str, list[Any]]:
    if not isinstance(rows, list):
        raise DataInvalid(f"{form}: holds {kind(rows)}; write a list of rows")
    check_rows(len(rows))
    named = form == "dataframe_records" or any(isinstance(row, dict) for row in rows)
    if not named:
        _check_lists(form, rows, names)
    keys: Sequence[Any] = names if named else range(len(names))
    try:
        return {name: [row[key] for row in rows] for name, key in zip(names, keys, strict=True)}
    except (KeyError, TypeError):
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise DataInvalid(
                    f"{form}: row {number} is {kind(row)}; write an object with one value for each column"
                ) from None
            _check_names(f"{form}: row {number}", names, row)
        raise


def _check_lists(form: str, rows: list[Any], names: Sequence[str]) -> None:
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise DataInvalid(f"{form}: row {number} is not a list of {len(names)} values: {', '.join(names)}")


def _check_names(where: str, names: Sequence[str], given: dict[str, Any] | list[Any]) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        raise DataInvalid(f"{where}: missing {', '.join(missing)}; write null for a value that is not known")
