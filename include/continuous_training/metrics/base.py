"""What every metric can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from continuous_training.core.frozen import Frozen

if TYPE_CHECKING:
    from continuous_training._performance import Flags, Floats, Statistic, Truth
    from continuous_training.core.task import TaskKind


class Metric(Frozen):
    """How good predictions are, as one number. Intervals and comparisons are made of it elsewhere."""

    name: str

    @property
    def task_kind(self) -> TaskKind:
        """Return the kind of task whose predictions can be measured."""
        raise NotImplementedError

    @property
    def greater_is_better(self) -> bool:
        """Tell whether of two values the greater is the better one."""
        raise NotImplementedError

    def statistic(self, truth: Truth, prediction: Floats) -> Statistic:
        """Return the metric of these rows as a function of how often each counts; NaN where it is not defined.

        Parameters
        ----------
        truth:
            Rows with a known label, in order of event time.
        prediction:
            Class probabilities (rows, classes), or values or ranking scores (rows,).
        """
        raise NotImplementedError

    def undefined(self, prediction: Floats) -> str:
        """Return why there is no value although every prediction is a finite number; `{rows}` stands for their number."""
        raise NotImplementedError


class Declared(Metric):
    """A metric that a model file declares under a name of its own."""

    kind: str
    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        max_length=63,
        description="Name that promotion and performance rules call it by; none that a built-in metric has.",
    )

    fits: ClassVar[TaskKind]
    greater: ClassVar[bool]

    @property
    def task_kind(self) -> TaskKind:
        """Return the kind of task whose predictions can be measured."""
        return self.fits

    @property
    def greater_is_better(self) -> bool:
        """Tell whether of two values the greater is the better one."""
        return self.greater


class OfTwoClasses(Declared):
    """A metric of decisions between two classes; the second of them, in sorted order, is the positive one."""

    fits = "classification"
    unknown: ClassVar[str] = "not a finite number in {rows} rows"

    def statistic(self, truth: Truth, prediction: Floats) -> Statistic:
        """Return the metric as a function of weights; NaN whatever they are when there are not two classes."""
        if prediction.shape[1] != 2:  # noqa: PLR2004
            return lambda _: float("nan")
        return self.of_scores(truth.y == 1, prediction[:, 1])

    def of_scores(self, positive: Flags, score: Floats) -> Statistic:
        """Return the metric of rows that are positive or not, (rows,), by the probability that they are, (rows,)."""
        raise NotImplementedError

    def undefined(self, prediction: Floats) -> str:
        """Return why there is no value."""
        classes = prediction.shape[1]
        return self.unknown if classes == 2 else f"{self.kind} is for two classes and there are {classes}"  # noqa: PLR2004


class OfValues(Declared):
    """A metric of the errors of values, the mean over the rows."""

    fits = "regression"

    def statistic(self, truth: Truth, prediction: Floats) -> Statistic:
        """Return the mean as a function of weights."""
        from continuous_training import _performance

        return _performance.mean(self.of_errors(truth.y - prediction))

    def of_errors(self, error: Floats) -> Floats:
        """Return what each row counts by its error, label minus prediction, (rows,)."""
        raise NotImplementedError

    def undefined(self, prediction: Floats) -> str:  # noqa: ARG002
        """Return why there is no value."""
        return "not a finite number in {rows} rows"
