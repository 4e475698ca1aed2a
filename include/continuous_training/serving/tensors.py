"""The Open Inference Protocol's request and answer (version 2, JSON): each column is an input tensor with its name.

Source: https://github.com/kserve/open-inference-protocol, `specification/protocol/inference_rest.md`. Beyond it, `null` in
the data is a missing value.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from continuous_training.core.errors import DataInvalid
from continuous_training.serving.asked import Asked, check_rows, kind, wants_contributions
from continuous_training.trainers.bundle import BINARY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from continuous_training.deployers.base import Release
    from continuous_training.serving.asked import Contributions
    from continuous_training.trainers.bundle import Manifest, Prediction

OUTPUTS = ("predictions", "contributions", "base")
_MOST_ID = 256
_INTEGERS = {f"{sign}INT{bits}": (sign, bits) for sign in ("", "U") for bits in (8, 16, 32, 64)}
_RANGES = {
    name: (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for name, (sign, bits) in _INTEGERS.items()
}
_TYPES: dict[str, tuple[type, ...]] = {
    "BOOL": (bool,),
    **dict.fromkeys(_INTEGERS, (int,)),
    **dict.fromkeys(("FP16", "FP32", "FP64", "BF16"), (float, int)),
    "BYTES": (str,),
}
_DECODER = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()


def read_request(body: bytes, names: Sequence[str]) -> Asked:
    """Return what is asked of the columns `names`; other inputs are left out.

    Raises
    ------
    DataInvalid
        The text is no such request, a column is missing, or a value does not have the type that its input states.
    TooManyRows
        More than 100,000 rows.

    Examples
    --------
    >>> tensor = b'{"name": "a", "shape": [2], "datatype": "FP64", "data": [1.5, null]}'
    >>> read_request(b'{"id": "7", "inputs": [%b]}' % tensor, ["a"])
    Asked(columns={'a': [1.5, None]}, rows=2, contributions=False, id='7', outputs=())
    """
    request = _parse(body)
    inputs = request.get("inputs")
    if not isinstance(inputs, list):
        raise DataInvalid(f"inputs is {kind(inputs)}; write a list with one tensor for each column")
    contributions = "parameters" in request and wants_contributions(request["parameters"], "parameters")
    columns = dict(_columns(inputs, set(names)))
    missing = [name for name in names if name not in columns]
    if missing:
        raise DataInvalid(f"inputs: missing {', '.join(missing)}; write null for a value that is not known")
    rows = len(columns[names[0]])
    for name, values in columns.items():
        if len(values) != rows:
            raise DataInvalid(f"inputs: {name} has {len(values)} rows and {names[0]} has {rows}; give each the same")
    check_rows(rows)
    return Asked(columns, rows, contributions, _id(request), _outputs(request, contributions=contributions))


def write_answer(
    release: Release, asked: Asked, predictions: Sequence[Prediction], contributions: Contributions | None = None
) -> bytes:
    """Return the answer as JSON, with its numbers in one list row by row."""
    outputs = [_tensor("predictions", predictions)]
    if contributions:
        outputs += [_tensor("contributions", contributions.data), _tensor("base", contributions.base)]
    answer: dict[str, Any] = {"model_name": release.model, "model_version": release.version}
    if asked.id is not None:
        answer["id"] = asked.id
    answer["outputs"] = [output for output in outputs if not asked.outputs or output["name"] in asked.outputs]
    return _ENCODER.encode(answer)


def metadata(release: Release, manifest: Manifest) -> dict[str, Any]:
    """Return what the protocol tells of a model: its inputs, its outputs and the version that answers."""
    features, classes = manifest.preparation.features, len(manifest.classes)
    datatypes = {**dict.fromkeys(features.numeric, "FP64"), **dict.fromkeys(features.categorical, "BYTES")}
    shape = [-1, classes] if classes > BINARY else [-1]
    return {
        "name": release.model,
        "versions": [release.version],
        "platform": f"continuous-training_{manifest.trainer.kind}",
        "inputs": [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in datatypes.items()],
        "outputs": [{"name": "predictions", "datatype": "FP64", "shape": shape}],
    }


def _parse(body: bytes) -> dict[str, Any]:
    try:
        return _DECODER.decode(body)
    except RecursionError as error:
        msg = "the body is nested too deeply; write an object with inputs, a list of tensors"
        raise DataInvalid(msg) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataInvalid(
            f"the body is not an object of JSON in UTF-8 ({error}); write null for a missing value"
        ) from error


def _columns(inputs: list[Any], wanted: set[str]) -> Iterator[tuple[str, list[Any]]]:
    seen: set[str] = set()
    for number, tensor in enumerate(inputs):
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if not isinstance(name, str):
            raise DataInvalid(
                f"inputs: tensor {number} has no name; write an object with name, shape, datatype and data"
            )
        if name in seen:
            raise DataInvalid(f"inputs: {name:.100} is given more than once; give each column once")
        seen.add(name)
        if name in wanted:
            yield name, _values(name, tensor)


def _values(name: str, tensor: dict[str, Any]) -> list[Any]:
    datatype, data, shape = tensor.get("datatype"), tensor.get("data"), tensor.get("shape")
    types = _TYPES.get(datatype) if isinstance(datatype, str) else None
    if types is None or not isinstance(datatype, str):
        raise DataInvalid(f"inputs: {name} has the datatype {datatype!r:.100}; allowed: {', '.join(_TYPES)}")
    if not isinstance(data, list):
        raise DataInvalid(f"inputs: data of {name} is {kind(data)}; write a list with one value for each row")
    if data and isinstance(data[0], list):  # shape [rows, 1], not flattened
        data = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in data]
    if shape not in ([len(data)], [len(data), 1]):
        raise DataInvalid(f"inputs: {name} has the shape {shape!r:.100} and {len(data)} values; write [{len(data)}]")
    low, high = _RANGES.get(datatype, (None, None))
    for row, value in enumerate(data):
        if value is None:
            continue
        if type(value) not in types:
            raise DataInvalid(
                f"inputs: {name} holds {kind(value)} in row {row}, which is no {datatype}; correct one of them"
            )
        if low is not None and high is not None and not low <= value <= high:
            raise DataInvalid(f"inputs: {name} holds a number in row {row} that {datatype} cannot; correct one of them")
    return data


def _id(request: dict[str, Any]) -> str | None:
    given = request.get("id")
    if given is not None and (not isinstance(given, str) or len(given) > _MOST_ID):
        raise DataInvalid(f"id is {kind(given)}; write a text of at most {_MOST_ID} characters")
    return given


def _outputs(request: dict[str, Any], *, contributions: bool) -> tuple[str, ...]:
    given = request.get("outputs") or []
    allowed = OUTPUTS if contributions else OUTPUTS[:1]
    if not isinstance(given, list) or len(given) > len(OUTPUTS):
        raise DataInvalid(f"outputs is {kind(given)}; write a list of at most {len(OUTPUTS)} objects with a name")
    named = tuple(output.get("name") if isinstance(output, dict) else None for output in given)
    for name in named:
        if name not in allowed:
            raise DataInvalid(f"outputs: there is no output {name!r:.100}; allowed: {', '.join(allowed)}")
    return named


def _tensor(name: str, values: Sequence[Any]) -> dict[str, Any]:
    shape = [len(values)]
    while values and isinstance(values[0], list):
        shape.append(len(values[0]))
        values = list(chain.from_iterable(values))
    return {"name": name, "shape": shape, "datatype": "FP64", "data": values}
