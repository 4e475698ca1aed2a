"""How the values of a column are distributed, small enough to keep and to draw."""

from typing import Literal, Self

from pydantic import Field, model_validator

from continuous_training.core.frozen import Frozen
from continuous_training.core.scores import DriftScore
from continuous_training.core.window import Moment, Window

MOST_BINS = 30
MOST_CATEGORIES = 20
MOST_KNOWN = 1_000
"""Categories of a column that are kept by name, so that new ones are told; of a column with more none is told."""
OTHER = "(other)"

ColumnKind = Literal["numeric", "categorical"]


class Distribution(Frozen):
    """The shares of some rows in bins of numbers or in categories.

    The reference's and the window's distribution of a column have the same bins or categories: shares side by side are
    those of the same values. The first and last bin also hold what lies beyond them.
    """

    rows: int = Field(ge=0, description="Rows looked at, those without a value too.")
    missing: float = Field(ge=0, le=1, description="Share of the rows without a usable value.")
    edges: tuple[float, ...] | None = Field(
        None, max_length=MOST_BINS + 1, description="Bounds of the bins of a numeric column, one more than bins."
    )
    categories: tuple[str, ...] | None = Field(
        None,
        max_length=MOST_CATEGORIES + 1,
        description=f"The reference's most frequent categories; the last is {OTHER}.",
    )
    shares: tuple[float, ...] = Field(
        description="Share of the rows with a value in each bin or category; all 0 where there is no such row."
    )

    @model_validator(mode="after")
    def _one_share_each(self) -> Self:
        places = len(self.categories or ()) if self.edges is None else len(self.edges) - 1
        if len(self.shares) != max(places, 0):
            msg = f"{len(self.shares)} shares for {places} bins or categories"
            raise ValueError(msg)
        return self


class ProfileColumn(Frozen):
    """One column of the rows that a champion was made from."""

    name: str
    kind: ColumnKind
    reference: Distribution
    known: tuple[str, ...] | None = Field(
        None, max_length=MOST_KNOWN, description="Every category; none of a number, and where there are too many."
    )


class Profile(Frozen):
    """The rows that a champion was made from, column by column."""

    model: str
    window: Window
    rows: int = Field(ge=0)
    columns: tuple[ProfileColumn, ...] = ()


class DriftColumn(Frozen):
    """One column of the reference and of a window, side by side."""

    name: str
    kind: ColumnKind
    reference: Distribution
    current: Distribution
    outside: float = Field(
        0.0, ge=0, le=1, description="Share of the window's values below the first or above the last bound of the bins."
    )
    new_categories: tuple[str, ...] = Field(
        (), max_length=MOST_CATEGORIES, description="Categories that the reference has not, at most 20 of them."
    )

    @property
    def distance(self) -> float:
        """Return the share of the rows that would have to change their value for the two to be alike, from 0 to 1.

        It is the total variation distance of the shares drawn; where either has no value it is that of the missing.
        """
        missing = abs(self.reference.missing - self.current.missing)
        if not (any(self.reference.shares) and any(self.current.shares)):
            return missing
        pairs = zip(self.reference.shares, self.current.shares, strict=True)
        return min(max(missing, sum(abs(one - other) for one, other in pairs) / 2), 1.0)


class DriftReport(Frozen):
    """What one window looks like beside the rows that its champion was made from."""

    model: str
    window: Window
    reference: Window
    as_of: Moment
    champion: str = Field(description="Version of the champion.")
    rows: int = Field(ge=0, description="Rows of the window.")
    columns: tuple[DriftColumn, ...] = ()
    scores: tuple[DriftScore, ...] = ()
