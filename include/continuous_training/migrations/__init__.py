"""The ledger's schema, step by step; Alembic runs these forward when a ledger is opened."""
