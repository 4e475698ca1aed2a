"""The pages as Airflow's API server has them: who may read what, and that every part of them is there."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml
from airflow.utils.session import create_session
from fastapi import FastAPI
from fastapi.routing import APIRoute

import small_model
from continuous_training.core.window import Window
from continuous_training.ledger import Ledger
from continuous_training.reports import DriftReport
from continuous_training.storage import Store
from continuous_training.ui import plugin, routes
from ledger_parts import NOW, a_decision, a_run, key, moment, promotion

pytestmark = pytest.mark.provider
PAGES = "/continuous-training/pages"
ROUTES = {
    "/static/{name}", "/models", "/dags/{dag_id}/drift", "/dags/{dag_id}/drift/column", "/dags/{dag_id}/champions",
    "/dags/{dag_id}/decision", "/dags/{dag_id}/card", "/dags/{dag_id}/drift/report", "/dags/{dag_id}/look",
}  # fmt: skip
ASKED = {
    "/static/{name}": "/static/parts.js",
    "/dags/{dag_id}/drift/column": "/dags/m.train/drift/column?name=a&start=2013-01-01T00:00:00Z&end=2013-01-08T00:00:00Z",
    "/dags/{dag_id}/drift/report": "/dags/m.train/drift/report?start=2013-01-01T00:00:00Z&end=2013-01-08T00:00:00Z",
    "/dags/{dag_id}/look": "/dags/m.watch/look?start=2013-01-01T00:00:00Z&end=2013-01-08T00:00:00Z",
    "/dags/{dag_id}/card": f"/dags/m.train/card?key={key(1)}",
    "/dags/{dag_id}/decision": f"/dags/m.train/decision?key={key(1)}",
}


@pytest.fixture(scope="module")
def server() -> Iterator[FastAPI]:
    """Give Airflow's own application with our plugin in it, over a database that knows two models' DAGs."""
    from airflow.api_fastapi.app import create_app
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.db import initdb

    initdb()
    with create_session() as session:
        session.merge(DagBundleModel(name="pages"))
        session.flush()
        for dag_id in ("m.train", "m.watch", "other.train", "example_of_somebody"):
            session.merge(DagModel(dag_id=dag_id, bundle_name="pages", is_stale=False))
    yield create_app(apps="core")
    with create_session() as session:
        for dag_id in ("m.train", "m.watch", "other.train", "example_of_somebody"):
            session.delete(session.get(DagModel, dag_id))


class Reader:
    """Somebody with a browser."""

    def __init__(self, server: FastAPI, role: str | None = "VIEWER") -> None:
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        self.server = server
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="somebody", role=role))
        self.headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str, **headers: str) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(self.server)
            async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
                return await client.get(f"{PAGES}{path}", headers=self.headers | headers)

        return anyio.run(once)

    def read(self, path: str) -> Any:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def reader(server: FastAPI) -> Reader:
    return Reader(server)


@pytest.fixture
def ledger(deployment: Path) -> Ledger:
    deployment.mkdir()
    return Ledger(f"sqlite:///{deployment / 'ledger.db'}")


def asked(route: str) -> str:
    return ASKED.get(route, route.replace("{dag_id}", "m.train"))


def test_the_routes_are_those_that_are_tested_here_and_only_answer_questions() -> None:
    found = {route.path: route.methods for route in routes.app.routes if isinstance(route, APIRoute)}
    assert found == {route: {"GET"} for route in ROUTES}
    assert len(routes.app.routes) == len(ROUTES)


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_nobody_reads_without_logging_in(server: FastAPI, route: str) -> None:
    nobody = Reader(server)
    nobody.headers = {}
    assert nobody.get(asked(route)).status_code == 401
    nobody.headers = {"Authorization": "Bearer x.y.z"}
    assert nobody.get(asked(route)).status_code == 403


@pytest.mark.parametrize("route", sorted(ROUTES - {"/static/{name}"}))
def test_who_may_not_see_dags_sees_no_model(server: FastAPI, ledger: Ledger, route: str) -> None:
    ledger.promote("m", **promotion(1, seen=0))
    answer = Reader(server, role=None).get(asked(route))
    if route == "/models":
        assert answer.json()["total"] == 0
    else:
        assert answer.status_code == 403
    assert key(1) not in answer.text


def test_a_reader_sees_the_models_of_the_dags_that_are_there(reader: Reader, ledger: Ledger, model_files: Any) -> None:
    model_files(m=small_model.document())
    ledger.promote("m", **promotion(1, seen=0))
    ledger.promote("unparsed", **promotion(1, seen=0))
    page = reader.read("/models")
    assert [row["model"] for row in page["models"]] == ["m", "other"]
    assert page["models"][0]["version"] == "1"
    assert [row["model"] for row in reader.read("/models?search=OTH")["models"]] == ["other"]


def test_each_tab_reads_the_model_of_its_dag(reader: Reader, ledger: Ledger) -> None:
    ledger.begin_run(a_run(1), now=NOW)
    ledger.promote("m", **promotion(1, seen=0))
    decision, evidence = a_decision(14)
    ledger.record_decision(decision, evidence, now=NOW + timedelta(hours=1))
    assert len(reader.read("/dags/m.watch/drift")["windows"]) == 1
    assert [one["version"] for one in reader.read("/dags/m.train/champions")["served"]] == ["1"]
    told = reader.read(f"/dags/m.train/decision?key={key(1)}")
    assert (told["record"]["outcome"], told["links"]) == ("promoted", {})


def test_a_run_leads_to_the_version_that_mlflow_has_of_it_now(
    reader: Reader, ledger: Ledger, model_files: Any, deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_PUBLIC_URL", "https://mlflow.example.com")
    model_files(m=small_model.document())
    ledger.begin_run(a_run(1), now=NOW)
    ledger.promote("m", **promotion(1, seen=0))
    facts = {"registry_version": "1", "mlflow_run": "r", "mlflow_experiment": "7"}
    Store(str(deployment / "artefacts")).write_manifest(key(1), "promote", {"outputs": {}, "facts": facts})
    told = reader.read(f"/dags/m.train/decision?key={key(1)}")
    assert told["links"]["Model version"] == "https://mlflow.example.com/#/models/m/versions/1"
    ledger.record_projection("m", 1, target="registry", value="4", now=NOW)  # deleted there, and registered again
    told = reader.read(f"/dags/m.train/decision?key={key(1)}")
    assert told["links"]["Model version"] == "https://mlflow.example.com/#/models/m/versions/4"


def test_reports_are_sent_with_a_policy_that_runs_nothing_whatever_is_in_them(
    reader: Reader, ledger: Ledger, deployment: Path
) -> None:
    store = Store(str(deployment / "artefacts"))
    decision, evidence = a_decision(14)
    window = decision.window
    report = DriftReport(
        model="<script>alert(1)</script>",
        champion="1",
        rows=10,
        columns=(),
        window=window,
        reference=window,
        as_of=window.end,
    )
    digest = store.put(report.model_dump_json().encode())
    ledger.record_decision(decision, evidence.model_copy(update={"report": digest}), now=NOW)
    told = window.model_dump(mode="json")
    answer = reader.get(f"/dags/m.train/drift/report?start={told['start']}&end={told['end']}")
    assert answer.status_code == 200, answer.text
    assert "<script>alert" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.endswith("sandbox")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_model_without_history_is_an_empty_page_and_no_error(reader: Reader, ledger: Ledger) -> None:
    assert reader.read("/dags/other.train/drift")["windows"] == []
    assert reader.read("/dags/other.train/champions")["events"] == []


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("/dags/example_of_somebody/drift", 404, "is not the DAG of a model file"),
        ("/dags/..%2Fm.train/drift", 404, ""),
        ("/dags/m.train/decision?key=1234", 422, "key"),
        (f"/dags/m.train/decision?key={key(7)}", 404, "no run"),
        ("/dags/m.train/drift/column?name=a&start=2013-01-08T00:00:00Z&end=2013-01-01T00:00:00Z", 422, "start before"),
        ("/dags/m.train/drift/column?name=a&start=2013-01-01T00:00:00Z&end=2013-01-08T00:00:00Z", 404, "nothing was"),
        ("/dags/m.train/drift?windows=1000", 422, "windows"),
        ("/models?limit=100000", 422, "limit"),
        ("/static/..%2Froutes.py", 404, ""),
        ("/static/routes.py", 404, "no such file"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(
    reader: Reader, ledger: Ledger, path: str, code: int, says: str
) -> None:
    answer = reader.get(path)
    assert answer.status_code == code
    assert says in answer.text


def test_a_ledger_that_is_down_is_an_error_that_may_pass(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_LEDGER", "postgresql+psycopg://me:secret@127.0.0.1:1/ledger")
    answer = reader.get("/dags/m.train/champions")
    assert answer.status_code == 503
    assert "secret" not in answer.text


def test_an_unchanged_answer_is_not_sent_again(reader: Reader, ledger: Ledger) -> None:
    first = reader.get("/dags/m.train/champions")
    again = reader.get("/dags/m.train/champions", **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    ledger.promote("m", **promotion(1, seen=0))
    assert reader.get("/dags/m.train/champions", **{"If-None-Match": first.headers["etag"]}).status_code == 200


def test_airflow_is_told_of_pages_whose_files_are_there_and_need_nothing_from_elsewhere() -> None:
    pages = {page["name"]: page for page in plugin.ContinuousTraining.react_apps}
    assert {name: page["destination"] for name, page in pages.items()} == {
        "Models": "nav", "Drift": "dag", "Champions": "dag", "Decision": "dag_run",
    }  # fmt: skip
    for page in pages.values():
        name = page["bundle_url"].removeprefix(f"{PAGES[1:]}/static/").split("?")[0]
        text = routes.FILES[name].read_text()
        assert "globalThis.AirflowPlugin = " in text
    scripts = [path.read_text() for path in routes.FILES.values() if path.suffix == ".js"]
    for text in scripts:
        assert set(re.findall(r'from "([^"]+)"', text)) <= {"./parts.js", "./actions.js"}
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "srcdoc", "eval(", "new Function", "import("):
            assert way not in text


def test_the_window_of_a_route_is_in_utc(reader: Reader, ledger: Ledger) -> None:
    decision, evidence = a_decision(14)
    ledger.record_decision(decision, evidence, now=NOW)
    window: Window = decision.window
    told = window.model_dump(mode="json")
    found = reader.read(f"/dags/m.train/drift/column?name=a&start={told['start']}&end={told['end']}")
    assert json.loads(window.model_dump_json()) == found["window"]
    look = reader.read(f"/dags/m.watch/look?start={told['start']}&end={told['end']}")
    assert look["decision"] == json.loads(decision.model_dump_json())
    assert moment(0).utcoffset() == timedelta(0)


def test_a_model_file_that_is_wrong_hides_no_row(reader: Reader, ledger: Ledger, model_files: Any) -> None:
    model_files(m="model: [", other=yaml.safe_dump(small_model.document("other")))
    notes = {row["model"]: row["note"] for row in reader.read("/models")["models"]}
    assert notes["other"] == ""
    assert "ct lint" in notes["m"]
