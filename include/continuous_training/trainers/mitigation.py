"""Ways to train with which groups of people are treated more alike; what serves needs no sensitive column."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from continuous_training.core.errors import MissingExtra
from continuous_training.core.frozen import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from continuous_training.trainers.base import Fitted, Trainer, TrainingData


class Mitigation(Frozen):
    """What every kind shares: the column of the groups. The learner gets weights and labels made of it, never the column."""

    kind: str
    by: str = Field(description="One of fairness.sensitive: the column whose values are the groups.")

    classifies: ClassVar[bool] = False
    """Whether it is for classification only."""

    def fit(
        self,
        trainer: Trainer,
        data: TrainingData,
        people: NDArray[np.intp],
        *,
        seed: int,
        trials: int | None = None,
        warm_start: dict[str, Any] | None = None,
    ) -> Fitted:
        """Train as `trainer.fit` does, with the groups of people treated more alike.

        Parameters
        ----------
        people:
            Number of the group of each train row, (rows,), from 0.
        """
        raise NotImplementedError


class Weighing(Mitigation):
    """Weights of the train rows."""

    def weights(self, people: NDArray[np.intp], y: NDArray[Any]) -> NDArray[np.float64]:
        """Return how much each row counts, (rows,); the mean is 1 where each group has each class."""
        raise NotImplementedError

    def fit(
        self,
        trainer: Trainer,
        data: TrainingData,
        people: NDArray[np.intp],
        *,
        seed: int,
        trials: int | None = None,
        warm_start: dict[str, Any] | None = None,
    ) -> Fitted:
        """Train on weighed rows."""
        weighed = replace(data, train_weights=self.weights(people, data.y_train))
        return trainer.fit(weighed, seed=seed, trials=trials, warm_start=warm_start)


class Reweighing(Weighing):
    """Weigh rows so that, among all of them, the label does not depend on the group.

    Each row counts `P(group) P(class) / P(group, class)`, so a class that is rare in a group counts more there. It lowers the
    demographic parity difference. Classification only.

    References
    ----------
    Kamiran, Calders: Data preprocessing techniques for classification without discrimination. Knowledge and Information
    Systems 33, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> Reweighing(by="sex").weights(np.array([0, 0, 0, 1]), np.array([1, 1, 0, 0])).tolist()
    [0.75, 0.75, 1.5, 0.5]
    """

    kind: Literal["reweighing"] = "reweighing"
    classifies = True

    def weights(self, people: NDArray[np.intp], y: NDArray[Any]) -> NDArray[np.float64]:
        """Return the weights of rows of each group and class."""
        import numpy as np

        label = y.astype(np.intp)
        counts = np.zeros((people.max() + 1, label.max() + 1))
        np.add.at(counts, (people, label), 1)
        expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(y)
        found: NDArray[np.float64] = expected[people, label] / counts[people, label]
        return found


class Balanced(Weighing):
    """Weigh rows so that each group counts as much as any other.

    It is what drawing as many rows of each group, with replacement, comes to, without drawing. It raises the quality for
    groups with few rows, at some cost for the others.

    References
    ----------
    Idrissi, Arjovsky, Pezeshki, Lopez-Paz: Simple data balancing achieves competitive worst-group-accuracy. CLeaR 2022.

    Examples
    --------
    >>> import numpy as np
    >>> Balanced(by="sex").weights(np.array([0, 0, 0, 1]), np.array([1, 1, 0, 0])).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """

    kind: Literal["balanced"] = "balanced"

    def weights(self, people: NDArray[np.intp], y: NDArray[Any]) -> NDArray[np.float64]:
        """Return the weights of rows of each group."""
        import numpy as np

        counts = np.bincount(people)
        found: NDArray[np.float64] = len(y) / (np.count_nonzero(counts) * counts[people])
        return found


class Reduction(Mitigation):
    """Train several models with other weights and labels of the rows, and take the best trade of errors for disparity.

    It is fairlearn's grid search over the multipliers of the constraint, for two classes. The parameters are searched first,
    without the constraint. What it takes is one model, which serves like any other. It decides well, but what it gives is not
    the probability of the label any more: judge it by accuracy or f1, not by log_loss, and estimate nothing from it. It
    needs the extra `fairness`, and trains `models` times as long.

    References
    ----------
    Agarwal, Beygelzimer, Dudik, Langford, Wallach: A Reductions Approach to Fair Classification. ICML 2018, section 3.4.
    """

    kind: Literal["reduction"] = "reduction"
    classifies = True
    constraint: Literal["demographic_parity", "equalised_odds"] = Field(
        "demographic_parity", description="Which difference between groups is to be small."
    )
    models: int = Field(10, ge=2, le=200, description="Models that are trained, and one of them taken.")
    weight: float = Field(
        0.5, ge=0, le=1, description="How much the disparity counts in the choice; the errors count the rest."
    )

    def fit(
        self,
        trainer: Trainer,
        data: TrainingData,
        people: NDArray[np.intp],
        *,
        seed: int,
        trials: int | None = None,
        warm_start: dict[str, Any] | None = None,
    ) -> Fitted:
        """Search parameters as without it, then train with each multiplier of the grid.

        Raises
        ------
        MissingExtra
            fairlearn is not installed.
        DataInvalid
            There are not two classes, or there is only one group.
        """
        try:
            from continuous_training.trainers import _reduction
        except ImportError as error:
            msg = (
                "trainer.mitigation: reduction needs fairlearn; install the extra: "
                "pip install 'airflow-provider-continuous-training[fairness]'; a retry gives the same"
            )
            raise MissingExtra(msg) from error
        found = trainer.fit(data, seed=seed, trials=trials, warm_start=warm_start)
        model = _reduction.fit(self, trainer.settled(found.parameters), data, people, seed=seed)
        return replace(found, model=model)


AnyMitigation = Annotated[Balanced | Reduction | Reweighing, Field(discriminator="kind")]
