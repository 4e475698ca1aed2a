"""What a triage of a window finds wrong with the data itself: no reason to retrain, but to repair."""

from typing import Literal

from pydantic import Field

from continuous_training.core.frozen import Frozen

DefectKind = Literal[
    "null_burst",
    "constant_burst",
    "unit_change",
    "time_shift",
    "partial_window",
    "schema_change",
    "enum_change",
    "single_source",
    "duplicate_replay",
]


class Defect(Frozen):
    """One finding that says the window is damaged rather than that the world has changed."""

    kind: DefectKind
    column: str | None = Field(None, description="Column it was found in; none when it concerns whole rows.")
    text: str = Field(max_length=500, description="What was seen, with the numbers, and what is usual.")
