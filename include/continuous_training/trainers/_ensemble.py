"""Weighing, translating and voting of the members of an ensemble."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from continuous_training.core.digest import canonical
from continuous_training.core.errors import ArtefactCorrupt, UsageError
from continuous_training.core.frozen import Frozen
from continuous_training.trainers import _lightgbm
from continuous_training.trainers.base import Fitted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from continuous_training.trainers.base import Model, TrainingData
    from continuous_training.trainers.ensemble import Ensemble


class Columns(Frozen):
    """The columns of a matrix, in their order, and what the codes of its categorical ones stand for."""

    names: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]


class Member(Frozen):
    """One model of LightGBM as its text, the columns it was fitted on, and its share of the vote."""

    weight: float = Field(ge=0, le=1)
    columns: Columns
    model: str


class Content(Frozen):
    """The content of `model.json`: members from the newest to the oldest, and the columns they are asked with."""

    format: Literal[1] = 1
    columns: Columns
    members: tuple[Member, ...] = Field(min_length=1)


def fit(
    trainer: Ensemble, data: TrainingData, *, seed: int, trials: int | None, warm_start: dict[str, Any] | None
) -> Fitted:
    """Return the champion's members that are worth keeping with a new one before them."""
    columns = Columns(names=data.names, categories=dict(data.categories))
    champion = _champion(data)
    taught = _newest(data, trainer.newest) if champion else data
    made = _lightgbm.fit(trainer, taught, seed=seed, trials=trials, warm_start=warm_start)
    members = [Member(weight=1.0, columns=columns, model=made.model.decode())]
    if champion:
        members = _weighed([*members, *champion.members], columns, data)
        worth = sorted(range(1, len(members)), key=lambda place: -members[place].weight)[: trainer.members - 1]
        members = [members[place] for place in (0, *sorted(worth))]
    whole = sum(member.weight for member in members)
    shares = (member.model_copy(update={"weight": member.weight / whole}) for member in members)
    return replace(made, model=canonical(Content(columns=columns, members=tuple(shares))).encode())


def load(path: Path) -> Model:
    """Return the ensemble in `path`; verify its digest first."""
    return _Vote(_read(path))


class _Vote:
    def __init__(self, content: Content) -> None:
        self._parts = [
            (member.weight, _View(member.columns, content.columns), _booster(member))
            for member in content.members
            if member.weight
        ]

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return probabilities (rows, classes) or values (rows,)."""
        (weight, view, booster), *others = self._parts
        predicted = weight * booster.predict(view(x))
        for weight, view, booster in others:
            predicted += weight * booster.predict(view(x))
        return predicted


class _View:
    """Shows a matrix with one set of columns to a member that was fitted on another."""

    def __init__(self, own: Columns, given: Columns) -> None:
        self._same = own == given
        self._sources = [_source(name, own, given) for name in own.names]

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        if self._same:
            return x
        seen = np.full((len(x), len(self._sources)), np.nan, order="F")
        for place, (source, table) in enumerate(self._sources):
            if source is not None:
                seen[:, place] = x[:, source] if table is None else _translated(x[:, source], table)
        return seen


def _source(name: str, own: Columns, given: Columns) -> tuple[int | None, NDArray[np.float64] | None]:
    """Return where a member finds a column, nowhere when it left or changed its type, and its own code for each code."""
    if name not in given.names or (name in own.categories) != (name in given.categories):
        return None, None
    place = given.names.index(name)
    if name not in own.categories:
        return place, None
    known = {text: float(code) for code, text in enumerate(own.categories[name])}
    unseen = float(len(known))
    # The last two stand for what was not seen when the codes were given, and, at place -1, for what is missing.
    return place, np.array([*(known.get(text, unseen) for text in given.categories[name]), unseen, np.nan])


def _translated(codes: NDArray[Any], table: NDArray[np.float64]) -> NDArray[np.float64]:
    missing = np.isnan(codes)
    places = np.minimum(np.where(missing, 0, codes), len(table) - 2).astype(np.intp)
    places[missing] = -1
    found: NDArray[np.float64] = table[places]
    return found


def _champion(data: TrainingData) -> Content | None:
    if data.champion is None or not len(data.y_tune):
        return None
    if set(data.categories) != {data.names[place] for place in data.categorical}:
        msg = (
            "a champion's members can only be asked when TrainingData.categories says what the codes of each categorical "
            "column stand for; give the preparation's categories, or no champion; a retry gives the same"
        )
        raise UsageError(msg)
    return _read(data.champion)


def _newest(data: TrainingData, share: float) -> TrainingData:
    """Return the data with the newest train rows only, or with as many more as it takes to see every class."""
    first = int(len(data.y_train) * (1 - share))
    if data.classes:
        backwards = np.asarray(data.y_train)[::-1]
        first = min(first, len(backwards) - 1 - int(np.unique(backwards, return_index=True)[1].max()))
    weights = None if data.train_weights is None else data.train_weights[first:]
    return replace(data, x_train=data.x_train[first:], y_train=data.y_train[first:], train_weights=weights)


def _weighed(members: Sequence[Member], columns: Columns, data: TrainingData) -> list[Member]:
    """Return the members with their weights by the tune rows; the first is the new one."""
    ignorant = _ignorance(data)
    if not ignorant:  # all tune rows have the same label: nobody can be told from a guess
        return [member.model_copy(update={"weight": float(place == 0)}) for place, member in enumerate(members)]
    errors = [0.0, *(_error(member, columns, data) for member in members[1:])]
    # The new member may weigh at most 1, so that a file can state what a weight is.
    weights = [ignorant / (ignorant + error) if error < ignorant else 0.0 for error in errors]
    return [member.model_copy(update={"weight": weight}) for member, weight in zip(members, weights, strict=True)]


def _ignorance(data: TrainingData) -> float:
    """Return the mean squared error of answering every tune row with the class frequencies, or the mean."""
    if not data.classes:
        return float(np.var(data.y_tune))
    shares = np.bincount(data.y_tune.astype(np.intp), minlength=data.classes) / len(data.y_tune)
    return float(np.sum(shares * (1 - shares) ** 2))


def _error(member: Member, columns: Columns, data: TrainingData) -> float:
    """Return the mean squared error of a member on the tune rows: for classes, of the probability of the true one."""
    predicted = _booster(member).predict(_View(member.columns, columns)(data.x_tune))
    if not data.classes:
        return float(np.mean((predicted - data.y_tune) ** 2))
    true = predicted[np.arange(len(predicted)), data.y_tune.astype(np.intp)]
    return float(np.mean((1 - true) ** 2))


def _booster(member: Member) -> Model:
    return _lightgbm.parse(member.model.encode(), "a member of model.json")


def _read(path: Path) -> Content:
    try:
        return Content.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        msg = f"{path.name} is not a model: {place}: {first['msg']}; train again; a retry reads the same bytes"
        raise ArtefactCorrupt(msg) from error
