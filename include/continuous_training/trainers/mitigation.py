"""Weights for the training rows with which groups of people are learned alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from continuous_training.core.frozen import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Mitigation(Frozen):
    """What every kind shares: the column of the groups. Only weights made of it reach the learner."""

    kind: str
    by: str = Field(description="One of fairness.sensitive: the column whose values are the groups.")

    def weights(self, groups: NDArray[np.intp], y: NDArray[Any]) -> NDArray[np.float64]:
        """Return how much each training row counts; the mean is 1.

        Parameters
        ----------
        groups:
            Number of each row's group, (rows,), from 0.
        y:
            Class number or value of each row, (rows,).
        """
        raise NotImplementedError


class Reweighing(Mitigation):
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

    def weights(self, groups: NDArray[np.intp], y: NDArray[Any]) -> NDArray[np.float64]:
        """Return the weights of rows of each group and class."""
        import numpy as np

        label = y.astype(np.intp)
        counts = np.zeros((groups.max() + 1, label.max() + 1))
        np.add.at(counts, (groups, label), 1)
        expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(y)
        found: NDArray[np.float64] = expected[groups, label] / counts[groups, label]
        return found


class Balanced(Mitigation):
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

    def weights(self, groups: NDArray[np.intp], y: NDArray[Any]) -> NDArray[np.float64]:
        """Return the weights of rows of each group."""
        import numpy as np

        counts = np.bincount(groups)
        found: NDArray[np.float64] = len(y) / (np.count_nonzero(counts) * counts[groups])
        return found


AnyMitigation = Annotated[Balanced | Reweighing, Field(discriminator="kind")]
