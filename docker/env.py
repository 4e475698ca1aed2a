"""Write `.env` with passwords and keys that nobody else has; what exists is never changed."""

import base64
import os
import secrets
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / ".env"
TEMPLATE = """\
# Made by `make env`. Keep it to yourself: whoever reads it is administrator of everything here.
# The password of Airflow's user admin.
ADMIN_PASSWORD={}
# Airflow: encryption of connections, signatures of sessions and of the tokens of tasks.
AIRFLOW_FERNET_KEY={fernet}
AIRFLOW_SECRET_KEY={}
AIRFLOW_JWT_SECRET={}
# PostgreSQL: the superuser, and one role for each database.
POSTGRES_PASSWORD={}
AIRFLOW_DB_PASSWORD={}
LEDGER_DB_PASSWORD={}
MLFLOW_DB_PASSWORD={}
# Queue of the profile celery, page and alerts of the profile monitoring, store of the profile s3.
REDIS_PASSWORD={}
GRAFANA_PASSWORD={}
ALERT_TOKEN={}
S3_ACCESS_KEY={}
S3_SECRET_KEY={}

# What follows may be changed; docs/how-to/run-with-compose.md tells what each does.
# The profiles that `docker compose up` starts beside the core: celery, s3, monitoring.
COMPOSE_PROFILES=
"""


def main() -> int:
    """Write the file for its owner alone."""
    fernet = base64.urlsafe_b64encode(os.urandom(32)).decode()
    text = TEMPLATE.format(*(secrets.token_hex(24) for _ in range(TEMPLATE.count("{}"))), fernet=fernet)
    try:
        descriptor = os.open(TARGET, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.stdout.write(f"{TARGET} exists and stays as it is\n")
        return 0
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    sys.stdout.write(f"{TARGET} has new passwords and keys\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
