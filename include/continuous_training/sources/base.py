"""What every source can do."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from continuous_training.core.frozen import Frozen
from continuous_training.core.task import Task
from continuous_training.core.window import Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd


class Source(Frozen):
    """Rows with an event time, read by window."""

    def read(
        self, window: Window, *, task: Task, columns: Sequence[str], as_of: datetime, locations: Mapping[str, str]
    ) -> pd.DataFrame:
        """Return the rows of `window`, ordered by event time, with exactly `columns`, the event time and the label.

        Event times come back as UTC (`datetime64[ns, UTC]`). A label younger than the task's label delay at `as_of`
        comes back missing, so that history is seen as it was.

        Raises
        ------
        DataInvalid
            A column is missing or the event time is not a time: a retry gives the same.
        SourceUnavailable
            The rows cannot be reached: a retry may succeed.
        """
        raise NotImplementedError

    def watermark(self, *, task: Task, locations: Mapping[str, str]) -> datetime | None:
        """Return the event time up to which rows have arrived, or `None` when there are no rows."""
        raise NotImplementedError
