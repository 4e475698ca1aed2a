import json
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from continuous_training.core.errors import UsageError
from continuous_training.sources._connection import connection_url


def _url(text: str) -> sa.URL:
    return connection_url("shop", {"AIRFLOW_CONN_SHOP": text})


def test_a_postgres_uri_is_read_as_airflow_reads_it() -> None:
    url = _url("postgres://reader:p%40ss%2Fword%3A@DB.example:5433/shop%20one?sslmode=require")
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.password) == ("reader", "p@ss/word:")
    assert (url.host, url.port, url.database) == ("DB.example", 5433, "shop one")
    assert url.query["sslmode"] == "require"


def test_json_says_the_same_as_the_uri() -> None:
    fields = {
        "conn_type": "postgres", "host": "db", "login": "reader", "password": "p@ss", "schema": "shop", "port": "5433",
        "extra": json.dumps({"sslmode": "require"}),
    }  # fmt: skip
    assert _url(json.dumps(fields)) == _url("postgres://reader:p%40ss@db:5433/shop?sslmode=require")
    fields["extra"] = {"sslmode": "require"}  # type: ignore[assignment]
    assert _url(json.dumps(fields)) == _url("postgres://reader:p%40ss@db:5433/shop?sslmode=require")


def test_extras_that_airflow_packs_into_one_parameter_are_read() -> None:
    packed = quote(json.dumps({"sslmode": "require", "nested": {"a": 1}}))
    assert _url(f"postgres://db/shop?__extra__={packed}").query["sslmode"] == "require"


def test_extras_beyond_the_allowed_ones_are_not_passed_on() -> None:
    url = _url("postgresql://db/shop?host=elsewhere&passfile=/etc/secret&options=-cfoo%3Dbar&application_name=ct")
    assert url.host == "db"
    assert set(url.query) == {"application_name", "connect_timeout"}


def test_a_postgres_connection_gives_up_after_some_seconds_unless_it_says_otherwise() -> None:
    assert _url("postgres://db/shop").query["connect_timeout"] == "10"
    assert _url("postgres://db/shop?connect_timeout=3").query["connect_timeout"] == "3"


def test_a_version_6_address_and_a_socket_folder_are_hosts() -> None:
    assert _url("postgres://reader@[::1]:5432/shop").host == "::1"
    assert _url("postgres://reader@%2Fvar%2Frun%2Fpostgresql/shop").host == "/var/run/postgresql"


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("sqlite:///srv/Data/rows.db", "/srv/Data/rows.db"),
        ("sqlite:////srv/Data/rows.db", "/srv/Data/rows.db"),
        ("sqlite://%2Fsrv%2FData%2Frows.db", "/srv/Data/rows.db"),
        ("sqlite://Data/rows.db", "Data/rows.db"),
        ('{"conn_type": "sqlite", "host": "/srv/Data/rows.db"}', "/srv/Data/rows.db"),
        ("sqlite:///srv/what%3F%23/rows.db", "/srv/what%3F%23/rows.db"),
    ],
)
def test_an_sqlite_file_is_found_in_every_form_and_opened_read_only(text: str, file: str) -> None:
    url = _url(text)
    assert url.database == f"file:{file}"
    assert dict(url.query) == {"mode": "ro", "uri": "true"}


def test_any_other_type_is_the_name_of_its_sqlalchemy_dialect() -> None:
    assert _url("mysql+pymysql://reader:x@db/shop").drivername == "mysql+pymysql"


def test_an_unknown_connection_is_named_with_the_variable_that_would_hold_it() -> None:
    with pytest.raises(UsageError, match=r"connection 'ware-house' .*AIRFLOW_CONN_WARE-HOUSE"):
        connection_url("ware-house", {})


@pytest.mark.parametrize(
    "text",
    [
        "hush",
        "postgres://reader:hush@db:port/shop",
        '{"conn_type": "postgres", "password": "hush"',
        '{"password": "hush"}',
        '{"conn_type": "postgres", "password": "hush", "extra": "{"}',
        '{"conn_type": "postgres", "password": "hush", "extra": "[1]"}',
        '{"conn_type": "postgres", "password": "hush", "port": "x"}',
        "sqlite://?password=hush",
    ],
)
def test_a_connection_that_cannot_be_read_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(UsageError, match=r"AIRFLOW_CONN_SHOP is not an Airflow connection") as caught:
        _url(text)
    assert "hush" not in str(caught.value)
    assert caught.value.__suppress_context__
