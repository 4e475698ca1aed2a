"""Turn an Airflow connection from the environment into a SQLAlchemy URL, without Airflow."""

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import sqlalchemy as sa

from continuous_training.core.errors import UsageError

_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
_PASSED = frozenset(
    {
        "application_name",
        "charset",
        "connect_timeout",
        "driver",
        "sslcert",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "target_session_attrs",
    }
)
_CONNECT_SECONDS = "10"


def connection_url(conn_id: str, environment: Mapping[str, str] = os.environ) -> sa.URL:
    """Return the SQLAlchemy URL of the connection that `AIRFLOW_CONN_<CONN_ID>` describes, as a URI or JSON.

    SQLite files are opened read-only. Of the connection's extras only those that choose a driver, encryption or a time
    limit are passed on.

    Examples
    --------
    >>> str(connection_url("shop", {"AIRFLOW_CONN_SHOP": "mysql+pymysql://reader:secret@db/shop"}))
    'mysql+pymysql://reader:***@db/shop'
    """
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    text = environment.get(variable, "").strip()
    if not text:
        msg = (
            f"connection {conn_id!r} is not known to this process; create it in Airflow, or set {variable} to its URI "
            "(postgres://user:password@host:5432/database); a retry gives the same"
        )
        raise UsageError(msg)
    try:
        return _to_url(_from_json(text) if text.startswith("{") else _from_uri(text))
    except (ValueError, TypeError, AttributeError, KeyError):
        msg = (
            f"{variable} is not an Airflow connection; write a URI (postgres://user:password@host:5432/database, "
            "special characters percent-encoded) or JSON with conn_type, host, login, password, schema, port, extra; "
            "a retry gives the same"
        )
        raise UsageError(msg) from None  # the cause may quote the password


def _from_json(text: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(text)
    extra = fields.get("extra") or {}
    return fields | {"extra": json.loads(extra) if isinstance(extra, str) else extra}


def _from_uri(text: str) -> dict[str, Any]:
    parts = urlsplit(text)
    login, _, place = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    host = place.removesuffix(f":{parts.port}").strip("[]")  # parts.hostname would be lower case: wrong for a file
    query = dict(parse_qsl(parts.query))
    return {
        "conn_type": parts.scheme,
        "host": unquote(host),
        "login": unquote(user),
        "password": unquote(password),
        "schema": unquote(parts.path[1:]),
        "port": parts.port,
        "extra": json.loads(query["__extra__"]) if "__extra__" in query else query,
    }


def _to_url(fields: dict[str, Any]) -> sa.URL:
    kind = fields["conn_type"].lower()
    if not kind:
        msg = "no type"
        raise ValueError(msg)
    host, schema = fields.get("host") or "", fields.get("schema") or ""
    if kind == "sqlite":
        return _sqlite_url(host + (f"/{schema}" if schema else ""))
    driver = _DRIVERS.get(kind, kind)
    query = {name: str(value) for name, value in fields["extra"].items() if name in _PASSED}
    if driver.startswith("postgresql"):
        query.setdefault("connect_timeout", _CONNECT_SECONDS)
    return sa.URL.create(
        driver,
        username=fields.get("login") or None,
        password=fields.get("password") or None,
        host=host or None,
        port=int(fields["port"]) if fields.get("port") else None,
        database=schema or None,
        query=query,
    )


def _sqlite_url(path: str) -> sa.URL:
    if not path:
        msg = "no file"
        raise ValueError(msg)
    if path.startswith("/"):
        path = "/" + path.lstrip("/")
    return sa.URL.create("sqlite", database=f"file:{quote(path)}", query={"mode": "ro", "uri": "true"})
