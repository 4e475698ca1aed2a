"""Answer what a model would say of one row if it were another in one column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from continuous_training.core.errors import DataInvalid
from continuous_training.serving.asked import Asked, TooManyRows, kind
from continuous_training.trainers.bundle import BINARY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from continuous_training.deployers.base import Release
    from continuous_training.serving.strict import Strict
    from continuous_training.trainers.bundle import Bundle, Prediction

MAX_VALUES = 1_000
"""Values one request may try."""
MAX_CELLS = 4_000_000
"""Values of rows, tried ones and columns together, that one request may make a model read."""
MOST_CATEGORIES = 200
_ENCODER = msgspec.json.Encoder()


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """A row, values to try, and perhaps a threshold to cross."""

    row: dict[str, Any]
    change: Annotated[dict[str, list[Any]], msgspec.Meta(max_length=MAX_VALUES)] = {}
    threshold: float | None = None


_DECODER = msgspec.json.Decoder(Question)


def answer(release: Release, bundle: Bundle, strict: Strict | None, body: bytes) -> bytes:
    """Return as JSON the prediction of the row, those with each value tried, and the changes that cross the threshold.

    A crossing is looked for in one column at a time, among values that the model knows: the categories it was trained on
    (at most 200), and the numbers in its golden rows, which are training rows. Of the numbers that cross, the nearest to
    the row's is told, of the categories the one whose prediction is nearest to the threshold.

    Raises
    ------
    DataInvalid
        It is no such question, a column is missing or unknown, a value has the wrong type, or the server is strict and
        training never saw it; the message names it.
    TooManyRows
        It would try too many values.
    """
    question = _parse(body)
    names = bundle.manifest.preparation.features.columns
    _check(question, names)
    if strict is not None:
        strict.check(Asked({}, 1, row=question.row, named=[question.row]))
        strict.check(Asked(question.change, len(question.change)))
    prediction = bundle.answer_row(question.row)
    told: dict[str, Any] = {
        "model_name": release.model,
        "model_version": release.version,
        "prediction": prediction,
        "change": _tried(bundle, question.row, question.change, "change"),
    }
    if question.threshold is not None:
        told["crossings"] = _crossings(bundle, question.row, prediction, question.threshold)
    return _ENCODER.encode(told)


def _parse(body: bytes) -> Question:
    try:
        return _DECODER.decode(body)
    except RecursionError as error:
        msg = "the body is nested too deeply; write an object with row and change"
        raise DataInvalid(msg) from error
    except msgspec.ValidationError as error:
        raise DataInvalid(f"the body is no what-if question: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataInvalid(f"the body is not JSON in UTF-8 ({error}); write null for a missing value") from error


def _check(question: Question, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in question.row]
    if missing:
        raise DataInvalid(f"row: missing {', '.join(missing):.200}; write null for a value that is not known")
    if not question.change and question.threshold is None:
        msg = 'there is nothing to answer; write change, an object such as {"wind": [5, 10]}, or threshold'
        raise DataInvalid(msg)
    for name, values in question.change.items():
        if name not in names:
            raise DataInvalid(f"change: {name!r:.100} is no column of the model; allowed: {', '.join(names):.500}")
        if not values:
            raise DataInvalid(f"change: {name} has no values; write a list with at least one")
    count = sum(map(len, question.change.values()))
    if count > MAX_VALUES:
        raise TooManyRows(f"change: holds {count:,} values; try at most {MAX_VALUES:,} at once")


def _tried(
    bundle: Bundle, row: Mapping[str, Any], change: Mapping[str, Sequence[Any]], where: str
) -> dict[str, list[Prediction]]:
    """Return the prediction for each value of each column, while the others stay as in the row."""
    names = bundle.manifest.preparation.features.columns
    count = sum(map(len, change.values()))
    if count * len(names) > MAX_CELLS:
        raise TooManyRows(
            f"{where}: {count:,} values in rows of {len(names):,} columns are too many to try at once; "
            f"at most {MAX_CELLS // len(names):,} are tried"
        )
    columns = {name: [row[name]] * count for name in names}
    place = 0
    for name, values in change.items():
        _check_plain(name, values, where)
        columns[name][place : place + len(values)] = values
        place += len(values)
    try:
        predictions = bundle.answer(columns) if count else []
    except DataInvalid as error:
        raise DataInvalid(f"{where}: {error}") from error
    found, place = {}, 0
    for name, values in change.items():
        found[name] = predictions[place : place + len(values)]
        place += len(values)
    return found


def _check_plain(name: str, values: Sequence[Any], where: str) -> None:
    wrong = next((value for value in values if isinstance(value, list | dict)), None)
    if wrong is not None:
        raise DataInvalid(f"{where}: {name} holds {kind(wrong)}; write a list of plain values")


def _crossings(
    bundle: Bundle, row: Mapping[str, Any], prediction: Prediction, threshold: float
) -> dict[str, dict[str, Any]]:
    if isinstance(prediction, list):
        raise DataInvalid(
            f"threshold: the model tells {len(prediction)} classes apart, and one number cannot say which to cross; "
            f"leave it out; with {BINARY} classes it is a probability of the second"
        )
    known = _known_values(bundle)
    found: dict[str, dict[str, Any]] = {}
    for name, predictions in _tried(bundle, row, known, "threshold").items():
        crossed = [
            (_distance(row[name], value, new, threshold), value, new)
            for value, new in zip(known[name], predictions, strict=True)
            if not isinstance(new, list) and (new >= threshold) != (prediction >= threshold)
        ]
        if crossed:
            _, value, new = min(crossed, key=lambda each: each[0])
            found[name] = {"value": value, "prediction": new}
    return found


def _known_values(bundle: Bundle) -> dict[str, list[Any]]:
    """Return values of each column that were seen in training."""
    preparation = bundle.manifest.preparation
    seen = {name: {row.get(name) for row in bundle.golden.rows} - {None} for name in preparation.features.numeric}
    known: dict[str, list[Any]] = {name: sorted(values, key=float) for name, values in seen.items()}
    return known | {name: list(texts[:MOST_CATEGORIES]) for name, texts in preparation.categories.items()}


def _distance(given: Any, value: Any, prediction: float, threshold: float) -> float:
    numbers = isinstance(value, int | float) and isinstance(given, int | float)
    return abs(value - given) if numbers else abs(prediction - threshold)
