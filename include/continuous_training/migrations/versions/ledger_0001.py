"""The first ledger: models, promotions, projections, decisions, rollouts, runs, episodes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _links() -> list[sa.Column[object]]:
    return [
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("previous", sa.String, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
    ]


def upgrade() -> None:
    """Make the tables in an empty database."""
    _models_and_promotions()
    _decisions()
    _rollouts()
    _runs_and_episodes()


def _models_and_promotions() -> None:
    op.create_table(
        "ct_models",
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("newest_cutoff", sa.DateTime(timezone=True)),
        sa.Column("scored_until", sa.DateTime(timezone=True)),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
    )
    op.create_table(
        "ct_promotions",
        *_links(),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("run_key", sa.String, nullable=False),
        sa.Column("bundle", sa.String, nullable=False),
        sa.Column("data_cutoff", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text),
        sa.Column("returns_to", sa.Integer),
    )
    op.create_index("ct_promotions_fence", "ct_promotions", ["model", "fence"], unique=True)
    only = sa.text("kind = 'promotion'")
    op.create_index(
        "ct_promotions_run",
        "ct_promotions",
        ["model", "run_key"],
        unique=True,
        sqlite_where=only,
        postgresql_where=only,
    )
    op.create_table(
        "ct_projections",
        *_links(),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
    )


def _decisions() -> None:
    op.create_table(
        "ct_decisions",
        *_links(),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.String, nullable=False),
        sa.Column("episode", sa.String),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
    )
    op.create_index("ct_decisions_window", "ct_decisions", ["model", "window_end", "window_start"], unique=True)


def _rollouts() -> None:
    op.create_table(
        "ct_rollouts",
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
    )
    op.create_index("ct_rollouts_run", "ct_rollouts", ["model", "run_key"])


def _runs_and_episodes() -> None:
    op.create_table(
        "ct_runs",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("reason", sa.String),
        sa.Column("episode", sa.String),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
    )
    op.create_index("ct_runs_model", "ct_runs", ["model", "began_at"])
    op.create_table(
        "ct_episodes",
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("opened_by", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True)),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
        sa.Column("closed_why", sa.Text),
    )
    only = sa.text("closed_at IS NULL")
    op.create_index(
        "ct_episodes_open", "ct_episodes", ["model", "kind"], unique=True, sqlite_where=only, postgresql_where=only
    )
