"""What every drift detector can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from continuous_training.core.frozen import Frozen
from continuous_training.core.task import Columns, Features

if TYPE_CHECKING:
    from typing import Any

    import pandas as pd
    from numpy.typing import NDArray

    from continuous_training.core.scores import DriftScore

ColumnType = Literal["numeric", "categorical"]
Prepared = dict[str, "NDArray[Any]"]


class Detector(Frozen):
    """A distance between reference rows and current rows.

    The reference is prepared once and kept; each window then costs only the window. Detectors measure and policies
    decide: a score carries its threshold, and what to do about it is decided elsewhere.

    Missing values are left out column by column, and infinite numbers count as missing. What cannot be measured (too
    few rows, nothing but missing values) gives an inconclusive score whose note says why.
    """

    kind: str
    min_rows: int = Field(
        100,
        ge=1,
        description="Rows with a value that either window must have; with fewer the score is inconclusive.",
    )

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return what `score` needs to know of the reference rows.

        The arrays hold numbers, booleans and fixed-width text only: `numpy.savez` writes them and `numpy.load` reads
        them with `allow_pickle=False`.

        Raises
        ------
        DataInvalid
            A column is not in the data or has the wrong type: a retry gives the same.
        """
        raise NotImplementedError

    def score(self, prepared: Prepared, current: pd.DataFrame, features: Features) -> list[DriftScore]:
        """Measure the distance of `current` from the prepared reference, one score per column, in column order.

        The same inputs give the same scores, and `current` is not changed. There is always at least one score.

        Raises
        ------
        DataInvalid
            A column is not in the data or has the wrong type: a retry gives the same.
        UsageError
            `prepared` was made for other columns.
        """
        raise NotImplementedError


class ColumnDetector(Detector):
    """A distance that is measured in each column by itself."""

    columns: Columns = Field(
        "all",
        description="Columns to measure, or all: every feature of a type that this detector can measure.",
    )

    types: ClassVar[frozenset[ColumnType]]
    measure: ClassVar[Literal["statistic", "p_value"]]

    @field_validator("columns")
    @classmethod
    def _named_once(cls, columns: Columns) -> Columns:
        if columns != "all" and (not columns or len(set(columns)) < len(columns)):
            msg = f"{list(columns)} names no column or one column twice; name each column once, or write all"
            raise ValueError(msg)
        return columns

    def limit(self, columns: int) -> float:
        """Return the threshold of each score when `columns` columns are measured."""
        raise NotImplementedError


class PValueDetector(ColumnDetector):
    """A significance test in each column, corrected for the number of columns (Bonferroni)."""

    p_value: float = Field(
        0.01,
        gt=0,
        lt=1,
        description=(
            "Chance of a false alarm in a window without drift, over all columns together; each column is compared "
            "with this number divided by the number of columns (Bonferroni)."
        ),
    )

    measure = "p_value"

    def limit(self, columns: int) -> float:
        """Return the p-value that each of `columns` columns is compared with."""
        return self.p_value / max(columns, 1)


class AlibiDetector(PValueDetector):
    """A test of alibi-detect, which is under the Business Source License 1.1 (production use needs a licence).

    Its p-values are single precision: about seven digits, and zero below 1e-45.
    """

    sample: int = Field(
        100_000,
        ge=100,
        description="Reference rows to keep, evenly spaced; alibi-detect goes over all of them in every window.",
    )
