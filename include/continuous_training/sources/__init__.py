"""Where rows come from: one kind a file, read by window of event time."""

from typing import Annotated

from pydantic import Field

from continuous_training.sources.parquet import Parquet
from continuous_training.sources.predictions import Predictions
from continuous_training.sources.sql import SQL

__all__ = ["SQL", "AnySource", "Parquet", "Predictions"]

AnySource = Annotated[Parquet | SQL | Predictions, Field(discriminator="kind")]
