"""Run the migrations inside the transaction of the ledger that asks for them."""

from alembic import context

from continuous_training.ledger.tables import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
