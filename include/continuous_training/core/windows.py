"""How much data is one look, and how much is one training."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from continuous_training.core.duration import Duration, format_duration
from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Window, in_utc, last_tile_end

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = timedelta(days=3660)


class Windows(Frozen):
    """How much data is one look, and how much is one training."""

    reference: Duration = Field(le=LONGEST, description="Length of the rows a challenger is trained and judged on.")
    current: Duration = Field(le=LONGEST, description="Length of the rows one look scores.")
    every: Duration = Field(
        le=LONGEST, description="Distance between two looks; windows end at multiples of it after `anchor`."
    )
    anchor: Annotated[AwareDatetime, AfterValidator(in_utc)] = Field(
        datetime(1970, 1, 5, tzinfo=UTC),
        description="A moment at which one window ends. The default is a Monday, midnight UTC.",
    )
    part: Duration | None = Field(
        None,
        description="Length of the parts that a look reads its window in, so that it may be larger than memory: one after the "
        "other, or with a trainer on Dask as many at once as there are workers. Whole days where triage is on, and the "
        "current window is a multiple of it. Without it the window is read whole.",
    )
    sample: int = Field(
        1_000_000,
        ge=10_000,
        description="Rows kept of all parts together, evenly spaced. Quality is measured on them, and so are detectors that "
        "compare rows and not columns; the others measure all rows.",
    )

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if not timedelta(0) < self.every <= self.current <= self.reference:
            msg = (
                f"lengths must satisfy 0 < every <= current <= reference; got every {format_duration(self.every)}, "
                f"current {format_duration(self.current)}, reference {format_duration(self.reference)}"
            )
            raise ValueError(msg)
        if self.part is not None and (not self.part or self.current % self.part):
            msg = f"current, {format_duration(self.current)}, is not a multiple of part, {format_duration(self.part)}"
            raise ValueError(msg)
        return self

    def last_end(self, moment: datetime) -> datetime:
        """Return the latest window end that is not after `moment`."""
        return last_tile_end(moment, self.every, self.anchor)

    def current_window(self, end: datetime) -> Window:
        """Return the current window that ends at `end`."""
        return Window(start=end - self.current, end=end)

    def reference_window(self, end: datetime) -> Window:
        """Return the reference window that ends at `end`."""
        return Window(start=end - self.reference, end=end)

    def parts_of(self, window: Window) -> Iterator[Window]:
        """Yield the parts that a window is read in, oldest first."""
        step, start = self.part or window.end - window.start, window.start
        while start < window.end:
            yield Window(start=start, end=start + step)
            start += step
