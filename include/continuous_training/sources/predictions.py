"""What a server predicted, with the outcomes that became known later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from continuous_training.sources.base import Source
from continuous_training.sources.parquet import Parquet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import pandas as pd

    from continuous_training.core.task import Task
    from continuous_training.core.window import Window


class Predictions(Source):
    """The requests that a server answered, as its prediction log keeps them, labelled by their outcomes.

    The time of a row is the moment of its prediction, and its label the last outcome of `outcome` that was known at the moment
    looked from. Answers that only a shadow gave are left out. Columns that the log hashes or drops cannot be read here.
    """

    kind: Literal["predictions"] = "predictions"
    path: str = Field(
        min_length=1,
        max_length=1000,
        description="Folder of the model's log on this machine, `{predictions}/<model>`. `{name}` stands for a location of the "
        "deployment's settings.",
    )
    outcome: str = Field("label", min_length=1, max_length=100, description="Kind of the outcomes that are the label.")

    @field_validator("path")
    @classmethod
    def _names_locations_only(cls, path: str) -> str:
        return Parquet(path=path).path

    def read(
        self, window: Window, *, task: Task, columns: Sequence[str], as_of: datetime, locations: Mapping[str, str]
    ) -> pd.DataFrame:
        """Return the predictions that were answered in `window`."""
        from continuous_training.sources import _predictions

        folder = Path(Parquet(path=self.path).url(locations))
        return _predictions.read_labelled(folder, window, self.outcome, task=task, columns=columns, as_of=as_of)

    def watermark(self, *, task: Task, locations: Mapping[str, str]) -> datetime | None:  # noqa: ARG002 - the log has its own time
        """Return the moment of the newest prediction."""
        from continuous_training.sources import _predictions

        return _predictions.newest(Path(Parquet(path=self.path).url(locations)))
