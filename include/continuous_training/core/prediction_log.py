"""What is kept of each prediction, and where: what the server writes and the work plane reads back.

`<home>/predictions/<model>/` holds segments. A server process appends one line of JSON for each request to a segment of its
own, `<milliseconds>-<random>.jsonl`, which it holds a lock on; a reader turns segments that nobody writes any more into
Parquet files of the same name. `outcomes/` holds what became known later. `key` is the secret of the hashes.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from continuous_training.core.duration import Duration
from continuous_training.core.frozen import Frozen

SHADOW = "shadow"
"""Reason of a prediction that no client has seen."""

Names = tuple[Annotated[str, Field(min_length=1, max_length=200)], ...]


class LogPolicy(Frozen):
    """What is kept of the predictions that a server answers with, and for how long."""

    sample: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the requests that are kept. A hash of the request's id decides, so every server keeps the same ones.",
    )
    keep: Literal["all"] | Names = Field("all", description="Columns whose values are kept.")
    hash: Names = Field(
        (), description="Columns of which a keyed hash is kept: equal values stay equal and cannot be read."
    )
    drop: Names = Field((), description="Columns of which nothing is kept, though `keep` is all.")
    most_mb: int = Field(1024, ge=8, le=1_000_000, description="Megabytes on disk; the oldest segments go first.")
    age: Duration = Field(
        timedelta(days=90), gt=timedelta(0), le=timedelta(days=3660), description="Older segments are deleted."
    )

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        named = [*(() if self.keep == "all" else self.keep), *self.hash, *self.drop]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            msg = f"{', '.join(twice)} cannot be kept, hashed and dropped at once; name each column once"
            raise ValueError(msg)
        return self

    def keeps(self, column: str) -> bool:
        """Tell whether the values of a column are kept as they are.

        >>> LogPolicy(hash=("who",)).keeps("who"), LogPolicy(keep=("wind",)).keeps("wind")
        (False, True)
        """
        return column not in (*self.hash, *self.drop) and (self.keep == "all" or column in self.keep)

    def samples(self, request_id: str) -> bool:
        """Tell whether a request is kept; the same id gives the same answer everywhere.

        >>> LogPolicy(sample=0.5).samples("a"), LogPolicy(sample=0.5).samples("b")
        (True, False)
        """
        if self.sample >= 1:
            return True
        digest = hashlib.blake2b(request_id.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self.sample * 2**64


def log_folder(home: Path, model: str) -> Path:
    """Return where the predictions of a model are kept."""
    return home / "predictions" / model
