"""What every trainer can do, and what it makes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from pydantic import Field

from continuous_training.core.duration import Duration
from continuous_training.core.errors import DataInvalid
from continuous_training.core.frozen import Frozen
from continuous_training.core.task import TaskKind
from continuous_training.trainers.mitigation import AnyMitigation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray


class Tuning(Frozen):
    """How long to search for better parameters."""

    trials: int = Field(
        0,
        ge=0,
        le=1000,
        description="Parameter sets to try on the tune rows; 0 trains once. The first is `parameters`, the second the "
        "champion's, the others are searched.",
    )
    time: Duration | None = Field(
        None, description="Stop starting new trials after this long; makes results depend on the machine."
    )


@dataclass(frozen=True)
class TrainingData:
    """Prepared rows: `x_*` are float64 matrices (rows, features); categories are codes, missing is NaN.

    `y_*` are float64: class numbers `0..k-1` for classification, values for regression, relevances for ranking. Every
    class must have a training row, so learn the classes from the training rows. Tune rows may be absent when nothing is
    tuned.

    Raises
    ------
    DataInvalid
        There is no training row, a label is unknown, or a class has no training row.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_tune: NDArray[Any]
    y_tune: NDArray[Any]
    names: tuple[str, ...]
    categorical: tuple[int, ...]
    classes: int
    """Number of classes; 0 for regression and ranking."""
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Categorical column to its categories in the order of their codes, for a trainer that keeps what it made before."""
    champion: Path | None = None
    """Checked model file of a champion made by the same kind of trainer for the same label and classes, if any."""
    train_groups: NDArray[Any] | None = None
    """Ranking only: rows of each group, (groups,); the rows of a group stand together."""
    tune_groups: NDArray[Any] | None = None
    train_weights: NDArray[Any] | None = None
    """How much each train row counts, (rows,); the same without."""

    def __post_init__(self) -> None:
        if not len(self.y_train):
            msg = "there are no training rows with a known label; use a longer reference window; a retry gives the same"
            raise DataInvalid(msg)
        if (self.y_train != self.y_train).any() or (self.y_tune != self.y_tune).any():
            msg = "some train or tune rows have no label (NaN); leave them out; a retry gives the same"
            raise DataInvalid(msg)
        absent = [number for number in range(self.classes) if not (self.y_train == number).any()]
        if absent:
            msg = (
                f"{len(absent)} of {self.classes} classes have no training row (class number {absent[0]} is one); "
                "use a longer reference window; a retry gives the same"
            )
            raise DataInvalid(msg)


@dataclass(frozen=True)
class Fitted:
    """A trained model as bytes, and how it came to be."""

    model: bytes
    parameters: dict[str, Any]
    trials: list[dict[str, Any]] = field(default_factory=list)


class Model(Protocol):
    """A loaded model."""

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return class probabilities (rows, classes) or values (rows,) for a prepared matrix (rows, features)."""
        ...


class Trainer(Frozen):
    """A learner with its parameters and its search."""

    file: ClassVar[Literal["model.txt", "model.json", "model.skops"]]
    """Name of the file in a bundle that holds the model's bytes."""

    learns: ClassVar[tuple[TaskKind, ...]] = ("classification", "regression")
    """Kinds of task this trainer can learn."""

    refits: ClassVar[bool] = True
    """Whether a challenger is fitted again on more rows once its parameters are known."""

    parameters: dict[str, int | float | str | bool | None] = Field(
        default_factory=dict, description="Parameters of the learner, under its own names."
    )
    tuning: Tuning = Field(default_factory=Tuning, description="Search for better parameters.")
    mitigation: AnyMitigation | None = Field(
        None, description="Way to train with which the groups of a sensitive column are treated more alike."
    )
    threads: int = Field(
        2, ge=1, le=256, description="Threads for training; another number may give slightly different models."
    )

    def check(self, kind: TaskKind) -> None:
        """Raise `ValueError` when these settings cannot learn that kind of task."""
        if kind not in self.learns:
            instead = "use kind: ranking" if kind == "ranking" else f"write task: {{kind: {self.learns[0]}}} for it"
            msg = f"trainer.kind: {type(self).model_fields['kind'].default} does not learn {kind}; {instead}"
            raise ValueError(msg)
        if self.mitigation is not None and self.mitigation.classifies and kind != "classification":
            msg = f"trainer.mitigation: {self.mitigation.kind} is for classification, not for {kind}; use kind: balanced, or remove it"
            raise ValueError(msg)

    @contextmanager
    def ready(self, locations: Mapping[str, str]) -> Iterator[Self]:  # noqa: ARG002 - for trainers that need a cluster
        """Give the trainer with whatever several trainings share; it ends with them.

        Parameters
        ----------
        locations
            What `{name}` in a trainer stands for.
        """
        yield self

    def settled(self, parameters: dict[str, Any]) -> Self:
        """Return the trainer that fits once, in the way that led to these `Fitted.parameters`."""
        return self.model_copy(update={"parameters": parameters, "tuning": Tuning()})

    def fit(
        self, data: TrainingData, *, seed: int, trials: int | None = None, warm_start: dict[str, Any] | None = None
    ) -> Fitted:
        """Train on the train rows, choose parameters on the tune rows; same inputs give the same bytes.

        Parameters
        ----------
        seed
            Start of every random number.
        trials
            Instead of `tuning.trials`.
        warm_start
            `Fitted.parameters` of the champion; what cannot be used of it is ignored.

        Raises
        ------
        SpecError
            The learner refuses the parameters, or they do not fit the task.
        DataInvalid
            Parameters are to be tuned and there are no tune rows.
        """
        raise NotImplementedError

    def load(self, path: Path) -> Model:
        """Return the model whose bytes `fit` made, without unpickling anything.

        Raises
        ------
        ArtefactCorrupt
            The file is not such a model.
        """
        raise NotImplementedError
