"""Tell damaged data from a changed world, so that nothing is retrained on a fault."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING, get_args

from pydantic import Field, field_validator

from continuous_training.core.defects import Defect, DefectKind
from continuous_training.core.duration import Duration
from continuous_training.core.frozen import Frozen
from continuous_training.core.scores import DriftScore

if TYPE_CHECKING:
    from typing import Any

    import pandas as pd
    from numpy.typing import NDArray

    from continuous_training.core.task import Features, Task
    from continuous_training.core.window import Window

KINDS: tuple[DefectKind, ...] = get_args(DefectKind)


class Triage(Frozen):
    """Look for marks of a fault in a window: what breaks at once, exactly, or in one place only.

    A fault is named only where the data shows it against what was usual in the reference, day by day and source by
    source. Slow or partial changes are drift, and what cannot be told (too few rows, too noisy a column) is no finding.

    Examples
    --------
    >>> import pandas as pd
    >>> from datetime import datetime
    >>> from continuous_training.core.task import Features, Task
    >>> from continuous_training.core.window import Window
    >>> task = Task(kind="regression", label="", event_time="at")
    >>> features = Features(numeric=("weight",))
    >>> at = pd.date_range("2024-01-01", periods=3000, freq="30min", tz="UTC")
    >>> weight = pd.Series(range(3000)) * 7919 % 997 / 100 + 60
    >>> rows = pd.DataFrame({"at": at, "weight": weight})
    >>> triage = Triage()
    >>> profile = triage.fit(rows[:2640], task, features)
    >>> window = Window(start=datetime(2024, 2, 25), end=datetime(2024, 3, 3))
    >>> current = rows[2640:2976]
    >>> triage.examine(profile, current, window, task, features)
    ()
    >>> [found] = triage.examine(profile, current.assign(weight=current["weight"] * 1000), window, task, features)
    >>> found.kind, found.column
    ('unit_change', 'weight')
    """

    kinds: tuple[DefectKind, ...] = Field(KINDS, description="Faults to look for; all unless named.")
    timezone: str = Field(
        "UTC",
        description=(
            "IANA time zone whose clock the data's daily rhythm follows. With UTC, a shift by one hour is not called a "
            "fault when clocks somewhere changed for daylight saving since the reference began."
        ),
    )
    min_rows: int = Field(
        100, ge=20, description="Rows that the window, or one source in it, must have; with fewer nothing is found."
    )
    null_share: float = Field(
        0.05, gt=0, lt=1, description="Rise of the share of missing values above the highest usual one that is a fault."
    )
    row_share: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of the fewest rows of the same weekday in the reference below which a day is incomplete.",
    )
    duplicate_share: float = Field(
        0.02, gt=0, lt=1, description="Share of repeated rows above the usual one that counts as a replay."
    )

    season: Duration | None = Field(
        None,
        description=(
            "Length of a season, such as 364 days or 7 days: a drift from the reference is then measured from the window "
            "that long before as well, and one that leaves the window as it was there does not count. At least as long as "
            "the current window; none compares with no season."
        ),
    )

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in zoneinfo.available_timezones():
            msg = f"{value!r} is not an IANA time zone; write one such as 'UTC' or 'America/New_York'"
            raise ValueError(msg)
        return value

    def fit(self, reference: pd.DataFrame, task: Task, features: Features) -> dict[str, NDArray[Any]]:
        """Return what is usual in the reference rows.

        The arrays hold numbers, booleans and fixed-width text only: `numpy.savez` writes them and `numpy.load` reads
        them with `allow_pickle=False`. Their size depends on columns and categories, not on rows.

        Raises
        ------
        DataInvalid
            The event time is not in the data: a retry gives the same.
        """
        from continuous_training.triage import _examine

        return _examine.fit(self, reference, task, features)

    def examine(
        self, profile: dict[str, NDArray[Any]], current: pd.DataFrame, window: Window, task: Task, features: Features
    ) -> tuple[Defect, ...]:
        """Return the faults that the rows of `window` show, in the order of `kinds`; none when there is nothing sure.

        The same inputs give the same findings, and `current` is not changed.

        Raises
        ------
        UsageError
            `profile` was made for other columns or another time zone.
        """
        from continuous_training.triage import _examine

        return _examine.examine(self, profile, current, window, task, features)


def same_season(drifted: DriftScore, season: DriftScore) -> bool:
    """Tell whether what drifted from the reference is as it was in the same season before.

    True when the score against the season, of the same detector and column, is within its threshold and nearer than the
    one against the reference. A score that could not be measured there is no evidence.

    >>> def scored(gap):
    ...     return DriftScore(detector="ks", column="wind", statistic=gap, effect=gap, measure="statistic",
    ...                       threshold=0.2, reference_rows=500, current_rows=500)
    >>> same_season(scored(0.5), scored(0.1)), same_season(scored(0.5), scored(0.4))
    (True, False)
    """
    near, far = _distance(season), _distance(drifted)
    return bool(drifted.exceeded) and season.exceeded is False and near is not None and far is not None and near < far


def _distance(score: DriftScore) -> float | None:
    return score.statistic if score.effect is None else abs(score.effect)
