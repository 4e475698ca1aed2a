"""Requests made up from the OpenAPI document, right and wrong ones, never make a server fail."""

import threading

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from continuous_training.serving.app import ModelApp
from continuous_training.serving.openapi import document
from continuous_training.serving.server import ModelServer
from continuous_training.trainers.bundle import load_bundle
from served_model import listening, release

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def bundle(trained):
    return load_bundle(trained[0])


@pytest.fixture(scope="module")
def url(bundle):
    app = ModelApp(release(1), bundle, ["127.0.0.1"])
    app.ready = True
    with listening() as listener:
        server = ModelServer(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(60)


@pytest.mark.parametrize("mode", GenerationMode)
def test_no_request_makes_the_server_fail(bundle, url, mode):
    schema = schemathesis.openapi.from_dict(document(release(1), bundle.manifest))
    wrong = mode is GenerationMode.NEGATIVE
    seen = set()
    for operation in (found.ok() for found in schema.get_all_operations()):
        if wrong and operation.method == "get":
            continue  # it takes nothing that could be wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=50 if operation.method == "post" else 1,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def check(case):
            answer = case.call(base_url=url)
            # A method that a path does not take, or an answer that is no JSON, is not in the document.
            case.validate_response(answer, checks=CHECKS if answer.status_code != 405 else CHECKS[:1])
            seen.add(answer.status_code)

        check()
    assert (400 if wrong else 200) in seen


def test_the_document_has_the_routes_of_the_server(bundle):
    offered = {(route.method.lower(), path) for path, route in ModelApp(release(1), bundle, [])._routes.items()}
    paths = document(release(1), bundle.manifest)["paths"]
    assert {(method, path) for path, methods in paths.items() for method in methods} == offered
