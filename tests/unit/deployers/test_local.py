"""The whole way: a release is deployed, answers over HTTP, and is replaced."""

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256

import httpx
import psutil
import pytest

from continuous_training.core.digest import canonical
from continuous_training.core.errors import ArtefactCorrupt, Conflict, DeploymentFailed, UsageError
from continuous_training.deployers.handover import ServingFolder
from continuous_training.deployers.local import Local, served, stop
from served_model import (
    FEATURES,
    MODEL,
    ask,
    assert_nothing_runs,
    expected,
    make_rows,
    records,
    release,
    settings,
    status_when,
)

ROWS = make_rows(seed=3)


def deploy(home, fence, bundle="a", port=0):
    return Local(port=port).deploy(release(fence, bundle), home / "bundles" / bundle, settings=settings(home))


def version(url):
    return httpx.get(f"{url}/version", timeout=60).json()["version"]


def pid(home):
    return ServingFolder(home, MODEL).supervisor()


def with_golden(home, change):
    """Change the golden rows of bundle `c`, with the digest that fits."""
    folder = home / "bundles" / "c"
    manifest, golden = (
        json.loads((home / "bundles" / "a" / name).read_text()) for name in ("bundle.json", "golden.json")
    )
    change(golden)
    data = canonical(golden).encode()
    manifest["digests"]["golden.json"] = sha256(data).hexdigest()
    (folder / "golden.json").write_bytes(data)
    (folder / "bundle.json").write_text(canonical(manifest))
    (folder / "model.txt").write_bytes((home / "bundles" / "a" / "model.txt").read_bytes())


def test_a_deployed_model_answers_every_training_row_as_in_training(home):
    url = deploy(home, 1)
    assert url.startswith("http://127.0.0.1:")
    for form in (
        {"dataframe_records": records(ROWS)},
        {"inputs": {name: list(map(dict.get, records(ROWS), [name] * len(ROWS))) for name in FEATURES.columns}},
    ):
        answered = httpx.post(f"{url}/invocations", json=form, timeout=60).json()["predictions"]
        assert answered == pytest.approx(expected(home, "a", ROWS), rel=0, abs=1e-9)


def test_a_newer_release_replaces_the_one_before_on_the_same_url(home):
    url = deploy(home, 1, "a")
    before = ask(url, records(ROWS)).json()
    assert deploy(home, 2, "b") == url
    assert version(url) == "2"
    assert ask(url, records(ROWS)).json() != before
    state = served(MODEL, home)
    assert (state["state"], state["version"], state["fence"], state["bundle"], state["url"]) == (
        "ready",
        "2",
        2,
        "b",
        url,
    )


def test_the_same_release_again_changes_nothing(home):
    url = deploy(home, 1)
    before = (ServingFolder(home, MODEL).read_pointer(), [child.pid for child in psutil.Process(pid(home)).children()])
    assert deploy(home, 1) == url
    assert (
        ServingFolder(home, MODEL).read_pointer(),
        [child.pid for child in psutil.Process(pid(home)).children()],
    ) == before


@pytest.mark.parametrize(("fence", "bundle"), [(4, "b"), (5, "b")])
def test_a_release_that_is_not_newer_is_refused_before_anything_is_started(home, fence, bundle):
    url = deploy(home, 5)
    with pytest.raises(Conflict, match=rf"fence {fence}, but version 5 with fence 5.*a retry gives the same"):
        deploy(home, fence, bundle)
    assert version(url) == "5"


def test_a_broken_bundle_is_found_before_the_pointer_moves(home):
    url = deploy(home, 1)
    with pytest.raises(
        DeploymentFailed,
        match=r"(?s)version 2 \(fence 2\) does not serve: smoke test: ArtefactCorrupt: model.txt.*end of its log",
    ):
        deploy(home, 2, "c")
    assert ServingFolder(home, MODEL).read_pointer().fence == 1
    assert version(url) == "1"


def test_a_model_that_answers_otherwise_than_in_training_is_not_served(home):
    def change(golden):
        golden["predictions"][3] += 1e-6

    with_golden(home, change)
    with pytest.raises(DeploymentFailed, match="golden row 3"):
        deploy(home, 1, "c")
    assert served(MODEL, home) is None


def test_golden_rows_that_http_cannot_carry_are_refused_with_its_answer(home):
    def change(golden):
        golden["rows"][0].pop("wind")
        golden["predictions"][0] = expected(home, "a", make_rows(1).assign(**golden["rows"][0], wind=None))[0]

    with_golden(home, change)
    with pytest.raises(DeploymentFailed, match=r"HTTP 400.*missing wind"):
        deploy(home, 1, "c")


def test_a_release_that_fails_after_its_smoke_test_leaves_the_one_before_and_can_be_tried_again(home, monkeypatch):
    url = deploy(home, 1)
    monkeypatch.setattr("continuous_training.deployers.local._smoke_test", lambda _: None)
    with pytest.raises(DeploymentFailed, match=r"model\.txt"):
        deploy(home, 2, "c")
    assert version(url) == "1"
    with_golden(home, lambda golden: None)
    assert deploy(home, 2, "c") == url
    assert version(url) == "2"


def test_a_deployment_after_the_supervisor_was_killed_heals_on_the_same_url(home):
    url = deploy(home, 1)
    os.kill(pid(home), signal.SIGKILL)
    assert_nothing_runs(home)
    assert served(MODEL, home) is None
    assert deploy(home, 1) == url
    assert version(url) == "1"


def test_deployments_at_the_same_time_end_with_the_newest(home):
    def attempt(fence):
        try:
            return deploy(home, fence, "ab"[fence % 2])
        except Conflict:
            return "conflict"

    with ThreadPoolExecutor(4) as deployers:
        results = list(deployers.map(attempt, (3, 1, 2, 3)))
    url = results[0]
    assert results[3] == url
    assert set(results[1:3]) <= {url, "conflict"}
    assert version(url) == "3"
    assert ServingFolder(home, MODEL).read_pointer().fence == 3


def test_a_configured_port_is_used_and_a_change_of_it_followed(home):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        first, second = one.getsockname()[1], two.getsockname()[1]
    assert deploy(home, 1, port=first) == f"http://127.0.0.1:{first}"
    assert deploy(home, 1, port=second) == f"http://127.0.0.1:{second}"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{first}/ping")
    assert deploy(home, 2) == f"http://127.0.0.1:{second}"


def test_metrics_the_age_of_a_model_and_its_strictness_are_as_the_model_file_says(home):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = release(1).model_copy(update={"data_cutoff": datetime(2024, 3, 1, tzinfo=UTC)})
    deployer = Local(metrics_port=port, age={"maximum": "30 days"}, strict=True)
    url = deployer.deploy(told, home / "bundles" / "a", settings=settings(home))
    assert httpx.get(f"{url}/version").headers["ct-stale"] == "true"
    assert ask(url, [{**records(make_rows(1))[0], "weight": 1}]).status_code == 400
    assert "ct_server_model_stale{" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert httpx.get(f"http://127.0.0.1:{port}/rollout").json() == {"plan": None, "counts": None}
    assert deploy(home, 1) == url  # without the port for metrics
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


def test_a_port_that_is_taken_leaves_the_one_before_serving(home):
    url = deploy(home, 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DeploymentFailed, match=rf"port {port} cannot be used.*{url} keeps serving"):
            deploy(home, 2, port=port)
    assert version(url) == "1"


def test_a_first_deployment_on_a_taken_port_fails_with_the_supervisors_words(home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            DeploymentFailed, match=rf"(?s)no supervisor could be started.*cannot listen on 127.0.0.1 port {port}"
        ):
            deploy(home, 1, port=port)
    assert deploy(home, 1, port=port).endswith(str(port))


def test_a_pointer_that_cannot_be_read_stops_the_deployment(home):
    folder = ServingFolder(home, MODEL)
    folder.path.mkdir(parents=True)
    (folder.path / "pointer.json").write_text("{}")
    with pytest.raises(ArtefactCorrupt, match="Delete the file and deploy again"):
        deploy(home, 1)


def test_no_secret_of_the_caller_reaches_a_server(home, monkeypatch):
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "hunter2")
    deploy(home, 1)
    supervisor = psutil.Process(pid(home))
    for process in (supervisor, *supervisor.children()):
        assert "hunter2" not in str(process.environ())
        assert process.environ()["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
        assert process.cwd() == "/"


def test_stop_ends_what_runs_and_says_whether_it_did(home):
    assert stop(MODEL, home) is False
    assert served(MODEL, home) is None
    url = deploy(home, 1)
    assert stop(MODEL, home) is True
    assert_nothing_runs(home)
    assert served(MODEL, home) is None
    assert stop(MODEL, home) is False
    assert deploy(home, 1) == url


def test_stop_kills_only_what_is_a_supervisor(home):
    folder = ServingFolder(home, MODEL)
    with folder.supervise() as lock:
        lock.write(str(os.getpid()).encode())
        lock.flush()
        assert folder.supervisor() == os.getpid()
        stop(MODEL, home)


def test_a_stopped_supervisor_that_does_not_obey_is_killed(home, monkeypatch):
    deploy(home, 1)
    monkeypatch.setattr("continuous_training.deployers.local._STOP_SECONDS", 0.5)
    os.kill(pid(home), signal.SIGSTOP)
    assert stop(MODEL, home) is True


@pytest.mark.parametrize("model", ["../x", "a/b", "", ".", "a b"])
def test_a_name_that_is_no_model_touches_no_file(home, model):
    with pytest.raises(UsageError, match="is not the name of a model"):
        served(model, home)


def test_a_deployment_while_a_server_is_started_again_waits_for_it(home):
    url = deploy(home, 1)
    [server] = psutil.Process(pid(home)).children()
    server.kill()
    status_when(home, lambda status: status.state == "starting")
    assert deploy(home, 1) == url
