"""One real server process, asked over HTTP."""

import json
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pyarrow as pa
import pytest

from continuous_training.deployers.processes import STARTUP_SECONDS, ServerProcess
from continuous_training.serving.app import MAX_BODY
from continuous_training.serving.asked import MAX_ROWS
from continuous_training.trainers import Ensemble, Sklearn
from served_model import FEATURES, MODEL, ask, expected, listening, make_rows, pointer, records, stream, train

ROW = {"distance": 900.0, "wind": 3.0, "carrier": "UA"}
RAW = {"headers": {"content-type": "application/json"}, "timeout": 60}


@pytest.fixture(scope="module")
def url(tmp_path_factory, trained):
    home = tmp_path_factory.mktemp("server")
    shutil.copytree(trained[0], home / "bundles" / "a")
    with listening() as listener, ServerProcess(pointer(home, 3), listener) as server:
        assert server.report(STARTUP_SECONDS) == ""
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_ping_and_version_say_what_is_served(url):
    assert httpx.get(f"{url}/ping").status_code == 200
    version = httpx.get(f"{url}/version")
    assert version.json() == {"model": MODEL, "version": "3", "fence": 3, "bundle": "a"}


def test_training_rows_over_http_get_the_answers_of_the_model_itself(url, home):
    rows = make_rows(seed=3)
    answered = ask(url, records(rows)).json()["predictions"]
    assert answered == pytest.approx(expected(home, "a", rows), rel=0, abs=1e-9)


def test_mlflows_own_client_encoding_with_nan_is_understood(url, home):
    rows = make_rows(40)
    body = json.dumps({"dataframe_split": rows[[*FEATURES.columns]].to_dict(orient="split")})
    assert "NaN" in body
    answered = httpx.post(f"{url}/invocations", content=body, **RAW).json()["predictions"]
    assert answered == pytest.approx(expected(home, "a", rows), rel=0, abs=1e-9)


def test_every_answer_says_who_gave_it(url):
    for answer in (ask(url, [ROW]), ask(url, [{}]), httpx.get(f"{url}/ping"), httpx.get(f"{url}/nowhere")):
        assert (answer.headers["ct-version"], answer.headers["ct-fence"]) == ("3", "3")
        assert "server" not in answer.headers


def test_no_rows_get_no_predictions(url):
    assert ask(url, []).json() == {"predictions": []}


def test_a_category_never_seen_and_unknown_columns_are_answered(url):
    answer = ask(url, [{**ROW, "carrier": "never seen", "unknown": [1, {}]}])
    assert 0 <= answer.json()["predictions"][0] <= 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"distance": 900.0, "carrier": "UA"}, "column 'wind' is missing"),
        ({**ROW, "wind": "windy"}, "column 'wind' must hold numbers, got 'windy'"),
        ({**ROW, "wind": {}}, "column 'wind' must hold numbers"),
        ({**ROW, "carrier": ["UA"]}, "column 'carrier' must hold categories"),
    ],
)
def test_a_row_the_model_cannot_use_is_refused_with_the_column(url, row, said):
    answer = ask(url, [row])
    assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
    assert said in answer.json()["message"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("value", [10**400, 1e308, -0.0, True, None])
def test_numbers_at_the_edges_are_answered(url, value):
    assert ask(url, [{**ROW, "wind": value}]).status_code == 200


@pytest.mark.parametrize(
    "content_type", ["text/csv", "application/jsonp", "", "multipart/form-data; boundary=application/json"]
)
def test_another_content_type_is_refused(url, content_type):
    answer = httpx.post(f"{url}/invocations", content=b"{}", headers={"content-type": content_type})
    assert answer.status_code == 415
    assert "send application/json" in answer.json()["message"]


def test_a_content_type_with_a_charset_is_accepted(url):
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert (
        httpx.post(f"{url}/invocations", content=json.dumps({"instances": [[1, 2, "UA"]]}), headers=headers).status_code
        == 200
    )


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_larger_than_allowed_is_refused_and_the_server_goes_on(url, chunked):
    piece = b" " * 2**20
    pieces = MAX_BODY // len(piece) + 1
    body = (piece for _ in range(pieces)) if chunked else piece * pieces
    with httpx.Client() as client:
        answer = client.post(f"{url}/invocations", content=body, **RAW)
        assert (answer.status_code, answer.json()["error_code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")
        assert ask(url, [ROW], client).status_code == 200


def test_the_largest_body_and_the_most_rows_are_answered(url):
    body = json.dumps({"instances": [[1, 2, "UA"]] * MAX_ROWS}).encode()
    answer = httpx.post(f"{url}/invocations", content=body + b" " * (MAX_BODY - len(body)), **RAW)
    assert len(answer.json()["predictions"]) == MAX_ROWS


def test_one_row_too_many_is_refused(url):
    body = json.dumps({"instances": [[1, 2, "UA"]] * (MAX_ROWS + 1)})
    answer = httpx.post(f"{url}/invocations", content=body, **RAW)
    assert answer.status_code == 413
    assert "100,001 rows" in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/invocations", 405),
        ("POST", "/ping", 405),
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/../../etc/passwd", 404),
    ],
)
def test_anything_else_is_refused_in_json(url, method, path, status):
    answer = httpx.request(method, url + path)
    assert answer.status_code == status
    assert "POST /invocations" in answer.json()["message"]


def test_a_name_that_is_not_loopbacks_is_not_answered(url):
    assert httpx.get(f"{url}/version", headers={"host": "evil.example"}).status_code == 400
    assert httpx.get(f"{url}/version", headers={"host": "localhost:80"}).status_code == 200


def test_no_origin_is_let_in(url):
    answer = httpx.options(
        f"{url}/invocations", headers={"origin": "http://a.example", "access-control-request-method": "POST"}
    )
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_many_clients_at_once_get_their_own_answers(url, home):
    rows = make_rows(64)
    with httpx.Client() as client, ThreadPoolExecutor(8) as threads:
        answers = threads.map(lambda row: ask(url, [row], client).json()["predictions"][0], records(rows))
        assert list(answers) == pytest.approx(expected(home, "a", rows), rel=0, abs=1e-9)


def test_a_scikit_learn_model_is_served_the_same_way(home):
    train(home / "bundles" / "d", 3, Sklearn(estimator="LogisticRegression"))
    rows = make_rows(50)
    with listening() as listener, ServerProcess(pointer(home, 1, "d"), listener) as server:
        assert server.report(STARTUP_SECONDS) == ""
        answered = ask(f"http://127.0.0.1:{listener.getsockname()[1]}", records(rows)).json()["predictions"]
    assert answered == pytest.approx(expected(home, "d", rows), rel=0, abs=1e-9)


@pytest.mark.parametrize("bundle", ["a", "voting"])
def test_a_server_of_a_lightgbm_model_loads_no_library_for_training(home, bundle):
    if bundle == "voting":
        train(home / "bundles" / bundle, 3, Ensemble(rounds=20))
    with listening() as listener, ServerProcess(pointer(home, 1, bundle), listener) as server:
        assert server.report(STARTUP_SECONDS) == ""
        rows = make_rows(30)
        answer = httpx.post(
            f"http://127.0.0.1:{listener.getsockname()[1]}/invocations",
            content=stream(rows),
            headers={"content-type": "application/vnd.apache.arrow.stream"},
        )
        answered = pa.ipc.open_stream(answer.content).read_all()["predictions"].to_pylist()
        assert answered == pytest.approx(expected(home, bundle, rows), rel=0, abs=1e-9)
        loaded = {mapped.path for mapped in psutil.Process(server.process.pid).memory_maps()}
    assert any("lightgbm" in path for path in loaded)
    assert not [path for path in loaded if "/sklearn/" in path or "/pandas/" in path]


def test_a_broken_bundle_is_reported_and_nothing_answers(home):
    with listening() as listener, ServerProcess(pointer(home, 1, "c"), listener) as server:
        assert "ArtefactCorrupt: " in server.report(STARTUP_SECONDS)
        assert server.ended == "the server ended with exit code 1"


def test_a_server_that_is_killed_while_starting_says_how_it_ended(home):
    with listening() as listener, ServerProcess(pointer(home, 1), listener) as server:
        server.process.kill()
        assert server.report(STARTUP_SECONDS) == "the server ended with signal 9 before it was ready"


def test_a_server_whose_starter_is_gone_ends(home):
    with listening() as listener, ServerProcess(pointer(home, 1), listener) as server:
        assert server.report(STARTUP_SECONDS) == ""
        server.control.close()
        server.process.wait(30)
        assert server.ended


def test_a_retired_server_answers_what_has_begun_and_asks_its_clients_to_leave(home):
    body = json.dumps({"dataframe_records": [ROW]}).encode()
    request = b"POST /invocations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    request += b"content-length: %d\r\n\r\n" % len(body) + body
    with listening() as listener, ServerProcess(pointer(home, 1), listener) as server:
        assert server.report(STARTUP_SECONDS) == ""
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        begun = {piece: socket.create_connection(listener.getsockname()) for piece in (20, len(request) - 5)}
        for piece, connection in begun.items():
            connection.sendall(request[:piece])
        with httpx.Client() as client:
            assert client.get(f"{url}/ping").headers.get("connection") != "close"
            server.retire()
            while client.get(f"{url}/ping").headers.get("connection") != "close":
                pass
        for connection in begun.values():
            # Ten times as long as the server takes to begin its end: by then it has closed what it was going to close.
            connection.settimeout(1)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(60)
        for piece, connection in begun.items():
            with connection:
                connection.sendall(request[piece:])
                answer = connection.makefile("rb").read()
            assert b"200 OK" in answer
            assert b"predictions" in answer
        server.process.wait(30)
