"""What a server takes and answers, as an OpenAPI document: for clients that are generated, and for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from continuous_training import __version__
from continuous_training.serving.arrow import MEDIA_TYPE
from continuous_training.serving.tensors import DATATYPES, OUTPUTS, metadata

if TYPE_CHECKING:
    from continuous_training.deployers.base import Release
    from continuous_training.trainers.bundle import Manifest

Node = dict[str, Any]
_NUMBER, _TEXT, _FLAG = {"type": "number"}, {"type": "string"}, {"type": "boolean"}
_ASKED = {
    "type": "object",
    "properties": {"contributions": _FLAG, "reasons": _FLAG},
    "additionalProperties": False,
}
_PREDICTION = {"anyOf": [_NUMBER, {"type": "array", "items": _NUMBER}]}


def document(release: Release, manifest: Manifest) -> Node:
    """Return the document of the server of one release."""
    model = f"/v2/models/{release.model}"
    paths: Node = {
        "/invocations": {"post": _invocations(manifest)},
        "/ping": {"get": _get("Whether it listens.")},
        "/version": {"get": _get("What answers: model, version, fence, digest of the bundle.")},
        "/v2": {"get": _get("What kind of server it is.")},
        "/v2/health/live": {"get": _get("Whether it listens.")},
        "/v2/health/ready": {"get": _get("Whether it answers as in training and is not about to end.", 503)},
    }
    for path in (model, f"{model}/versions/{release.version}"):
        paths[path] = {"get": _get("Inputs and outputs of the model.")}
        paths[f"{path}/ready"] = {"get": _get("Whether the model answers.", 503)}
        paths[f"{path}/infer"] = {"post": _inference(release, manifest)}
        paths[f"{path}/what-if"] = {"post": _what_if(manifest)}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Model server of {release.model}", "version": __version__},
        "paths": paths,
    }


def _object(required: tuple[str, ...], **properties: Node) -> Node:
    return {"type": "object", "required": list(required), "properties": properties}


def _array(items: Node) -> Node:
    return {"type": "array", "items": items}


def _column(manifest: Manifest, name: str) -> Node:
    kinds = ["number", "boolean", "null"]
    return {"type": [*kinds, "string"] if name in manifest.preparation.features.categorical else kinds}


def _invocations(manifest: Manifest) -> Node:
    columns = {name: _column(manifest, name) for name in manifest.preparation.features.columns}
    row = _object(tuple(columns), **columns)
    values = {
        "type": "array",
        "prefixItems": list(columns.values()),
        "minItems": len(columns),
        "maxItems": len(columns),
    }
    split = _object(("columns", "data"), columns={"const": list(columns)}, data=_array(values))
    by_column = _object(tuple(columns), **{name: _array(column) for name, column in columns.items()})
    forms = {
        "dataframe_split": split,
        "dataframe_records": _array(row),
        "inputs": {"anyOf": [by_column, _array(row), _array(values)]},
        "instances": {"anyOf": [_array(row), _array(values)]},
    }
    schema = {
        "oneOf": [
            {**_object((name,), **{name: form, "params": _ASKED}), "additionalProperties": False}
            for name, form in forms.items()
        ]
    }
    explained = _object(("columns", "data", "base"), columns=_array(_TEXT), data=_array({}), base=_array({}))
    answer = _object(("predictions",), predictions=_array(_PREDICTION), contributions=explained, reasons=_array(_TEXT))
    stream = {MEDIA_TYPE.decode(): {"schema": {"type": "string", "format": "binary"}}}
    refused = _object(("error_code", "message"), error_code=_TEXT, message=_TEXT)
    return {
        "summary": "Predict rows, in MLflow's form or as a stream of Arrow's IPC format.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}, **stream}},
        "responses": _responses(answer, refused, stream),
    }


def _inference(release: Release, manifest: Manifest) -> Node:
    inputs = metadata(release, manifest)["inputs"]
    tensor = _object(
        ("name", "shape", "datatype", "data"),
        name={"enum": [told["name"] for told in inputs]},
        shape=_array({"type": "integer", "minimum": 0}),
        datatype={"enum": list(DATATYPES)},
        data=_array({"type": ["number", "string", "boolean", "null"]}),
    )
    schema = _object(
        ("inputs",),
        id={"type": "string", "maxLength": 256},
        parameters=_ASKED,
        inputs={**_array(tensor), "minItems": len(inputs), "maxItems": len(inputs)},
        outputs=_array(_object(("name",), name={"enum": list(OUTPUTS)})),
    )
    output = _object(
        ("name", "shape", "datatype", "data"),
        name={"enum": list(OUTPUTS)},
        shape=_array({"type": "integer"}),
        datatype={"enum": ["FP64", "BYTES"]},
        data=_array({"type": ["number", "string"]}),
    )
    answer = _object(
        ("model_name", "model_version", "outputs"),
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        outputs=_array(output),
    )
    return {
        "summary": "Predict rows, each column as a tensor of the Open Inference Protocol.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": _responses(answer, _object(("error",), error=_TEXT), {}),
    }


def _what_if(manifest: Manifest) -> Node:
    columns = {name: _column(manifest, name) for name in manifest.preparation.features.columns}
    tried = {name: {**_array(column), "minItems": 1} for name, column in columns.items()}
    schema = {
        **_object(
            ("row",),
            row=_object(tuple(columns), **columns),
            change={**_object((), **tried), "minProperties": 1, "additionalProperties": False},
            threshold={"type": ["number", "null"]},
        ),
        "additionalProperties": False,
        "anyOf": [{"required": ["change"]}, {"required": ["threshold"], "properties": {"threshold": _NUMBER}}],
    }
    crossing = _object(("value", "prediction"), value={"type": ["number", "boolean", "string"]}, prediction=_NUMBER)
    answer = _object(
        ("model_name", "model_version", "prediction", "change"),
        model_name=_TEXT,
        model_version=_TEXT,
        prediction=_PREDICTION,
        change={"type": "object", "additionalProperties": _array(_PREDICTION)},
        crossings={"type": "object", "additionalProperties": crossing},
    )
    return {
        "summary": "Predict one row with other values in one column at a time, and find which of them cross a threshold.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": _responses(answer, _object(("error",), error=_TEXT), {}),
    }


def _responses(answer: Node, refused: Node, stream: Node) -> Node:
    why = {
        400: "The rows cannot be used; the message names the column and the row.",
        413: "Too many bytes or rows at once.",
        415: "Another content type, or a compressed body.",
        503: "The model is too old, or there is too much to do: try again after `retry-after`.",
    }
    return {
        "200": {"description": "Predictions.", "content": {"application/json": {"schema": answer}, **stream}},
        **{
            str(status): {"description": text, "content": {"application/json": {"schema": refused}}}
            for status, text in why.items()
        },
    }


def _get(summary: str, *others: int) -> Node:
    answer = {"content": {"application/json": {"schema": {"type": "object"}}}}
    responses = {str(status): {"description": HEADERS, **answer} for status in (200, 400, *others)}
    return {"summary": summary, "responses": responses}


HEADERS = "Every answer has the headers ct-version, ct-fence and ct-request-id."
