"""The tables of the ledger. Names start with `ct_` because the database may be shared with Airflow or MLflow.

`ct_models` has one row for each model: its champion's fence, how far it has been scored, and the head of its chain.
`ct_promotions`, `ct_projections`, `ct_decisions` and `ct_rollouts` are only ever added to; together they are one hash
chain for each model, see `chain`. `ct_runs` and `ct_episodes` hold state that moves.
"""

from datetime import datetime

import sqlalchemy as sa

from continuous_training.core.window import in_utc

VERSION_TABLE = "ct_version"
HEAD = "0001"
"""Newest migration this code knows; a test keeps it equal to the newest file in `migrations/versions`."""


class Utc(sa.types.TypeDecorator[datetime]):
    """Keep moments in UTC, also where the database has no time zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the moment as the database keeps it."""
        if value is None:
            return None
        return in_utc(value) if dialect.name == "postgresql" else in_utc(value).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Return the moment with its zone."""
        return None if value is None else in_utc(value)


def plain(text: str) -> str:
    r"""Return `text` without what PostgreSQL or UTF-8 cannot hold; error messages may have quoted any bytes.

    >>> plain("a\x00b")
    'a\ufffdb'
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


metadata = sa.MetaData()


def _links() -> list[sa.Column[object]]:
    return [
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", Utc, nullable=False),
        sa.Column("previous", sa.String, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
    ]


models = sa.Table(
    "ct_models",
    metadata,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("newest_cutoff", Utc),
    sa.Column("scored_until", Utc),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("hash", sa.String, nullable=False),
)

promotions = sa.Table(
    "ct_promotions",
    metadata,
    *_links(),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("run_key", sa.String, nullable=False),
    sa.Column("bundle", sa.String, nullable=False),
    sa.Column("data_cutoff", Utc, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text),
    sa.Column("returns_to", sa.Integer),
    sa.Index("ct_promotions_fence", "model", "fence", unique=True),
    sa.Index(
        "ct_promotions_run",
        "model",
        "run_key",
        unique=True,
        sqlite_where=sa.text("kind = 'promotion'"),
        postgresql_where=sa.text("kind = 'promotion'"),
    ),
)

projections = sa.Table(
    "ct_projections",
    metadata,
    *_links(),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
)

decisions = sa.Table(
    "ct_decisions",
    metadata,
    *_links(),
    sa.Column("window_start", Utc, nullable=False),
    sa.Column("window_end", Utc, nullable=False),
    sa.Column("as_of", Utc, nullable=False),
    sa.Column("answer", sa.String, nullable=False),
    sa.Column("episode", sa.String),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Index("ct_decisions_window", "model", "window_end", "window_start", unique=True),
)

rollouts = sa.Table(
    "ct_rollouts",
    metadata,
    *_links(),
    sa.Column("run_key", sa.String, nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("bundle", sa.String, nullable=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("answer", sa.String, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text),
    sa.Column("counts", sa.Text),
    sa.Index("ct_rollouts_run", "model", "run_key"),
)

runs = sa.Table(
    "ct_runs",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("reason", sa.String),
    sa.Column("episode", sa.String),
    sa.Column("as_of", Utc, nullable=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("began_at", Utc, nullable=False),
    sa.Column("outcome", sa.String),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("finished_at", Utc),
    sa.Index("ct_runs_model", "model", "began_at"),
)

episodes = sa.Table(
    "ct_episodes",
    metadata,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("opened_by", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("opened_at", Utc, nullable=False),
    sa.Column("requested_at", Utc),
    sa.Column("closed_at", Utc),
    sa.Column("closed_why", sa.Text),
    sa.Index(
        "ct_episodes_open",
        "model",
        "kind",
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    ),
)
