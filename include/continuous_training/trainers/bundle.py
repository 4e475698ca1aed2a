"""What is served: a model with its preparation and golden rows, as a folder of three files.

bundle.json     format, model name, trainer, task, preparation, classes, digests of the other two files
model.txt       LightGBM's text, or model.json: the members of an ensemble, or model.skops: a scikit-learn pipeline
golden.json     a few raw rows and the predictions that training made for them
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from continuous_training.core.digest import canonical
from continuous_training.core.errors import ArtefactCorrupt, DataInvalid, DeploymentFailed
from continuous_training.core.frozen import Frozen
from continuous_training.core.task import Task
from continuous_training.trainers import AnyTrainer, Preparation
from continuous_training.trainers._preparation import column, missing, whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from continuous_training.trainers import Fitted, Model
    from continuous_training.trainers._preparation import Columns

MANIFEST = "bundle.json"
GOLDEN = "golden.json"
MOST_BYTES = 64 * 2**20
"""Largest bundle.json or golden.json that is read."""
BINARY = 2
SCORE_BUCKETS = 20
GOLDEN_ROWS = 20
TOLERANCE = 1e-9
"""Largest difference, absolute or relative, between a golden prediction and the same prediction at serving."""

Prediction = float | list[float]


class Manifest(Frozen):
    """The content of `bundle.json`."""

    format: Literal[1] = 1
    model: str = Field(description="Name of the model, as in its file.")
    trainer: AnyTrainer
    task: Task
    preparation: Preparation
    classes: tuple[bool | int | str, ...] = Field(
        description="Classes in probability order; none in regression and ranking."
    )
    digests: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(
        default_factory=dict, description="Name of each other file to the SHA-256 of its bytes."
    )

    @model_validator(mode="after")
    def _classes_fit_task(self) -> Self:
        fits = len(self.classes) >= BINARY if self.task.kind == "classification" else not self.classes
        if not fits:
            msg = f"a {self.task.kind} cannot have {len(self.classes)} classes"
            raise ValueError(msg)
        return self


class Golden(Frozen):
    """The content of `golden.json`: rows as a client would send them, and what the model must answer."""

    rows: tuple[dict[str, bool | int | float | str | None], ...] = ()
    predictions: tuple[float | tuple[float, ...], ...] = ()

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if len(self.rows) != len(self.predictions):
            msg = f"{len(self.rows)} rows have {len(self.predictions)} predictions"
            raise ValueError(msg)
        return self


Content = TypeVar("Content", Manifest, Golden)


@dataclass(frozen=True)
class Bundle:
    """A loaded model that takes raw columns."""

    manifest: Manifest
    golden: Golden
    estimator: Model

    def predict(self, columns: Columns) -> NDArray[Any]:
        """Return class probabilities (rows, classes), or values (rows,) in regression and ranking.

        Parameters
        ----------
        columns
            As for `Preparation.transform`.
        """
        x = self.manifest.preparation.transform(columns)
        if not len(x):  # scikit-learn refuses a matrix without rows
            return x[:, :1].repeat(len(self.manifest.classes), 1) if self.manifest.classes else x[:, 0]
        return self.estimator.predict(x)

    def answer(self, columns: Columns) -> list[Prediction]:
        """Return one JSON value for each row.

        With two classes it is the probability of the second, with more it is a list with the probability of each, in
        regression the value, in ranking a score: the higher, the further to the front of its group.

        Raises
        ------
        DataInvalid
            As `Preparation.transform`, and when a row is so far from the training rows that its prediction is not a
            finite number.
        """
        predicted = self.predict(columns)
        answers: list[Prediction] = (predicted[:, 1] if len(self.manifest.classes) == BINARY else predicted).tolist()
        _check_finite(answers)
        return answers

    def answer_row(self, row: Mapping[str, Any]) -> Prediction:
        """Return what `answer` does for one row, a value for each column; of LightGBM's models in a fifth of the time."""
        predict_row = getattr(self.estimator, "predict_row", None)
        if predict_row is None:
            return self.answer({name: [value] for name, value in row.items()})[0]
        answer: Prediction = predict_row(self.manifest.preparation.transform_row(row))
        _check_finite([answer])
        return answer

    def contributions(self, columns: Columns) -> NDArray[Any]:
        """Return how much each feature moved each row's raw score, and at the end the score without any feature.

        The shape is (rows, features + 1), with more than two classes (rows, classes, features + 1). The numbers of a row
        add up to its raw score: before the sigmoid, softmax or exponential that makes the prediction of it.

        Raises
        ------
        DataInvalid
            As `Preparation.transform`, and when the model cannot tell.
        """
        explain = getattr(self.estimator, "explain", None)
        if explain is None:
            msg = (
                f"a model of the trainer {self.manifest.trainer.kind} does not tell what moved its predictions; leave out "
                "contributions; a retry gives the same"
            )
            raise DataInvalid(msg)
        told: NDArray[Any] = explain(self.manifest.preparation.transform(columns))
        return told

    def check_golden(self) -> None:
        """Predict the golden rows again.

        Raises
        ------
        DeploymentFailed
            A prediction is not finite, or differs from training by more than 1e-9.
        """
        rows = self.golden.rows
        if not rows:
            msg = f"the bundle of {self.manifest.model} has no golden rows, so it cannot be checked; train again"
            raise DeploymentFailed(msg)
        features = self.manifest.preparation.features.columns
        try:
            found = self.answer({name: [row.get(name) for row in rows] for name in features})
        except Exception as error:  # whatever a library raises here, the model cannot serve
            msg = f"{self.manifest.model} cannot predict its golden rows: {error}; train again; a retry gives the same"
            raise DeploymentFailed(msg) from error
        for number, (seen, expected) in enumerate(zip(found, self.golden.predictions, strict=True)):
            if not _agree(seen, expected):
                msg = (
                    f"golden row {number} of {self.manifest.model}: predicted {seen}, training predicted {expected}; "
                    f"they may differ by {TOLERANCE:g}; serve with the library versions that trained the model, or "
                    "train again; a retry gives the same"
                )
                raise DeploymentFailed(msg)


def make_bundle(manifest: Manifest, fitted: Fitted, rows: Columns) -> dict[str, bytes]:
    """Return the bundle's files by name; the same inputs give the same bytes.

    Parameters
    ----------
    manifest
        Everything but the digests, which are filled in.
    fitted
        What `manifest.trainer` made.
    rows
        Raw rows, as for `Preparation.transform`; up to 20 of them, evenly spaced, become the golden rows.

    Raises
    ------
    DataInvalid
        There are no rows, or the model's prediction for one of them is not finite.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, manifest.trainer.file)
        path.write_bytes(fitted.model)
        estimator = manifest.trainer.load(path)
    picked = _pick(rows, manifest.preparation.features.columns)
    predictions = Bundle(manifest, Golden(), estimator).answer(picked)
    if not predictions:
        msg = f"the bundle of {manifest.model} needs at least one golden row, got none; a retry gives the same"
        raise DataInvalid(msg)
    names = list(picked)
    raw = zip(*picked.values(), strict=True)
    records = [{name: _json_value(value) for name, value in zip(names, row, strict=True)} for row in raw]
    files = {
        manifest.trainer.file: fitted.model,
        GOLDEN: canonical({"rows": records, "predictions": predictions}).encode(),
    }
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    files[MANIFEST] = canonical(manifest.model_copy(update={"digests": digests})).encode()
    for name in (MANIFEST, GOLDEN):
        if len(files[name]) > MOST_BYTES:
            msg = (
                f"{name} would have {len(files[name])} bytes, at most {MOST_BYTES} are read back; raise cleaning.rare "
                "or drop columns with long categories; a retry gives the same"
            )
            raise DataInvalid(msg)
    return files


def golden_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return those of the rows that `make_bundle` would pick."""
    return rows.iloc[_places(len(rows))]


def load_description(folder: Path) -> tuple[Manifest, Golden]:
    """Return what is known of the model in `folder` without loading it.

    Raises
    ------
    ArtefactCorrupt
        A file is missing or has a format this version does not read.
    """
    return _read(folder / MANIFEST, Manifest), _read(folder / GOLDEN, Golden)


def score_bounds(manifest: Manifest, golden: Golden) -> tuple[float, ...]:
    """Return the 19 inner bounds of 20 equal buckets that predictions are counted in.

    For classes they divide 0 to 1, else the range of the golden predictions and a tenth of it on both sides.
    """
    if manifest.classes:
        low, high = 0.0, 1.0
    else:
        known = [score for score in golden.predictions if isinstance(score, float)] or [0.0]
        margin = (max(known) - min(known)) / 10 or 1.0
        low, high = min(known) - margin, max(known) + margin
    return tuple(low + (high - low) * step / SCORE_BUCKETS for step in range(1, SCORE_BUCKETS))


def load_bundle(folder: Path) -> Bundle:
    """Return the model in `folder`, with every file checked.

    Imports numpy and LightGBM, or scikit-learn and skops; LightGBM imports scikit-learn and pandas where they are
    installed, but runs without them.

    Raises
    ------
    ArtefactCorrupt
        A file is missing, was changed, or has a format this version does not read.
    """
    manifest = _read(folder / MANIFEST, Manifest)
    model = manifest.trainer.file
    for name in (model, GOLDEN):
        path = folder / name
        if not path.is_file() or _digest(path) != manifest.digests.get(name):
            msg = f"{name} in {folder} is not what {MANIFEST} names; copy the bundle again; a retry reads the same"
            raise ArtefactCorrupt(msg)
    return Bundle(manifest, _read(folder / GOLDEN, Golden), manifest.trainer.load(folder / model))


def _read(path: Path, kind: type[Content]) -> Content:
    try:
        if path.stat().st_size > MOST_BYTES:
            msg = f"{path.name} in {path.parent} has over {MOST_BYTES} bytes; it is no bundle; a retry reads the same"
            raise ArtefactCorrupt(msg)
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        msg = f"{path.parent} has no {path.name}; it is no bundle or was not copied whole; copy it again"
        raise ArtefactCorrupt(msg) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        msg = (
            f"{path.name} in {path.parent} cannot be read: {place}: {first['msg']}; it was changed, or written by "
            "another version of this package; train again; a retry reads the same"
        )
        raise ArtefactCorrupt(msg) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pick(rows: Columns, names: Sequence[str]) -> dict[str, list[Any]]:
    columns = {name: column(rows, name) for name in names}
    places = _places(len(columns[names[0]]))
    return {name: [getattr(values, "iloc", values)[place] for place in places] for name, values in columns.items()}


def _places(total: int) -> list[int]:
    count = min(total, GOLDEN_ROWS)
    return [number * total // count for number in range(count)]


def _json_value(value: Any) -> bool | int | float | str | None:
    if missing(value):
        return None
    if hasattr(value, "dtype"):
        value = value.item()
    if isinstance(value, Decimal):
        value = int(value) if whole(value) else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    scalar: bool | int | float | str = value
    return scalar


def _check_finite(answers: Sequence[Prediction]) -> None:
    wrong = next((row for row, answer in enumerate(answers) if not _finite(answer)), None)
    if wrong is not None:
        msg = (
            f"row {wrong} has no finite prediction; its numbers lie far outside the training rows; "
            "correct them; a retry gives the same"
        )
        raise DataInvalid(msg)


def _finite(answer: Prediction) -> bool:
    return all(map(math.isfinite, answer)) if isinstance(answer, list) else math.isfinite(answer)


def _agree(seen: Prediction, expected: float | Sequence[float]) -> bool:
    left = seen if isinstance(seen, list) else [seen]
    right = [expected] if isinstance(expected, float) else list(expected)
    return len(left) == len(right) and all(
        math.isfinite(a) and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        for a, b in zip(left, right, strict=True)
    )
