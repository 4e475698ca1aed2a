"""Parquet files in a folder or under any fsspec URL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from continuous_training.core.errors import SpecError
from continuous_training.sources.base import Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import pandas as pd

    from continuous_training.core.task import Task
    from continuous_training.core.window import Window

_LOCATION = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}(?=/|$)")


class Parquet(Source):
    """Parquet files below one path, flat or in hive partitions (`month=3/`).

    Every file that ends in `.parquet` counts, except those whose name, or a folder's name on the way, starts with `_`
    or `.`: write a file under such a name and rename it when it is complete. Partition keys are columns, whole numbers
    where all their values are. A column that only some files have is missing in the rows of the others. Rows without
    an event time belong to no window.

    Only the row groups that overlap the window are read, and of those only the columns asked for: memory grows with
    the window, not with the folder.

    Examples
    --------
    >>> Parquet(path="{data}/flights").url({"data": "s3://lake"})
    's3://lake/flights'
    """

    kind: Literal["parquet"] = "parquet"
    path: str = Field(
        min_length=1,
        max_length=1000,
        description="Folder or file, local or any fsspec URL (`s3://bucket/flights`). `{name}` stands for a location "
        "of the deployment's settings.",
    )

    @field_validator("path")
    @classmethod
    def _names_locations_only(cls, path: str) -> str:
        rest = _LOCATION.sub("", path)
        if "{" in rest or "}" in rest:
            msg = (
                f"{path!r} has braces that do not name a location; write {{name}} before a slash or at the end, "
                "with a name of letters, digits and underscores (no templates)"
            )
            raise ValueError(msg)
        if ".." in re.split(r"[/\\]", rest):
            msg = f"{path!r} climbs out of its folder with '..'; write the folder itself"
            raise ValueError(msg)
        if not path.isprintable():
            msg = f"{path!r} contains control characters; write printable characters only"
            raise ValueError(msg)
        return path

    def url(self, locations: Mapping[str, str]) -> str:
        """Return `path` with the names in braces replaced by `locations`."""
        unknown = [name for name in _LOCATION.findall(self.path) if name not in locations]
        if unknown:
            msg = (
                f"source path {self.path!r} names the location {unknown[0]!r}, which this deployment does not have; "
                f"known: {', '.join(sorted(locations)) or 'none'}; correct the path or add the location to the "
                "settings (CT_LOCATIONS); a retry gives the same"
            )
            raise SpecError(msg)
        return _LOCATION.sub(lambda found: locations[found[1]].rstrip("/"), self.path)

    def read(
        self, window: Window, *, task: Task, columns: Sequence[str], as_of: datetime, locations: Mapping[str, str]
    ) -> pd.DataFrame:
        """Return the rows of `window`; rows of the same moment come in the order of their files' names."""
        from continuous_training.sources import _parquet

        return _parquet.read(self.url(locations), window, task=task, columns=columns, as_of=as_of)

    def watermark(self, *, task: Task, locations: Mapping[str, str]) -> datetime | None:
        """Return the newest event time, from the files' statistics where they have them."""
        from continuous_training.sources import _parquet

        return _parquet.watermark(self.url(locations), task=task)
