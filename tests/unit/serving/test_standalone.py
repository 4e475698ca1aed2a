"""`ct serve`: one real server process in the foreground, as a container runs it."""

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
import pytest

from continuous_training.deployers.golden import LOOPBACK
from continuous_training.serving.app import ModelApp
from continuous_training.serving.standalone import StandaloneServer
from continuous_training.storage import Store
from continuous_training.trainers.bundle import load_bundle
from served_model import MODEL, ask, expected, listening, make_rows, records, release

READY = re.compile(rb"ready on \S+ port (\d+)")


def command(*arguments, **variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CT_")}
    return subprocess.Popen(
        [sys.executable, "-m", "continuous_training.cli", "serve", *map(str, arguments)],
        env=kept | variables,
        stderr=subprocess.PIPE,
    )


@contextmanager
def served(*arguments, **variables):
    """Give the process and its URL once it has said that it is ready."""
    with command("--port", 0, *arguments, **variables) as process:
        try:
            said = b""
            while not (ready := READY.search(said)):
                line = process.stderr.readline()
                assert line, said.decode()
                said += line
            yield process, f"http://127.0.0.1:{ready[1].decode()}"
        finally:
            process.kill()


def refused(*arguments, **variables):
    with command("--port", 0, *arguments, **variables) as process:
        said = process.communicate(timeout=120)[1].decode()
    return process.returncode, said


def stored(home):
    """Return the variables of a store with the bundle `a`, and its digest there."""
    digest = Store(str(home / "store")).put_folder(
        {path.name: path.read_bytes() for path in (home / "bundles" / "a").iterdir()}
    )
    return {"CT_ARTEFACTS": str(home / "store"), "CT_HOME": str(home / "cache")}, digest


def test_a_digest_is_fetched_and_served_with_the_names_that_variables_give(home):
    store, digest = stored(home)
    told = {"CT_BUNDLE": digest, "CT_MODEL": MODEL, "CT_VERSION": "7", "CT_FENCE": "9", "CT_HOSTS": "flights,*.example"}
    rows = make_rows(50)
    with served(**store, **told) as (_, url):
        assert httpx.get(f"{url}/version").json() == {"model": MODEL, "version": "7", "fence": 9, "bundle": digest}
        assert ask(url, records(rows)).json()["predictions"] == pytest.approx(
            expected(home, "a", rows), rel=0, abs=1e-9
        )
        codes = {
            host: httpx.get(f"{url}/version", headers={"host": host}).status_code
            for host in ("flights:80", "a.example", "localhost", "example", "evil.test")
        }
        assert codes == {"flights:80": 200, "a.example": 200, "localhost": 200, "example": 400, "evil.test": 400}


def test_a_folder_has_the_digest_the_store_would_give_it(home):
    _, digest = stored(home)
    (home / "bundles" / "a" / "notes").mkdir()
    with served(home / "bundles" / "a") as (_, url):
        told = httpx.get(f"{url}/version").json()
    assert told == {"model": MODEL, "version": digest[:12], "fence": 1, "bundle": digest}


def test_its_health_is_told_under_any_name(home):
    with served(home / "bundles" / "a") as (_, url):
        for probe in ("live", "ready"):
            assert httpx.get(f"{url}/v2/health/{probe}", headers={"host": "10.1.2.3:8080"}).status_code == 200


def test_told_to_end_it_is_not_ready_goes_on_answering_for_a_while_and_ends_well(home):
    with served(home / "bundles" / "a", "--drain", 1) as (process, url), httpx.Client() as client:
        process.terminate()
        while client.get(f"{url}/v2/health/ready").status_code != 503:
            pass
        answer = ask(url, records(make_rows(1)), client)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert client.get(f"{url}/v2/health/live").status_code == 200
        assert process.wait(60) == 0


def test_a_second_signal_ends_it_at_once(home):
    with served(home / "bundles" / "a", "--drain", 1000) as (process, url):
        process.terminate()
        while httpx.get(f"{url}/v2/health/ready").status_code != 503:
            pass
        process.terminate()
        process.wait(60)


def test_a_server_that_answers_its_golden_rows_otherwise_is_never_ready(home):
    bundle = load_bundle(home / "bundles" / "b")
    app = ModelApp(release(1), bundle, hosts=[LOOPBACK])
    with listening() as listener:
        server = StandaloneServer(app, home / "bundles" / "a", listener.getsockname(), drain=0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        thread.join(60)
    assert not thread.is_alive()
    assert "the golden rows were answered" in server.problem
    assert not app.ready


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["bundles/c"], 1, "model.txt in"),
        (["bundles/a", "--model", "other"], 2, "is a bundle of flights, not of other"),
        (["bundles/a", "--host", "192.0.2.1"], 2, "cannot listen on 192.0.2.1"),
        (["bundles/a", "--fence", "0"], 2, "fence is '0': Input should be greater than or equal to 1"),
        (["bundles/a", "--version", "one two"], 2, "version is 'one two'"),
        (["nowhere"], 2, "'nowhere' is no folder here"),
        (["0" * 64], 1, "object 000000000000 is not in"),
        ([], 2, "bundle is not given; correct the argument or CT_BUNDLE"),
    ],
)
def test_what_cannot_be_served_is_refused_in_words(home, monkeypatch, arguments, code, said):
    monkeypatch.chdir(home)
    ended = refused(*arguments, CT_HOME=str(home / "cache"))
    assert ended[0] == code
    assert said in ended[1]
    assert "Traceback" not in ended[1]


def test_a_stored_bundle_that_was_changed_is_refused(home):
    store, digest = stored(home)
    for path in (home / "store" / "objects").iterdir():
        if path.stat().st_size > 10_000:
            path.write_bytes(path.read_bytes() + b"\n")
    code, said = refused(digest, **store)
    assert code == 1
    assert "holds other bytes than were written" in said
