"""Where the deployment keeps things: by connection, by configuration, by environment, in this order."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException

import small_model
from airflow_worker import Worker, dag_run
from continuous_training.core.errors import UsageError
from continuous_training.provider.hooks import (
    ContinuousTrainingHook,
    MLflowHook,
    configured_settings,
    source_environment,
)
from continuous_training.sources._connection import connection_url

pytestmark = pytest.mark.provider

CANARY = "canary-c0de"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that defines a connection."""

    def define(conn_id: str, **fields: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return define


def test_without_any_connection_the_environment_says_where_things_are(deployment: Path) -> None:
    settings = ContinuousTrainingHook().get_conn()
    assert settings == configured_settings()
    assert settings.ledger == f"sqlite:///{deployment}/ledger.db"
    assert settings.registry == f"sqlite:///{deployment}/mlflow.db"


def test_airflow_s_configuration_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_ARTEFACTS", "s3://from-environment")
    monkeypatch.setenv("AIRFLOW__CONTINUOUS_TRAINING__ARTEFACTS", "s3://from-configuration")
    monkeypatch.setenv("AIRFLOW__CONTINUOUS_TRAINING__LEDGER", "postgresql://ct:p%40ss%24HOME@db/ledger")
    monkeypatch.setenv("AIRFLOW__CONTINUOUS_TRAINING__LOCATIONS", '{"lake": "s3://lake"}')
    settings = configured_settings()
    assert settings.artefacts == "s3://from-configuration"
    assert settings.ledger == "postgresql://ct:p%40ss%24HOME@db/ledger"
    assert settings.locations["lake"] == "s3://lake"


def test_the_ledger_s_url_can_come_from_a_command_like_every_secret_of_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONTINUOUS_TRAINING__LEDGER_CMD", "echo sqlite:////by/command.db")
    assert configured_settings().ledger == "sqlite:////by/command.db"


def test_connections_go_before_everything(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONTINUOUS_TRAINING__ARTEFACTS", "s3://from-configuration")
    connect(
        "continuous_training_default",
        conn_type="continuous_training",
        host="s3://bucket/prefix",
        password="postgresql://ct:x@db/ledger",
    )
    connect("mlflow_default", conn_type="mlflow", host="https://mlflow.example.com:5000")
    settings = ContinuousTrainingHook().get_conn()
    assert settings.artefacts == "s3://bucket/prefix"
    assert settings.ledger == "postgresql://ct:x@db/ledger"
    assert settings.registry == "https://mlflow.example.com:5000"


def test_what_a_connection_leaves_empty_is_configured(connect: Any, deployment: Path) -> None:
    connect("continuous_training_default", conn_type="continuous_training", host="s3://bucket")
    connect("mlflow_default", conn_type="mlflow")
    settings = ContinuousTrainingHook().get_conn()
    assert settings.artefacts == "s3://bucket"
    assert settings.ledger == f"sqlite:///{deployment}/ledger.db"
    assert settings.registry == f"sqlite:///{deployment}/mlflow.db"


@pytest.mark.parametrize(
    "hook", [ContinuousTrainingHook("typo"), ContinuousTrainingHook(mlflow_conn_id="typo"), MLflowHook("typo")]
)
def test_a_connection_that_was_named_on_purpose_must_exist(hook: Any) -> None:
    with pytest.raises(AirflowNotFoundException, match="typo"):
        hook.get_conn()


def test_a_connection_of_the_database_is_found_in_a_task(deployment: Path) -> None:
    from airflow.sdk import DAG, BaseOperator

    class Where(BaseOperator):
        def execute(self, context: Any) -> str:
            return ContinuousTrainingHook().get_conn().artefacts

    with DAG("m.train", schedule=None):
        task = Where(task_id="where")
    worker = Worker(
        run=dag_run(),
        connections={"continuous_training_default": {"conn_type": "continuous_training", "host": "s3://db"}},
    )
    worker.do(task)
    assert worker.result("where") == "s3://db"


@pytest.mark.parametrize(
    ("fields", "environment"),
    [
        ({}, {}),
        ({"login": "me"}, {}),
        ({"login": "me", "password": CANARY}, {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": CANARY}),
        ({"password": CANARY}, {"MLFLOW_TRACKING_TOKEN": CANARY}),
    ],
)
def test_mlflow_s_client_is_told_the_credentials_of_the_connection(
    fields: dict[str, str], environment: dict[str, str], connect: Any
) -> None:
    connect("mlflow_default", conn_type="mlflow", host="https://mlflow.example.com", **fields)
    assert MLflowHook().environment() == environment


def test_without_a_connection_there_are_no_credentials() -> None:
    assert MLflowHook().environment() == {}
    assert MLflowHook().tracking_uri() is None


@pytest.mark.parametrize(
    "host",
    [
        "mlflow.example.com",
        "mlflow",
        "localhost:5000",
        "https://",
        f"https://me:{CANARY}@mlflow.example.com",
        f"http://{CANARY}@mlflow/a",
    ],
)
def test_a_host_that_mlflow_would_take_for_a_folder_or_that_holds_credentials_is_refused(
    host: str, connect: Any
) -> None:
    connect("mlflow_default", conn_type="mlflow", host=host, port=5000)
    with pytest.raises(UsageError, match="is not a plain tracking URI") as raised:
        ContinuousTrainingHook().get_conn()
    for hook in (ContinuousTrainingHook(), MLflowHook()):
        assert hook.test_connection() == (False, str(raised.value))
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "https://mlflow.example.com/"}, "https://mlflow.example.com"),
        ({"host": "https://mlflow.example.com:5000/a@b"}, "https://mlflow.example.com:5000/a@b"),
        (
            {"host": "http://mlflow:5000", "extra": {"public_url": "https://mlflow.example.com"}},
            "https://mlflow.example.com",
        ),
        ({"host": "http://mlflow:5000", "extra": {"public_url": None}}, "http://mlflow:5000"),
        ({"host": "http://mlflow:5000", "extra": {"public_url": "javascript:alert(1)"}}, None),
        ({"host": "sqlite:////srv/mlflow.db"}, None),
        ({}, None),
    ],
)
def test_people_s_browsers_get_an_address_without_credentials(
    fields: dict[str, Any], url: str | None, connect: Any
) -> None:
    connect("mlflow_default", conn_type="mlflow", **fields)
    assert MLflowHook().public_url() == url


def test_the_configured_registry_is_the_address_where_there_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{CANARY}@127.0.0.1:5000")
    assert MLflowHook().public_url() == "http://127.0.0.1:5000"
    monkeypatch.setenv("MLFLOW_PUBLIC_URL", "https://mlflow.example.com")
    assert MLflowHook().public_url() == "https://mlflow.example.com"


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        (
            {
                "conn_type": "postgres",
                "host": "db",
                "port": 5432,
                "login": "m e",
                "password": "p@ss/w:rd%?#&=+ü",
                "schema": "shop",
            },
            {"host": "db", "port": 5432, "username": "m e", "password": "p@ss/w:rd%?#&=+ü", "database": "shop"},
        ),
        (
            {"conn_type": "postgres", "host": "db", "extra": {"sslmode": "require", "deep": {"a": [1]}}},
            {"host": "db", "query": {"sslmode": "require", "connect_timeout": "10"}},
        ),
        (
            {"conn_type": "sqlite", "host": "/srv/a b/shop.db"},
            {"database": "file:/srv/a%20b/shop.db", "query": {"mode": "ro", "uri": "true"}},
        ),
        (
            {"conn_type": "mysql+pymysql", "host": "db", "login": "me", "schema": "a/b"},
            {"username": "me", "password": None, "database": "a/b"},
        ),
    ],
)
def test_a_source_reads_the_same_connection_that_airflow_holds(
    fields: dict[str, Any], seen: dict[str, Any], connect: Any
) -> None:
    connect("shop", **fields)
    told = source_environment(small_model.spec(source={"kind": "sql", "conn_id": "shop", "table": "rows"}))
    assert set(told) == {"AIRFLOW_CONN_SHOP"}
    url = connection_url("shop", told)
    assert {name: getattr(url, name) for name in seen} == seen


def test_a_source_without_a_connection_is_told_nothing() -> None:
    assert source_environment(small_model.spec()) == {}


# The Test button


def test_a_deployment_that_works_says_so(tmp_path: Path) -> None:
    assert ContinuousTrainingHook().test_connection() == (True, "The artefact store takes objects and the ledger opens")


def test_a_store_that_cannot_be_written_is_told(connect: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    connect("continuous_training_default", conn_type="continuous_training", host=str(tmp_path / "file" / "store"))
    works, text = ContinuousTrainingHook().test_connection()
    assert not works
    assert "artefact store" in text


@pytest.mark.parametrize(
    ("ledger", "said"),
    [
        (f"postgresql://ct:{CANARY}@127.0.0.1:1/ledger", "127.0.0.1:1/ledger cannot be read"),
        (f"mysql://ct:{CANARY}@db/ledger", "cannot be kept in 'mysql'"),
        (f"postgresql://ct:{CANARY}/x@y@db:port/ledger", "the ledger's URL cannot be read"),
    ],
)
def test_a_ledger_that_does_not_open_is_told_without_its_password(ledger: str, said: str, connect: Any) -> None:
    connect("continuous_training_default", conn_type="continuous_training", password=ledger)
    works, text = ContinuousTrainingHook().test_connection()
    assert not works
    assert said in text
    assert CANARY not in text


def test_an_mlflow_that_answers_says_so(connect: Any, tmp_path: Path) -> None:
    connect("mlflow_default", conn_type="mlflow", host=f"sqlite:///{tmp_path}/mlflow.db")
    assert MLflowHook().test_connection() == (True, "MLflow answers")


def test_an_mlflow_that_is_down_is_told_soon_and_without_the_password(connect: Any) -> None:
    connect("mlflow_default", conn_type="mlflow", host="http://127.0.0.1:1", login="me", password=CANARY)
    works, text = MLflowHook().test_connection()
    assert not works
    assert text.startswith("MLflow does not answer: ")
    assert CANARY not in text
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    assert int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 30
