"""What every drift detector can do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from continuous_training.core.frozen import Frozen
from continuous_training.core.task import Columns, Features

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from continuous_training.core.scores import DriftScore
    from continuous_training.detectors._columns import Measures

ColumnType = Literal["numeric", "categorical"]
Prepared = dict[str, "NDArray[Any]"]
COMPUTED_COLUMNS = ("prediction", "error")
ATTRIBUTION_PREFIX = "attribution:"
"""Columns `attribution:<feature>` hold the part of each feature in each prediction."""
MOST_SLICES = 50
"""Values of `by` that are measured at most, the most frequent ones of the reference."""


class Detector(Frozen):
    """A distance between reference rows and current rows.

    The reference is prepared once and kept; each window then costs only the window. Detectors measure and policies
    decide: a score carries its threshold, and what to do about it is decided elsewhere.

    Missing values are left out column by column, and infinite numbers count as missing. What cannot be measured (too
    few rows, nothing but missing values) gives an inconclusive score whose note says why.
    """

    kind: str
    name: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9_]*$",
        max_length=63,
        description="Name of the signal; none means the kind. Two detectors of one kind need names to be two signals.",
    )
    min_rows: int = Field(
        100,
        ge=1,
        description="Rows with a value that either window must have; with fewer the score is inconclusive.",
    )
    by: str | None = Field(
        None,
        description=(
            "Categorical feature, such as a region: the rows of each of its values are measured against the reference's "
            f"rows of that value, for the {MOST_SLICES} most frequent values with `min_rows` rows there. The detector fires "
            "when any of them does; p-values are corrected for columns and values together."
        ),
    )

    @property
    def known_as(self) -> str:
        """Return the name that scores and signals carry."""
        return self.name or self.kind

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return what `score` needs to know of the reference rows.

        The arrays hold numbers, booleans and fixed-width text only: `numpy.savez` writes them and `numpy.load` reads
        them with `allow_pickle=False`.

        Raises
        ------
        DataInvalid
            A feature is not in the data or a column has the wrong type: a retry gives the same.
        """
        raise NotImplementedError

    def score(self, prepared: Prepared, current: pd.DataFrame, features: Features) -> list[DriftScore]:
        """Measure the distance of `current` from the prepared reference, one score per column, in column order.

        The same inputs give the same scores, and `current` is not changed. There is always at least one score.

        Raises
        ------
        DataInvalid
            A feature is not in the data or a column has the wrong type: a retry gives the same.
        UsageError
            `prepared` was made for other columns.
        """
        raise NotImplementedError

    def tally(self, prepared: Prepared, rows: pd.DataFrame, features: Features) -> Any:  # noqa: ARG002 - none to be had
        """Return what `measure` needs to know of some rows of a window; `None` where it must have them side by side.

        Tallies of the parts of a window add up with `+`, in any order, to that of the window, and none grows with its
        rows: it depends on the reference and on how many categories there are.

        Raises
        ------
        DataInvalid, UsageError
            As `score`.
        """
        return None

    def measure(self, prepared: Prepared, tally: Any, features: Features) -> list[DriftScore]:
        """Measure the distance of the rows of a tally from the prepared reference, as `score` does.

        Raises
        ------
        UsageError
            `prepared` was made for other columns.
        """
        raise NotImplementedError

    def fit_slices(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return what `score_slices` needs to know: of all rows as `fit` does, or with `by` of each value's rows.

        Raises
        ------
        DataInvalid
            As `fit`, or the data have no column `by`.
        """
        from continuous_training.detectors import _slices

        return self.fit(reference, features) if self.by is None else _slices.fit(self, self.by, reference, features)

    def score_slices(self, prepared: Prepared, current: pd.DataFrame, features: Features) -> list[DriftScore]:
        """Measure all rows as `score` does, or with `by` the rows of each value; scores then name their `slice`.

        A value that the window lacks, and one of the window whose reference was not kept, give an inconclusive score.

        Raises
        ------
        DataInvalid
            As `score`, or the data have no column `by`.
        UsageError
            `prepared` was made for other columns, or for another `by`.

        Examples
        --------
        >>> import pandas as pd
        >>> from continuous_training.detectors import PSI
        >>> features = Features(numeric=("wind",), categorical=("region",))
        >>> calm = pd.DataFrame({"region": ["north", "south"] * 500, "wind": range(1000)})
        >>> detector = PSI(columns=("wind",), by="region")
        >>> prepared = detector.fit_slices(calm, features)
        >>> stormy = calm.assign(wind=calm["wind"].where(calm["region"] == "north", calm["wind"] + 500))
        >>> [(score.slice, score.exceeded) for score in detector.score_slices(prepared, stormy, features)]
        [('region=north', False), ('region=south', True)]
        """
        from continuous_training.detectors import _slices

        if self.by is None:
            return self.score(prepared, current, features)
        return _slices.score(self, self.by, prepared, current, features)

    def tally_slices(self, prepared: Prepared, rows: pd.DataFrame, features: Features) -> Any:
        """Return what `measure_slices` needs to know of some rows, as `tally` does, or with `by` of each value's rows."""
        from continuous_training.detectors import _slices

        if self.by is None:
            return self.tally(prepared, rows, features)
        return _slices.tally(self, self.by, prepared, rows, features)

    def measure_slices(self, prepared: Prepared, tally: Any, features: Features) -> list[DriftScore]:
        """Measure the rows of a tally as `score_slices` does."""
        from continuous_training.detectors import _slices

        if self.by is None:
            return self.measure(prepared, tally, features)
        return _slices.measure(self, self.by, prepared, tally, features)


class SelectingDetector(Detector):
    """A distance that is measured in columns that the user may choose."""

    columns: Columns = Field(
        "all",
        description=(
            "Columns to measure, or all: every feature of a type that this detector can measure. Beside features the "
            "label, `prediction` (what the champion predicts) and `error` (how far off it was) may be named."
        ),
    )

    types: ClassVar[frozenset[ColumnType]]

    @field_validator("columns")
    @classmethod
    def _named_once(cls, columns: Columns) -> Columns:
        if columns != "all" and (not columns or len(set(columns)) < len(columns)):
            msg = f"{list(columns)} names no column or one column twice; name each column once, or write all"
            raise ValueError(msg)
        return columns


class ColumnDetector(SelectingDetector):
    """A distance that is measured in each column by itself."""

    compares: ClassVar[Literal["statistic", "p_value"]] = "statistic"

    def measures(self) -> Measures:
        """Return how each column is measured."""
        raise NotImplementedError

    def score(self, prepared: Prepared, current: pd.DataFrame, features: Features) -> list[DriftScore]:
        """Measure each column of `current`."""
        from continuous_training.detectors import _tally

        return _tally.score(self, prepared, current, features, self.measures())

    def tally(self, prepared: Prepared, rows: pd.DataFrame, features: Features) -> Any:
        """Return what `measure` needs to know of some rows of a window; `None` where it must have them all."""
        from continuous_training.detectors import _tally

        measures = self.measures()
        adds_up = "numeric" not in self.types or measures.bins or measures.marked
        return _tally.tally(self, prepared, rows, features, measures) if adds_up else None

    def measure(self, prepared: Prepared, tally: Any, features: Features) -> list[DriftScore]:
        """Measure each column of the rows of a tally."""
        from continuous_training.detectors import _tally

        return _tally.measure(self, prepared, tally, features, self.measures())

    def limit(self, p_values: Sequence[float | None]) -> float:
        """Return the threshold of each score, given the p-values of all columns (none where there is none)."""
        raise NotImplementedError


class StatisticDetector(ColumnDetector):
    """A distance in each column whose size has a meaning of its own, whatever the number of rows and columns."""

    threshold: float = Field(gt=0, description="Distance above which a column counts as drifted.")

    def limit(self, p_values: Sequence[float | None]) -> float:  # noqa: ARG002 - a distance needs no correction
        """Return the threshold."""
        return self.threshold


class PValueDetector(ColumnDetector):
    """A significance test in each column, corrected for the number of columns."""

    p_value: float = Field(
        0.01,
        gt=0,
        lt=1,
        description=(
            "Chance of a false alarm in a window without drift, over all columns together; `correction` says how it is "
            "divided among them."
        ),
    )
    correction: Literal["bonferroni", "benjamini_hochberg"] = Field(
        "bonferroni",
        description=(
            "bonferroni: each column is compared with p_value divided by the number of columns, which holds however "
            "columns depend on each other. benjamini_hochberg: of the columns reported, on average at most the share "
            "p_value has not moved; it finds more columns, and its chance of a false alarm holds for columns that are "
            "independent or move together."
        ),
    )
    minimum_effect: float = Field(
        0.0,
        ge=0,
        description=(
            "Effect below which a column never counts as drifted. With many rows every difference is significant: "
            "0.05 to 0.1 leaves out those that do not matter."
        ),
    )

    compares = "p_value"

    def limit(self, p_values: Sequence[float | None]) -> float:
        """Return the p-value below which a column is significant."""
        if self.correction == "bonferroni":
            return self.p_value / max(len(p_values), 1)
        return benjamini_hochberg([p for p in p_values if p is not None], self.p_value)


def benjamini_hochberg(p_values: Sequence[float], share: float) -> float:
    """Return the critical value: exactly the p-values below it are rejected at the false discovery rate `share`.

    Source: Benjamini and Hochberg (1995), Controlling the false discovery rate.

    Examples
    --------
    >>> round(benjamini_hochberg([0.03, 0.001, 0.02, 0.9], share=0.04), 6)
    0.03
    """
    ordered, count = sorted(p_values), max(len(p_values), 1)
    rejected = max((rank for rank, p in enumerate(ordered, 1) if p * (count / rank) <= share), default=0)
    critical = max(rejected, 1) * share / count
    # a p-value equal to the critical value is rejected, and neighbours must stay on their sides whatever the rounding
    if rejected:
        critical = max(critical, math.nextafter(ordered[rejected - 1], 2))
    return min(critical, ordered[rejected]) if rejected < len(ordered) else critical


class JointDetector(SelectingDetector):
    """A significance test of all columns together, which also sees columns that move against each other.

    There is one score, of no column. A row counts when it has a value in any of the columns; a missing value in it is
    treated as the detector says.
    """

    p_value: float = Field(0.01, gt=0, lt=1, description="Chance of a false alarm in a window without drift.")
    minimum_effect: float = Field(
        0.0, ge=0, description="Effect below which the window never counts as drifted, however many rows it has."
    )
    seed: int = Field(7, ge=0, le=2**31 - 1, description="Seed of what the detector draws at random.")

    types = frozenset({"numeric", "categorical"})


class AlibiDetector(PValueDetector):
    """A test of alibi-detect, which is under the Business Source License 1.1 (production use needs a licence).

    Its p-values are single precision: about seven digits, and zero below 1e-45.
    """

    sample: int = Field(
        100_000,
        ge=100,
        description="Reference rows to keep, evenly spaced; alibi-detect goes over all of them in every window.",
    )

    def tally(self, prepared: Prepared, rows: pd.DataFrame, features: Features) -> Any:  # noqa: ARG002 - none to be had
        """Return `None`: alibi-detect must have all rows."""
        return None


class AlibiTorchDetector(JointDetector):
    """A test of alibi-detect that needs PyTorch; its p-values come from permutations of the rows of both sides.

    Numbers are divided by the reference's standard deviation, and a missing one is its mean. alibi-detect is under the
    Business Source License 1.1 (production use needs a licence).
    """

    sample: int = Field(
        1000,
        ge=100,
        le=20_000,
        description="Rows of either side that are used at most; the cost grows with their square.",
    )
    permutations: int = Field(
        500, ge=100, le=100_000, description="Permutations; no p-value is below one divided by their number."
    )

    types = frozenset({"numeric"})

    @field_validator("by")
    @classmethod
    def _undivided(cls, by: str | None) -> str | None:
        if by is not None:
            msg = "p-values of permutations cannot be small enough for many values at once; use mmd or classifier with `by`"
            raise ValueError(msg)
        return by

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:
        """Return a sample of the reference's rows.

        Raises
        ------
        MissingExtra
            PyTorch is not installed.
        """
        from continuous_training.detectors import _alibi_joint

        return _alibi_joint.fit_torch(self, reference, features)
