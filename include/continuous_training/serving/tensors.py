"""The Open Inference Protocol's request and answer (version 2, JSON): each column is an input tensor with its name.

Source: https://github.com/kserve/open-inference-protocol, `specification/protocol/inference_rest.md`. Beyond it, `null` in
the data is a missing value.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from continuous_training.core.errors import DataInvalid
from continuous_training.serving.asked import NOTHING_MORE, Asked, Wanted, check_rows, kind, wanted
from continuous_training.trainers.bundle import BINARY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from continuous_training.deployers.base import Release
    from continuous_training.serving.asked import Why
    from continuous_training.trainers.bundle import Manifest, Prediction

OUTPUTS = ("predictions", "contributions", "base", "reasons")
_INTEGERS = {f"{sign}INT{bits}": (sign, bits) for sign in ("", "U") for bits in (8, 16, 32, 64)}
_RANGES = {
    name: (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for name, (sign, bits) in _INTEGERS.items()
}
_MISSING = type(None)
DATATYPES: dict[str, frozenset[type]] = {
    "BOOL": frozenset((bool, _MISSING)),
    **dict.fromkeys(_INTEGERS, frozenset((int, _MISSING))),
    **dict.fromkeys(("FP16", "FP32", "FP64", "BF16"), frozenset((float, int, _MISSING))),
    "BYTES": frozenset((str, _MISSING)),
}
_ENCODER = msgspec.json.Encoder()


class Tensor(msgspec.Struct):
    """A column."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class Output(msgspec.Struct):
    """An output that is asked for."""

    name: str


class Inference(msgspec.Struct):
    """A request; what else it holds is not read."""

    inputs: Annotated[list[Tensor], msgspec.Meta(max_length=100_000)]
    id: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    parameters: dict[str, Any] | None = None
    outputs: Annotated[list[Output], msgspec.Meta(max_length=len(OUTPUTS))] = []


_DECODER = msgspec.json.Decoder(Inference)


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
    Asked(given={'a': [1.5, None]}, rows=2, contributions=False, id='7', outputs=(), row=None, named=[['a']], reasons=False)
    """
    request = _parse(body)
    more = NOTHING_MORE if request.parameters is None else wanted(request.parameters, "parameters")
    columns = _columns(request.inputs, names)
    rows = len(columns[names[0]])
    for name, values in columns.items():
        if len(values) != rows:
            raise DataInvalid(f"inputs: {name} has {len(values)} rows and {names[0]} has {rows}; give each the same")
    check_rows(rows)
    outputs = _outputs(request, more)
    named = [[tensor.name for tensor in request.inputs]]
    if rows == 1:
        row = {name: values[0] for name, values in columns.items()}
        return Asked({}, 1, more.contributions, request.id, outputs, row, named, more.reasons)
    return Asked(columns, rows, more.contributions, request.id, outputs, named=named, reasons=more.reasons)


def write_answer(release: Release, asked: Asked, predictions: Sequence[Prediction], why: Why | None = None) -> bytes:
    """Return the answer as JSON, with its numbers in one list row by row."""
    outputs = [_tensor("predictions", predictions)]
    if why and why.contributions:
        outputs += [_tensor("contributions", why.contributions.data), _tensor("base", why.contributions.base)]
    if why and why.reasons:
        outputs.append(_tensor("reasons", why.reasons) | {"datatype": "BYTES"})
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


def _parse(body: bytes) -> Inference:
    try:
        return _DECODER.decode(body)
    except RecursionError as error:
        msg = "the body is nested too deeply; write an object with inputs, a list of tensors"
        raise DataInvalid(msg) from error
    except msgspec.ValidationError as error:
        raise DataInvalid(f"the body is no inference request: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataInvalid(f"the body is not JSON in UTF-8 ({error}); write null for a missing value") from error


def _columns(inputs: list[Tensor], names: Sequence[str]) -> dict[str, list[Any]]:
    given = {tensor.name: tensor for tensor in inputs}
    if len(given) != len(inputs):
        counts = Counter(tensor.name for tensor in inputs)
        twice = next(name for name in counts if counts[name] > 1)
        raise DataInvalid(f"inputs: {twice:.100} is given more than once; give each column once")
    missing = [name for name in names if name not in given]
    if missing:
        raise DataInvalid(f"inputs: missing {', '.join(missing)}; write null for a value that is not known")
    return {name: _values(given[name]) for name in names}


def _values(tensor: Tensor) -> list[Any]:
    name, datatype, data = tensor.name, tensor.datatype, tensor.data
    types = DATATYPES.get(datatype)
    if types is None:
        raise DataInvalid(f"inputs: {name} has the datatype {datatype!r:.100}; allowed: {', '.join(DATATYPES)}")
    if data and type(data[0]) is list:  # shape [rows, 1], not flattened
        data = [row[0] if type(row) is list and len(row) == 1 else row for row in data]
    if tensor.shape not in ([len(data)], [len(data), 1]):
        raise DataInvalid(
            f"inputs: {name} has the shape {tensor.shape!r:.100} and {len(data)} values; write [{len(data)}]"
        )
    if not types.issuperset(map(type, data)):
        row = next(row for row, value in enumerate(data) if type(value) not in types)
        raise DataInvalid(
            f"inputs: {name} holds {kind(data[row])} in row {row}, which is no {datatype}; correct one of them"
        )
    if datatype in _RANGES:
        low, high = _RANGES[datatype]
        row = next((row for row, value in enumerate(data) if value is not None and not low <= value <= high), -1)
        if row >= 0:
            raise DataInvalid(f"inputs: {name} holds a number in row {row} that {datatype} cannot; correct one of them")
    return data


def _outputs(request: Inference, more: Wanted) -> tuple[str, ...]:
    asked_for = {
        "predictions": True,
        "contributions": more.contributions,
        "base": more.contributions,
        "reasons": more.reasons,
    }
    allowed = [name for name, given in asked_for.items() if given]
    named = tuple(output.name for output in request.outputs)
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
