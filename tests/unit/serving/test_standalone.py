"""`ct serve`: one real server process in the foreground, as a container runs it."""

import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import httpx
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from prometheus_client.parser import text_string_to_metric_families

from continuous_training.core.rollout import RolloutPlan
from continuous_training.deployers.base import Release
from continuous_training.deployers.golden import LOOPBACK
from continuous_training.packages import Contents, open_package, write_package
from continuous_training.serving.app import ModelApp
from continuous_training.serving.standalone import StandaloneServer
from continuous_training.storage import Store, folder_digest
from continuous_training.trainers.bundle import load_bundle
from served_model import MODEL, ask, expected, listening, make_rows, records, release

READY = re.compile(rb"ready on \S+ port (\d+)")
METRICS = re.compile(rb"metrics on \S+ port (\d+)")


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
    with metered(*arguments, **variables) as (process, url, _):
        yield process, url


@contextmanager
def metered(*arguments, **variables):
    """Give the process, its URL and that of its admin port, once each of its workers has said that it is ready."""
    with command("--port", 0, *arguments, **variables) as process:
        workers = int(arguments[arguments.index("--workers") + 1]) if "--workers" in arguments else 1
        try:
            said = b""
            while len(ready := READY.findall(said)) < workers:
                line = process.stderr.readline()
                assert line, said.decode()
                said += line
            ports = {port.decode() for port in METRICS.findall(said)} or {""}
            yield process, f"http://127.0.0.1:{ready[0].decode()}", f"http://127.0.0.1:{ports.pop()}"
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


@pytest.mark.parametrize(("arguments", "variables"), [(("--strict",), {}), ((), {"CT_STRICT": "true"})])
def test_asked_to_be_strict_it_refuses_what_training_never_saw(home, arguments, variables):
    with served(home / "bundles" / "a", *arguments, **variables) as (_, url):
        answer = ask(url, [{**records(make_rows(1))[0], "carrier": "never seen"}])
    assert (answer.status_code, "column 'carrier'" in answer.text) == (400, True)


def test_it_follows_the_plan_in_a_file_and_tells_what_it_counts(home, tmp_path):
    file = tmp_path / "plan" / "rollout.json"
    file.parent.mkdir()
    told = ("--version", "3", "--fence", 3, "--admin-port", 0, "--drain", 0)
    with (
        served(home / "bundles" / "b", "--version", "4", "--plan", tmp_path / "none") as (_, challenger),
        metered(home / "bundles" / "a", *told, CT_PLAN=str(file), CT_HOME=str(tmp_path)) as (process, url, admin),
    ):
        rows = records(make_rows(1))
        assert ask(url, rows).headers["ct-version"] == "3"
        plan = RolloutPlan(
            fence=3, begun=datetime.now(UTC), mode="canary", share=1, champion="3", challenger="4", url=challenger, timeout=20,
            salt="a salt of its own",
        )  # fmt: skip
        file.write_text(plan.model_dump_json())
        assert RolloutPlan.model_validate(httpx.get(f"{admin}/rollout").json()["plan"]) == plan
        answer = ask(url, rows)
        assert (answer.headers["ct-version"], answer.headers["ct-share"]) == ("4", "canary 1")
        assert httpx.get(f"{admin}/rollout").json()["counts"]["challenger"]["requests"] == 1
        assert 'ct_router_requests_total{arm="challenger",model="flights"} 1.0' in httpx.get(f"{admin}/metrics").text
        process.terminate()
        assert process.wait(60) == 0


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
        assert process.wait(60) == 0  # not after the 1,000 seconds


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
        (["nowhere"], 2, "nowhere is no folder here, no digest and no model with a champion in the ledger"),
        (["No-Where"], 2, "'No-Where' is no folder here"),
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


@pytest.fixture
def package(home):
    """Return a signed package of the bundle `a`, the key's public half, and the digest of the bundle."""
    _, digest = stored(home)
    key = ec.generate_private_key(ec.SECP256R1())
    (home / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (home / "key.pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    named = Release(model=MODEL, version="7", fence=9, bundle=digest)
    contents = Contents(release=named, created=datetime(2024, 3, 1, tzinfo=UTC), facts={})
    write_package(home / "bundles" / "a", contents, home / "package", private_key=home / "key")
    return home / "package", home / "key.pub", digest


def test_a_signed_package_is_served_as_the_release_it_says_it_is(home, package):
    layout, public_key, digest = package
    rows = make_rows(20)
    with served(layout, CT_HOME=str(home / "cache"), CT_PUBLIC_KEY=str(public_key)) as (_, url):
        assert httpx.get(f"{url}/version").json() == {"model": MODEL, "version": "7", "fence": 9, "bundle": digest}
        assert ask(url, records(rows)).json()["predictions"] == pytest.approx(
            expected(home, "a", rows), rel=0, abs=1e-9
        )
    with served(layout, "--fence", 10, CT_HOME=str(home / "cache")) as (_, url):  # as after a rollback
        assert httpx.get(f"{url}/version").json() == {"model": MODEL, "version": "7", "fence": 10, "bundle": digest}


def test_with_a_public_key_only_what_was_signed_is_served(home, package):
    _, public_key, digest = package
    store, _ = stored(home)
    for bundle in (home / "bundles" / "a", digest):
        code, said = refused(bundle, "--public-key", public_key, **store)
        assert code == 1
        assert "has no model.sig, and only what was signed" in said


def test_a_release_beside_another_bundle_is_refused(home, package):
    layout, _, _ = package
    opened = open_package(layout, home / "cache")
    (opened / "release.json").write_text(release(1).model_dump_json())
    code, said = refused(opened)
    assert code == 1
    assert "release.json in" in said
    assert "names another bundle than the one beside it" in said


def numbers(text, name):
    """Return the samples of a metric that are not zero, by their labels besides model and version."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.value:
                labels = {
                    label: value for label, value in sorted(sample.labels.items()) if label not in {"model", "version"}
                }
                found[tuple(labels.values())] = sample.value
    return found


def alive(pid):
    """Return the children of a process that have not ended; one may end while it is asked."""
    found = []
    for child in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):
            found += [child] if child.status() != psutil.STATUS_ZOMBIE else []
    return found


def test_workers_share_the_port_and_metrics_tell_of_all_of_them(home):
    options = (
        "--workers",
        2,
        "--admin-port",
        0,
        "--version",
        "7",
        "--data-cutoff",
        "2024-03-01T00:00:00Z",
        "--max-age",
        "1 day",
    )
    rows = make_rows(40)
    with metered(home / "bundles" / "a", *options) as (process, url, admin):
        workers = psutil.Process(process.pid).children()
        assert len(workers) == 2
        for row in records(rows):  # each on a connection of its own, for whichever worker takes it
            answer = ask(url, [row])
            assert (answer.status_code, answer.headers["ct-stale"]) == (200, "true")
        assert ask(url, [{}]).status_code == 400
        text = httpx.get(f"{admin}/metrics").text
        assert numbers(text, "ct_server_rows_total")[()] == 40
        assert numbers(text, "ct_server_requests_total")["invocations", "2xx"] >= 41
        assert numbers(text, "ct_server_refusals_total") == {("bad_request",): 1}
        assert numbers(text, "ct_server_model_info") == {(load_digest(home), "1"): 1}
        assert numbers(text, "ct_server_model_stale") == {(): 1}
        assert numbers(text, "ct_server_model_age_seconds")[()] > 86400
        assert numbers(text, "ct_server_prediction_score_count")[()] == 40
        assert numbers(text, "ct_server_request_duration_seconds_bucket")["+Inf", "invocations"] >= 42
        assert httpx.get(f"{url}/metrics").status_code == 404
        assert httpx.get(f"{admin}/invocations").status_code == 404
        workers[0].kill()
        while len(alive(process.pid)) < 2:
            pass
        assert httpx.get(f"{url}/ping").status_code == 200
        assert numbers(httpx.get(f"{admin}/metrics").text, "ct_server_rows_total")[()] >= 40
        process.terminate()
        assert process.wait(60) == 0
    assert not [worker for worker in workers if worker.is_running()]


def load_digest(home):
    return folder_digest(home / "bundles" / "a", ("bundle.json", *load_bundle(home / "bundles" / "a").manifest.digests))


def test_workers_end_with_the_process_that_started_them(home):
    with metered(home / "bundles" / "a", "--workers", 2) as (process, _, _):
        workers = psutil.Process(process.pid).children()
        process.kill()
        assert not psutil.wait_procs(workers, timeout=30)[1]


def test_workers_that_cannot_begin_end_all_with_their_reason(home):
    code, said = refused(home / "bundles" / "c", "--workers", 2)
    assert code == 1
    assert "model.txt in" in said


def test_private_metrics_are_for_whoever_has_the_token(home):
    code, said = refused(home / "bundles" / "a", "--private-metrics", "--admin-port", 0)
    assert (code, "set CT_SERVE_TOKEN" in said) == (2, True)
    options = ("--private-metrics", "--admin-port", 0)
    with metered(home / "bundles" / "a", *options, CT_SERVE_TOKEN="secret") as (_, _, admin):
        asked = [httpx.get(f"{admin}/metrics", headers=headers).status_code for headers in (
            {}, {"authorization": "Bearer other"}, {"authorization": "Bearer secret"},
        )]  # fmt: skip
    assert asked == [401, 401, 200]


def test_it_goes_on_when_the_store_it_came_from_is_gone(home):
    store, digest = stored(home)
    with served(digest, **store) as (_, url):
        shutil.rmtree(home / "store")
        shutil.rmtree(home / "cache")
        assert ask(url, records(make_rows(50))).status_code == 200
        assert httpx.get(f"{url}/v2/health/ready").status_code == 200
