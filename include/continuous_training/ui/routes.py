"""What the pages read: an application of Airflow's API server, `/continuous-training/pages/...`.

Every route asks Airflow who is there, and answers only about models whose DAGs that person may read. Nothing is changed
here: what a page lets people do goes through Airflow's own REST API, with Airflow's own permissions.
"""

from __future__ import annotations

import hashlib
import logging
import re
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag, requires_authenticated
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response, status
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from pydantic import BaseModel

from continuous_training.core.errors import ContinuousTrainingError, Transient, UsageError
from continuous_training.core.window import Window
from continuous_training.ledger import Ledger
from continuous_training.provider import links
from continuous_training.provider.dags import KINDS
from continuous_training.provider.hooks import ContinuousTrainingHook, configured_registry_page
from continuous_training.reports import card_page, drift_page, kept
from continuous_training.settings import Settings
from continuous_training.spec import MODEL_NAME
from continuous_training.steps import explained
from continuous_training.storage import Store
from continuous_training.ui import champions, drift, models

PREFIX = links.PAGES
STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = {path.name: path for path in STATIC.iterdir() if path.suffix in TYPES}
OFFLINE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox"
"""A report runs nothing and fetches nothing, whatever is in it."""

_log = logging.getLogger(__name__)

app = FastAPI(title="Continuous training: pages", docs_url=None, redoc_url=None, openapi_url=None)
open_to_readers = APIRouter(dependencies=[Depends(requires_access_dag("GET"))])
Key = Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")]


@app.exception_handler(ContinuousTrainingError)
def explain(request: Request, error: Exception) -> JSONResponse:
    """Say what failed; a retry helps only where something is down."""
    if isinstance(error, Transient):
        _log.warning("%s: %s", request.url.path, error)
        return JSONResponse({"detail": str(error)}, status.HTTP_503_SERVICE_UNAVAILABLE)
    code = status.HTTP_404_NOT_FOUND if isinstance(error, UsageError) else status.HTTP_409_CONFLICT
    return JSONResponse({"detail": str(error)}, code)


@app.get("/static/{name}", dependencies=[Depends(requires_authenticated())])
def show_file(name: str) -> FileResponse:
    """Return one of the pages' own scripts and pictures."""
    if name not in FILES:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "there is no such file")
    headers = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
    return FileResponse(FILES[name], media_type=TYPES[FILES[name].suffix], headers=headers)


@app.get("/models")
def list_models(
    request: Request,
    user: GetUserDep,
    offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
    search: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Return the models whose training the reader may see."""
    settings = _settings()
    names = {
        name
        for dag_id in get_auth_manager().get_authorized_dag_ids(user=user)
        if (name := dag_id.removesuffix(".train")) != dag_id and search.lower() in name
    }
    page = models.model_page(
        _ledger(settings.ledger), Path(settings.models), names, now=datetime.now(UTC), offset=offset, limit=limit
    )
    return _answer(request, page)


@open_to_readers.get("/dags/{dag_id}/drift")
def show_drift(
    request: Request,
    dag_id: str,
    windows: Annotated[int, Query(ge=1, le=drift.MOST_WINDOWS)] = 26,
    offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    search: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Return the map of columns by windows."""
    ledger = _ledger(_settings().ledger)
    found = drift.drift_map(ledger, _model(dag_id), windows=windows, offset=offset, limit=limit, search=search)
    return _answer(request, found)


@open_to_readers.get("/dags/{dag_id}/drift/column")
def show_column(request: Request, dag_id: str, start: datetime, end: datetime, name: str) -> Response:
    """Return one column in one window."""
    settings = _settings()
    found = drift.column_detail(
        _ledger(settings.ledger), Store(settings.artefacts), _model(dag_id), _window(start, end), name
    )
    return _answer(request, found)


@open_to_readers.get("/dags/{dag_id}/champions")
def show_champions(request: Request, dag_id: str) -> Response:
    """Return the past of a model."""
    return _answer(request, champions.timeline(_ledger(_settings().ledger), _model(dag_id)))


@open_to_readers.get("/dags/{dag_id}/decision")
def show_decision(request: Request, dag_id: str, key: Key) -> Response:
    """Return why a run ran, and what came of it."""
    settings, model = _settings(), _model(dag_id)
    ledger = _ledger(settings.ledger)
    found = explained.explain_run(ledger, Store(settings.artefacts), model, key)
    spec = models.model_file(Path(settings.models) / f"{model}.yaml")
    facts = found.facts.get("promote", {})
    # its number is another one where it was deleted in MLflow and registered again
    shown = next(
        (one.registry_version for one in ledger.history(model) if one.run_key == key and one.registry_version), None
    )
    facts = facts | ({"registry_version": shown} if shown else {})
    leads_to = links.result_links(configured_registry_page(), spec, facts) if spec else {}
    return _answer(request, found, links=leads_to)


@open_to_readers.get("/dags/{dag_id}/look")
def show_look(request: Request, dag_id: str, start: datetime, end: datetime) -> Response:
    """Return what was decided on a window, and on which evidence."""
    return _answer(request, _ledger(_settings().ledger).decision(_model(dag_id), _window(start, end)))


@open_to_readers.get("/dags/{dag_id}/card")
def show_card(dag_id: str, key: Key) -> HTMLResponse:
    """Return the model card of a run as a page of its own."""
    settings = _settings()
    explained.run_of(_ledger(settings.ledger), _model(dag_id), key)
    return _report(card_page(kept.model_card(Store(settings.artefacts), key)))


@open_to_readers.get("/dags/{dag_id}/drift/report")
def show_report(dag_id: str, start: datetime, end: datetime) -> HTMLResponse:
    """Return the drift report of a window as a page of its own."""
    settings = _settings()
    decided = _ledger(settings.ledger).decision(_model(dag_id), _window(start, end))
    return _report(drift_page(kept.drift_report(Store(settings.artefacts), decided.evidence)))


def _model(dag_id: str) -> str:
    model, _, kind = dag_id.rpartition(".")
    if kind not in KINDS or not re.fullmatch(MODEL_NAME, model):
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"{dag_id} is not the DAG of a model file")
    return model


def _window(start: datetime, end: datetime) -> Window:
    try:
        return Window(start=start, end=end)
    except ValueError as error:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from error


def _settings() -> Settings:
    return ContinuousTrainingHook().get_conn()


@lru_cache(maxsize=4)
def _ledger(url: str) -> Ledger:
    return Ledger(url)


def _answer(request: Request, value: BaseModel, **more: object) -> Response:
    """Return a value as JSON that the browser keeps, and asks about again."""
    body = JSONResponse(value.model_dump(mode="json") | more).body
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _report(page: str) -> HTMLResponse:
    headers = {
        "Content-Security-Policy": OFFLINE,
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(page, headers=headers)


app.include_router(open_to_readers)
