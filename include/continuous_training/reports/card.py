"""The model card: what a retraining made, on what, how good it is, and what nobody knows about it."""

from typing import Any, Literal

from pydantic import Field

from continuous_training.core.comparison import Comparison
from continuous_training.core.decisions import GateVerdict, RetrainingReason
from continuous_training.core.frozen import Frozen
from continuous_training.core.run import ChampionRef
from continuous_training.core.task import Features, Task
from continuous_training.core.window import Moment, Window

MOST_FEATURES = 20
"""Features that an importance names, the most important ones."""


class Rows(Frozen):
    """How many rows there were, and what was done with them."""

    read: int = Field(ge=0)
    labelled: int = Field(ge=0)
    quarantined: int = Field(0, ge=0, description="Rows of broken windows that were left out.")
    train: int = Field(ge=0)
    tune: int = Field(ge=0)
    hold_out: int = Field(ge=0)
    hold_out_from: Moment


class Series(Frozen):
    """One line of a figure, with its band where there is one."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None


class Mark(Frozen):
    """A place on the horizontal axis of a figure that means something."""

    x: float
    text: str


class Figure(Frozen):
    """Numbers to draw, and what they say in words."""

    name: str = Field(pattern=r"^[a-z_]+$")
    title: str
    text: str = Field(description="How to read it.")
    x_label: str
    y_label: str
    style: Literal["line", "points", "bars"] = "line"
    series: tuple[Series, ...]
    ticks: tuple[str, ...] | None = Field(None, description="Names of the places 0, 1, ... of bars.")
    unit: bool = Field(default=False, description="Whether both axes go from 0 to 1.")
    diagonal: str = Field("", description="What the line from corner to corner means; empty draws none.")
    marks: tuple[Mark, ...] = ()


class Importance(Frozen):
    """How much a feature moves the predictions of some rows."""

    feature: str
    share: float = Field(ge=0, le=1, description="Of what all features move them.")
    champion: float | None = Field(None, ge=0, le=1, description="The same of the champion on the same rows.")


class SliceImportance(Frozen):
    """The most important features on the rows where `column` has `value`."""

    column: str
    value: str
    rows: int = Field(ge=0)
    features: tuple[Importance, ...]


class Interaction(Frozen):
    """By how much two features together move predictions otherwise than each by itself."""

    features: tuple[str, str]
    strength: float = Field(ge=0, description="In units of the raw score.")
    share: float | None = Field(None, ge=0, le=1, description="Of what the two move together: Friedman's H squared.")


class Explanation(Frozen):
    """Which features the predictions come from."""

    method: str
    rows: int = Field(ge=0, description="Hold-out rows that were explained, evenly spaced.")
    features: tuple[Importance, ...] = Field(max_length=MOST_FEATURES)
    others: int = Field(0, ge=0, description="Features that are not named, each less important than those that are.")
    slices: tuple[SliceImportance, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    shift: float | None = Field(
        None, ge=0, le=1, description="Share of the importance that lies on other features than the champion's."
    )


class Change(Frozen):
    """One thing in which the challenger was made otherwise than the champion."""

    what: str
    before: str
    after: str


class Lineage(Frozen):
    """What the challenger can be made from again."""

    run_key: str
    spec: str = Field(description="Digest of the model file.")
    rows: str = Field(description="Digest of the rows.")
    bundle: str = Field(description="Digest of what would serve.")
    judged: str = Field(description="Digest of what was judged.")
    seed: int
    libraries: tuple[str, ...]


class Licence(Frozen):
    """The licence of a library that the model needs, as the library's own metadata names it."""

    library: str
    licence: str


class LeftOut(Frozen):
    """A part of a card that there is not, and why."""

    part: str
    why: str


class ModelCard(Frozen):
    """What there is to know of one challenger, as its evaluation saw it.

    Source: Mitchell et al., "Model cards for model reporting", FAT* 2019.
    """

    format: Literal[1] = 1
    model: str
    description: str = ""
    task: Task
    features: Features
    classes: tuple[bool | int | str, ...] = ()
    trainer: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    reason: RetrainingReason | None = None
    as_of: Moment
    window: Window
    rows: Rows
    champion: ChampionRef | None = None
    comparison: Comparison
    verdict: GateVerdict
    figures: tuple[Figure, ...] = ()
    confusion: tuple[tuple[int, ...], ...] | None = Field(
        None, description="Rows by true class and by the most probable one, both in the order of `classes`."
    )
    explanation: Explanation | None = None
    changes: tuple[Change, ...] = ()
    lineage: Lineage
    licences: tuple[Licence, ...] = ()
    limits: tuple[str, ...] = Field((), description="What was not measured, and what the numbers do not say.")
    left_out: tuple[LeftOut, ...] = ()
