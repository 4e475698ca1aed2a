"""A real supervisor with real servers; the pointer is moved by hand."""

import shutil
import signal
import socket
import subprocess
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import psutil
import pytest

from continuous_training.deployers.base import Freshness
from continuous_training.deployers.handover import ServingFolder
from continuous_training.deployers.processes import environment, python
from served_model import MODEL, ask, assert_nothing_runs, expected, listening, make_rows, pointer, records, status_when

SWAPS = 10
ROWS = make_rows(20)


@contextmanager
def supervising(home, *options):
    """Run a supervisor in the foreground and end it."""
    folder = ServingFolder(home, MODEL)
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.log.open("ab") as log:
        process = subprocess.Popen(
            python("serving", str(home), MODEL, *options), stdout=log, stderr=log, env=environment()
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def serve(home, fence, bundle="a"):
    """Move the pointer and return the status when the release is served."""
    ServingFolder(home, MODEL).write_pointer(pointer(home, fence, bundle))
    return status_when(home, lambda status: status.state == "ready" and status.fence == fence)


def test_metrics_are_told_on_a_port_that_stays_while_releases_are_swapped(home):
    with listening() as free:
        port = free.getsockname()[1]
    with supervising(home, "--metrics-port", str(port)):
        for fence in (1, 2):
            status = serve(home, fence)
            assert status.metrics_port == port
            assert ask(status.url, records(ROWS)).headers["ct-fence"] == str(fence)
            while f'version="{fence}"' not in (told := httpx.get(f"http://127.0.0.1:{port}/metrics").text):
                pass  # the one before may still end
            assert f'ct_server_rows_total{{model="flights",version="{fence}"}} 20.0' in told


def test_a_pointer_says_when_its_model_is_too_old(home):
    cutoff = datetime.now(UTC) - timedelta(days=40)
    with supervising(home):
        for fence, past, code, stale in ((1, "flag", 200, "true"), (2, "refuse", 503, "true")):
            told = pointer(home, fence).model_copy(
                update={"data_cutoff": cutoff, "age": Freshness(maximum="30 days", past=past)}
            )
            ServingFolder(home, MODEL).write_pointer(told)
            status = status_when(home, lambda status, fence=fence: status.state == "ready" and status.fence == fence)
            answer = ask(status.url, records(ROWS))
            assert (answer.status_code, answer.headers["ct-stale"]) == (code, stale)


class Client(threading.Thread):
    """Asks again and again until told to end; keeps what was answered and every failure."""

    def __init__(self, url, keep_alive):
        super().__init__()
        self.url, self.keep_alive = url, keep_alive
        self.ending = threading.Event()
        self.answers, self.failures = [], []

    def run(self):
        limits = httpx.Limits(max_keepalive_connections=None if self.keep_alive else 0)
        with httpx.Client(limits=limits) as client:
            while not self.ending.wait(0.02):  # leaves the processor to the servers that start
                try:
                    answer = ask(self.url, records(ROWS), client)
                    self.answers.append((int(answer.headers["ct-fence"]), answer.json()["predictions"]))
                except (httpx.HTTPError, LookupError) as error:
                    self.failures.append(repr(error))


def test_no_request_fails_while_releases_are_swapped_and_each_answer_is_the_named_releases_own(home):
    with supervising(home):
        url = serve(home, 1).url
        clients = [Client(url, keep_alive) for keep_alive in (True, True, False)]
        for client in clients:
            client.start()
        for fence in range(2, SWAPS + 2):
            assert serve(home, fence, "ab"[fence % 2]).url == url
        for client in clients:
            client.ending.set()
            client.join()
        last = ask(url, records(ROWS)).headers["ct-fence"]
    by_bundle = {parity: pytest.approx(expected(home, "ab"[parity], ROWS), rel=0, abs=1e-9) for parity in (0, 1)}
    by_bundle[1], first = by_bundle[1], pytest.approx(expected(home, "a", ROWS), rel=0, abs=1e-9)
    for client in clients:
        assert client.failures == []
        assert len({fence for fence, _ in client.answers}) > SWAPS / 2
        assert all(answer == (first if fence == 1 else by_bundle[fence % 2]) for fence, answer in client.answers)
    assert sum(len(client.answers) for client in clients) > 300
    assert last == str(SWAPS + 1)


def test_a_request_that_arrives_slowly_is_answered_by_the_release_it_began_with(home):
    with supervising(home):
        status = serve(home, 1)
        with socket.create_connection(("127.0.0.1", status.port)) as slow:
            slow.sendall(b"GET /version HTTP/1.1\r\nhost: ")
            assert httpx.get(f"{status.url}/ping").status_code == 200  # connections are accepted in order
            serve(home, 2)
            slow.settimeout(1)  # ten times as long as a server takes to begin its end
            with pytest.raises(TimeoutError):
                slow.recv(1)
            slow.settimeout(60)
            slow.sendall(b"localhost\r\n\r\n")
            answer = slow.makefile("rb").read()
        assert b'"version":"1"' in answer
        assert httpx.get(f"{status.url}/version").json()["version"] == "2"


def test_a_release_that_does_not_start_leaves_the_one_before_serving_until_a_better_one_comes(home):
    with supervising(home):
        url = serve(home, 1).url
        ServingFolder(home, MODEL).write_pointer(pointer(home, 2, "c"))
        status = status_when(home, lambda status: status.state == "failed")
        assert (status.version, status.fence, status.bundle) == ("1", 1, "a")
        assert "model.txt" in status.error
        assert ask(url, records(ROWS)).headers["ct-version"] == "1"
        status = serve(home, 3, "b")
        assert status.error == ""
        assert ask(url, records(ROWS)).headers["ct-version"] == "3"


def test_a_server_that_is_killed_is_started_again_and_requests_meanwhile_wait(home):
    with supervising(home) as supervisor:
        url = serve(home, 1).url
        [server] = psutil.Process(supervisor.pid).children()
        server.kill()
        server.wait(30)
        assert ask(url, records(ROWS)).status_code == 200
        assert [other.pid for other in psutil.Process(supervisor.pid).children()] != [server.pid]
        assert status_when(home, lambda status: status.state == "ready").error == ""


def test_the_proven_release_comes_back_after_a_crash_though_a_newer_one_failed(home):
    with supervising(home) as supervisor:
        url = serve(home, 1).url
        ServingFolder(home, MODEL).write_pointer(pointer(home, 2, "c"))
        status_when(home, lambda status: status.state == "failed")
        [server] = psutil.Process(supervisor.pid).children()
        server.kill()
        status_when(home, lambda status: status.state == "failed" and status.fence == 0)
        assert ask(url, records(ROWS)).headers["ct-version"] == "1"
        assert "model.txt" in status_when(home, lambda status: status.fence == 1).error


def test_a_lower_fence_is_not_followed(home):
    with supervising(home):
        url = serve(home, 5).url
        ServingFolder(home, MODEL).write_pointer(pointer(home, 4, "b"))
        log = ServingFolder(home, MODEL).log
        status_when(home, lambda _: "the pointer names fence 4" in log.read_text())
        assert ask(url, records(ROWS)).headers["ct-fence"] == "5"
        assert serve(home, 6).url == url


def test_a_pointer_that_cannot_be_read_changes_nothing(home):
    with supervising(home):
        url = serve(home, 1).url
        folder = ServingFolder(home, MODEL)
        (folder.path / "pointer.json").write_text('{"model":')
        status_when(home, lambda _: "does not hold a pointer" in folder.log.read_text())
        assert ask(url, records(ROWS)).status_code == 200
        assert serve(home, 2).url == url


def test_of_two_supervisors_one_wins_and_the_other_says_who(home):
    with supervising(home) as first:
        serve(home, 1)
        second = subprocess.run(
            python("serving", str(home), MODEL),
            capture_output=True,
            check=False,
            text=True,
            env=environment(),
            timeout=120,
        )
        assert second.returncode == 6
        assert f"process {first.pid}" in second.stderr
        assert first.poll() is None


def test_supervisors_started_together_leave_one(home):
    ServingFolder(home, MODEL).path.mkdir(parents=True)
    ServingFolder(home, MODEL).write_pointer(pointer(home, 1))
    starts = [subprocess.Popen(python("serving", str(home), MODEL, "--detach"), env=environment()) for _ in range(4)]
    assert sorted(start.wait(120) for start in starts) == [0, 6, 6, 6]
    assert status_when(home, lambda status: status.state == "ready").pid == ServingFolder(home, MODEL).supervisor()


def test_the_signal_to_end_ends_everything_and_says_so(home):
    with supervising(home) as supervisor:
        serve(home, 1)
        servers = psutil.Process(supervisor.pid).children()
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(60) == 0
        assert not any(server.is_running() for server in servers)
        status = ServingFolder(home, MODEL).read_status()
        assert (status.state, status.version) == ("stopped", "")
        assert ServingFolder(home, MODEL).supervisor() is None


def test_the_servers_of_a_killed_supervisor_end_and_its_port_is_taken_again(home):
    with supervising(home) as supervisor:
        url = serve(home, 1).url
        supervisor.kill()
        supervisor.wait(60)
        assert_nothing_runs(home)
    with supervising(home):
        assert serve(home, 2).url == url


def test_a_supervisor_whose_folder_disappears_ends(home):
    with supervising(home) as supervisor:
        serve(home, 1)
        shutil.rmtree(home)
        assert supervisor.wait(60) == 0


def test_callers_are_told_another_address_where_they_need_one(home):
    with supervising(home, "--host", "0.0.0.0", "--url", "http://models.example.com"):
        told = serve(home, 1)
        assert told.url == "http://models.example.com"
        assert ask(f"http://127.0.0.1:{told.port}", records(ROWS)).headers["ct-fence"] == "1"


def test_a_port_that_is_taken_is_refused_by_name(home):
    with supervising(home):
        port = serve(home, 1).port
        other = subprocess.run(
            python("serving", str(home), "other", "--port", str(port)),
            capture_output=True,
            check=False,
            text=True,
            env=environment(),
            timeout=120,
        )
        assert other.returncode == 1
        assert f"port {port}" in other.stderr
