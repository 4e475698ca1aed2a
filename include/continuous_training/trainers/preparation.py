"""The columns of a row as the numbers a model reads: fitted on training rows, applied unchanged at serving."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from continuous_training.core.errors import SpecError
from continuous_training.core.frozen import Frozen
from continuous_training.core.task import Features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from continuous_training.core.task import Task
    from continuous_training.trainers._preparation import Columns, Encoder

Range = tuple[float | None, float | None]
Class = bool | int | str


class Cleaning(Frozen):
    """What is done to the training rows before a model sees them."""

    drop_duplicates: bool = Field(
        default=True,
        description="Keep one of the rows that agree in every feature and sensitive column, the label, the event time and the group.",
    )
    rare: int = Field(
        20, ge=1, description="A category with fewer training rows than this is treated like one never seen before."
    )
    ranges: dict[str, Range] = Field(
        default_factory=dict,
        description="Numeric column to its lowest and highest believable value; values outside become missing, "
        "null leaves that side open: {distance: [0, null]}.",
    )

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        for column, (low, high) in self.ranges.items():
            if low is not None and high is not None and low > high:
                msg = f"ranges.{column}: the lowest value {low:g} lies above the highest {high:g}; write [low, high]"
                raise ValueError(msg)
        return self

    def check(self, features: Features) -> None:
        """Raise `ValueError` when a range names a column that is not a numeric feature."""
        unknown = sorted(set(self.ranges) - set(features.numeric))
        if unknown:
            msg = (
                f"cleaning.ranges names {', '.join(unknown)}, which is not a numeric feature; "
                f"allowed: {', '.join(features.numeric) or 'none'}"
            )
            raise ValueError(msg)

    def clean(self, frame: pd.DataFrame, features: Features, task: Task, *, beside: Sequence[str] = ()) -> pd.DataFrame:
        """Return the rows of `frame` without exact duplicates, the first of each kept, in their order.

        Parameters
        ----------
        beside
            Columns that are no features and in which rows must agree too to be duplicates.

        Raises
        ------
        DataInvalid
            A column is missing, or holds lists or other values that cannot be compared.
        """
        if not self.drop_duplicates:
            return frame
        from continuous_training.trainers import _frames

        return _frames.without_duplicates(frame, (*features.columns, *beside, *task.columns))


class Preparation(Frozen):
    """A fitted transformation from columns to a matrix; plain JSON, so it travels with its model.

    A numeric column becomes its numbers: true is 1, missing, infinite and out-of-range values are NaN. A categorical
    column becomes codes `0..k-1` of its `k` categories, `k` for a category that was rare or absent in training, and NaN
    where it is missing. Categories are compared as text: 5, 5.0 and "5" are one category.
    """

    features: Features
    cleaning: Cleaning
    categories: dict[str, tuple[str, ...]] = Field(description="Categorical column to its categories, in code order.")

    @model_validator(mode="after")
    def _fits_features(self) -> Self:
        self.cleaning.check(self.features)
        if set(self.categories) != set(self.features.categorical):
            msg = "categories must be given for exactly the categorical features"
            raise ValueError(msg)
        return self

    @classmethod
    def fit(cls, frame: pd.DataFrame, features: Features, cleaning: Cleaning) -> Self:
        """Learn the categories from `frame`, which must hold training rows only.

        At most the 10,000 most frequent categories of a column are kept, sorted by name.

        Raises
        ------
        DataInvalid
            A feature is missing in `frame`, or a category is neither text, a number nor true/false.
        SpecError
            `cleaning` names a column that is not a numeric feature.
        """
        from continuous_training.trainers import _frames

        try:
            cleaning.check(features)
        except ValueError as error:
            msg = f"{error}; mend the model file, a retry gives the same"
            raise SpecError(msg) from error
        return cls(
            features=features,
            cleaning=cleaning,
            categories={name: _frames.categories(frame, name, cleaning.rare) for name in features.categorical},
        )

    @property
    def categorical(self) -> tuple[int, ...]:
        """Return the positions of the categorical columns in the matrix."""
        return tuple(range(len(self.features.numeric), len(self.features.columns)))

    def transform(self, columns: Columns) -> NDArray[np.float64]:
        """Return the float64 matrix (rows, features) of `columns`, in the order of `features.columns`.

        Parameters
        ----------
        columns
            Column name to a list, array or pandas Series of equal lengths, or a data frame. The order of columns does
            not matter and columns that are not features are ignored.

        Raises
        ------
        DataInvalid
            A feature is missing, lengths differ, or a value has the wrong type.

        Examples
        --------
        >>> prepared = Preparation(
        ...     features=Features(numeric=("distance",), categorical=("carrier",)),
        ...     cleaning=Cleaning(ranges={"distance": (0, None)}),
        ...     categories={"carrier": ("AA", "UA")},
        ... )
        >>> prepared.transform({"carrier": ["UA", "ZZ", None], "distance": [733, -1, 2.5]})
        array([[733. ,   1. ],
               [  nan,   2. ],
               [  2.5,   nan]])
        """
        return self._encoder.matrix(columns)

    def transform_row(self, row: Mapping[str, Any]) -> list[float]:
        """Return one row, a value for each column, as `transform` does."""
        return self._encoder.row(row)

    @cached_property
    def _encoder(self) -> Encoder:
        from continuous_training.trainers._preparation import Encoder

        ranges = {name: self.cleaning.ranges.get(name, (None, None)) for name in self.features.numeric}
        return Encoder(ranges, {name: self.categories[name] for name in self.features.categorical})


def encode_label(
    series: pd.Series, task: Task, classes: Sequence[Class] | None = None
) -> tuple[NDArray[np.float64], tuple[Class, ...]]:
    """Return the label as float64 with NaN where it is unknown, and the classes in the order of their numbers.

    Parameters
    ----------
    series
        The label column. True/false, whole numbers and text name classes; a regression label is a number, a relevance
        a whole number from 0 to 30.
    task
        For regression the values are returned as they are, and so is the relevance in ranking, with no classes.
    classes
        The classes of a trained model. Without them, they are learned from `series` (give it the training rows), and
        the label must be fit for training. With them, nothing is learned: a label of another class is unknown, and a
        window without any label is fine.

    Raises
    ------
    DataInvalid
        No label is known, there is one class only or over 100, or the values cannot be a label of this task.
    """
    from continuous_training.trainers import _frames

    if task.kind == "regression":
        return _frames.regression_label(series, task.label, learn=classes is None), ()
    if task.kind == "ranking":
        return _frames.relevance(series, task.label, learn=classes is None), ()
    return _frames.class_label(series, task.label, classes)
