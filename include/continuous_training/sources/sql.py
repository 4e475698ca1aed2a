"""A table or view of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.sources.base import Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import pandas as pd

    from continuous_training.core.task import Task
    from continuous_training.core.window import Window


class SQL(Source):
    """A table or view of any database that SQLAlchemy speaks to.

    The model file names a connection and a table, never a query: write a view for anything but plain columns. The
    window reaches the database as bound parameters, rows come back as a stream. A time without a zone is UTC; in SQLite
    times are ISO 8601 text. Give the event time column an index. Rows without an event time belong to no window.
    """

    kind: Literal["sql"] = "sql"
    conn_id: str = Field(
        pattern=r"^[A-Za-z0-9_.-]{1,250}$",
        description="Airflow connection of the database. Outside Airflow it is read from the environment variable "
        "`AIRFLOW_CONN_<CONN_ID>`, as a URI or JSON.",
    )
    table: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}(\.[A-Za-z_][A-Za-z0-9_]{0,127})?$",
        description="Table or view, `name` or `schema.name`, in the spelling the database keeps.",
    )

    def read(
        self,
        window: Window,
        *,
        task: Task,
        columns: Sequence[str],
        as_of: datetime,
        locations: Mapping[str, str],  # noqa: ARG002 - for sources with a path
    ) -> pd.DataFrame:
        """Return the rows of `window`; rows of the same moment are ordered by their other columns."""
        from continuous_training.sources import _sql

        return _sql.read(self.conn_id, self.table, window, task=task, columns=columns, as_of=as_of)

    def watermark(self, *, task: Task, locations: Mapping[str, str]) -> datetime | None:  # noqa: ARG002 - as above
        """Return the newest event time in the table."""
        from continuous_training.sources import _sql

        return _sql.watermark(self.conn_id, self.table, task=task)
