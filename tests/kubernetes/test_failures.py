"""What a task of a real pod of a real cluster does when something goes wrong: Airflow's own task runner and trigger."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import subprocess
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

os.environ |= {"AIRFLOW__WORKERS__API_RETRY_WAIT_MIN": "0.1", "AIRFLOW__WORKERS__API_RETRY_WAIT_MAX": "0.2"}

from airflow.sdk import DAG

import small_model
from airflow_worker import Worker, dag_run
from continuous_training.provider.pods import pod_task
from kubernetes import config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow.sdk.execution_time.supervisor import TaskRunResult

pytestmark = [pytest.mark.kubernetes, pytest.mark.docker]

BASE_IMAGE = os.environ.get("CT_TEST_BASE_IMAGE", "python:3.11-slim-bookworm")


def task_of(where: Any, runner: dict[str, Any]) -> Any:
    """Return the task of a work step in the namespace `where`."""
    usual = {
        "kind": "kubernetes", "image": BASE_IMAGE, "namespace": where.name, "resources": {"cpu": "10m", "memory": "300Mi"},
        "startup": "2 minutes",
    }  # fmt: skip
    with DAG("m.train", schedule=None):
        return pod_task(small_model.spec("m", runner=usual | runner), "collect")


def worker_of(run_id: str) -> Worker:
    """Return a worker whose connection names an image of the sidecar that this cluster has."""
    extra = {"xcom_sidecar_container_image": BASE_IMAGE}
    return Worker(
        run=dag_run(run_id),
        xcoms={("plan", "return_value"): {"facts": {"run": {"key": run_id}, "artefacts": "/work/artefacts"}}},
        connections={"kubernetes_default": {"conn_type": "kubernetes", "extra": json.dumps(extra)}},
    )


def attempt(
    where: Any, *, run_id: str = "", meanwhile: Callable[[], Any] = lambda: None, **runner: Any
) -> TaskRunResult:
    """Run one attempt of a work step's task as worker and triggerer do, and return how it ended."""
    worker = worker_of(run_id or uuid.uuid4().hex)
    return worker.do_all(task_of(where, runner), meanwhile=meanwhile)


@contextlib.contextmanager
def between(kubeconfig: Path, answers: Sequence[int] = (), moment: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Put a server before the real API server that answers the first requests for a pod with `answers`.

    `moment` is called when a request has come, and again when the real server has answered it and the worker does not know yet.
    """
    refusals = list(answers)
    real = config.new_client_from_config(os.environ["KUBECONFIG"])

    class Handler(http.server.BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            moment()
            if self.command == "POST" and self.path.endswith("/pods") and refusals:
                self._answer(refusals.pop(0), b'{"message": "not now"}')
                return
            asked = {name: self.headers[name] for name in ("Content-Type", "Accept") if name in self.headers}
            answer = real.rest_client.pool_manager.request(
                self.command, real.configuration.host + self.path, body=body, headers=asked, retries=False
            )
            moment()
            with contextlib.suppress(ConnectionError):  # the worker may be dead by now
                self._answer(answer.status, answer.data)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = do_PATCH = _pass_on  # noqa: N815 - the names http.server calls

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        cluster = {"name": "c", "cluster": {"server": url}}
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "contexts": [context],
            "users": [{"name": "u", "user": {}}],
        }
        kubeconfig.write_text(yaml.safe_dump(document | {"current-context": "c"}))
        yield
        server.shutdown()


@pytest.mark.parametrize(
    ("runner", "words"),
    [
        ({"namespace": "nobody-made-this"}, ["cannot create pods in namespace nobody-made-this (404", "create the namespace"]),
        ({"service_account": "nobody-made-this"}, ["cannot create pods", "nobody-made-this", "create the ServiceAccount"]),
        ({"priority_class": "nobody-made-this"}, ["cannot create pods", "nobody-made-this", "create the PriorityClass"]),
    ],
)  # fmt: skip
def test_what_the_cluster_refuses_for_good_is_not_tried_again(
    namespace: Any, runner: dict[str, Any], words: list[str]
) -> None:
    outcome = attempt(namespace, run_id="refused", **runner)
    assert outcome.state == "failed"
    assert [text for text in words if text not in str(outcome.error)] == []
    assert namespace.pods(run_id="refused") == []


@pytest.mark.parametrize(
    ("runner", "words"),
    [
        ({"image": "registry.invalid/nobody/made:this"}, ["the image registry.invalid/nobody/made:this cannot be pulled", "correct runner.image"]),
        ({"nodes": [{"key": "disk", "values": ["golden"]}], "startup": "2 seconds"}, ["did not start in time", "nodes are available"]),
        ({"secret": "nobody-made-this", "startup": "8 seconds"}, ["did not start in time", 'secret "nobody-made-this" not found']),
        ({"volumes": [{"claim": "nobody-made-this", "path": "/data"}], "startup": "2 seconds"}, ["did not start in time", "nobody-made-this"]),
        ({"resources": {"cpu": "10m", "memory": "900Gi"}}, ["exceeded quota", "ask for less under runner.resources"]),
    ],
)  # fmt: skip
def test_a_pod_that_cannot_start_is_tried_again_and_leaves_nothing(
    namespace: Any, runner: dict[str, Any], words: list[str]
) -> None:
    outcome = attempt(namespace, **runner)
    assert outcome.state == "up_for_retry", outcome.error
    assert [text for text in words if text not in str(outcome.error)] == []
    assert [pod.metadata.name for pod in namespace.pods() if pod.metadata.deletion_timestamp is None] == []


def test_a_pod_that_is_taken_away_is_started_again(namespace: Any) -> None:
    def take_away() -> None:
        for pod in namespace.pods(run_id="taken"):  # its own: one of another test may be gone before it is named
            namespace.end(pod.metadata.name)

    outcome = attempt(namespace, run_id="taken", meanwhile=take_away)
    assert outcome.state == "up_for_retry", outcome.error
    assert "is gone: somebody deleted it" in str(outcome.error)


def test_a_pod_that_is_drained_from_its_node_is_started_again(namespace: Any) -> None:
    def drain() -> None:
        for pod in namespace.pods(run_id="drained"):
            eviction = {
                "apiVersion": "policy/v1beta1",
                "kind": "Eviction",
                "metadata": {"name": pod.metadata.name},
                "deleteOptions": {"gracePeriodSeconds": 0},
            }
            namespace.api.create_namespaced_pod_eviction(pod.metadata.name, namespace.name, eviction)

    outcome = attempt(namespace, run_id="drained", meanwhile=drain)
    assert outcome.state == "up_for_retry", outcome.error
    assert "is gone: somebody deleted it, or its node was lost" in str(outcome.error)


@pytest.mark.parametrize("status", [409, 429, 500])
def test_an_api_server_that_refuses_for_a_moment_is_asked_again_and_makes_one_pod(
    namespace: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int
) -> None:
    with between(tmp_path / "kubeconfig", [status]), monkeypatch.context() as patch:
        patch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        outcome = worker_of(f"moment-{status}").do(task_of(namespace, {}))
    assert outcome.state == "deferred", outcome.error
    assert len(namespace.pods(run_id=f"moment-{status}")) == 1


@pytest.mark.parametrize(("status", "state"), [(410, "up_for_retry"), (401, "up_for_retry"), (422, "failed")])
def test_an_answer_of_the_api_server_decides_whether_the_task_is_tried_again(
    namespace: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, state: str
) -> None:
    with between(tmp_path / "kubeconfig", [status] * 9):
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        outcome = attempt(namespace)
    assert outcome.state == state
    assert f"cannot create pods in namespace {namespace.name} ({status} not now)" in str(outcome.error)


def test_an_api_server_that_does_not_answer_is_asked_again(
    namespace: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with between(tmp_path / "kubeconfig"):
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    outcome = attempt(namespace)
    assert outcome.state == "up_for_retry", outcome.error
    assert "the API server does not answer" in str(outcome.error)


def test_an_image_that_does_not_hold_the_steps_is_not_tried_again(namespace: Any) -> None:
    outcome = attempt(namespace)
    assert outcome.state == "failed", outcome.error
    assert "does not hold the command ct" in str(outcome.error)


@pytest.fixture(scope="module")
def counting_image(engine: None) -> str:
    """Build an image whose step writes down that it ran, in a folder that outlives the pod."""
    slow = 'case "$CT_RUN" in *slow*) echo "half way"; sleep 12; echo "all done";; *greedy*) exec tail /dev/zero;; esac'
    script = f'echo "$CT_RUN" >> /shared/ran; {slow}; sleep 1; echo "{{}}" > "$CT_RESULT"'
    made = f"FROM {BASE_IMAGE}\nRUN printf '%s\\n' '#!/bin/sh' '{script}' > /usr/local/bin/ct && chmod 755 /usr/local/bin/ct\n"
    image = "continuous-training-counting:test"
    subprocess.run(["docker", "build", "-q", "-t", image, "-"], input=made, text=True, check=True, capture_output=True)
    return image


def test_a_step_that_needs_more_memory_than_it_has_is_tried_again_and_says_so(
    namespace: Any, counting_image: str
) -> None:
    runner = {
        "resources": {"cpu": "500m", "memory": "30Mi"},
        "volumes": [{"claim": namespace.claim, "path": "/shared"}],
    }
    outcome = attempt(namespace, run_id="greedy", image=counting_image, **runner)
    assert outcome.state == "up_for_retry", outcome.error
    assert "OOMKilled" in str(outcome.error)
    assert "give runner.resources.memory more" in str(outcome.error)


def test_a_pod_that_its_node_ends_as_a_whole_is_tried_again_and_says_so(namespace: Any, counting_image: str) -> None:
    def end_all() -> None:  # the kubelet ends and reports it as it does a pod that it evicts
        for pod in namespace.pods(run_id="slow-ended"):
            namespace.api.patch_namespaced_pod(
                pod.metadata.name, namespace.name, {"spec": {"activeDeadlineSeconds": 1}}
            )

    outcome = attempt(namespace, run_id="slow-ended", image=counting_image, meanwhile=end_all)
    assert outcome.state == "up_for_retry", outcome.error
    assert "the node ended the pod" in str(outcome.error)
    assert "(DeadlineExceeded: Pod was active on the node longer" in str(outcome.error)


def test_the_log_is_there_while_the_pod_runs_and_each_line_once(
    namespace: Any, counting_image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    volumes = [{"claim": namespace.claim, "path": "/shared"}]
    assert attempt(namespace, run_id="slow", image=counting_image, volumes=volumes).state == "success"
    told = capsys.readouterr().out
    assert "[base] half way" in told  # the triggerer's words; what is read at the end begins with "[base] logs:"
    assert (told.count("half way"), told.count("all done")) == (1, 1)


def start_worker(run_id: str, runner: dict[str, Any], where: Any, kubeconfig: Path, *, kill_at: int = 0) -> int:
    """Let a worker start a pod, kill it at a moment of its talk with the API server, and return how many it had."""
    moments = 0

    def moment() -> None:
        nonlocal moments
        moments += 1
        if moments == kill_at:
            os.kill(child, signal.SIGKILL)

    with between(kubeconfig, moment=moment):
        child = os.fork()
        if child == 0:
            try:
                os.environ["KUBECONFIG"] = str(kubeconfig)
                worker_of(run_id).do(task_of(where, runner))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    return moments


def test_a_worker_that_is_killed_finds_its_pod_again_and_the_step_runs_once(
    namespace: Any, counting_image: str, tmp_path: Path
) -> None:
    runner = {"image": counting_image, "volumes": [{"claim": namespace.claim, "path": "/shared"}]}
    moments = start_worker("whole", runner, namespace, tmp_path / "kubeconfig")
    kills = range(int(os.environ.get("CT_TEST_POD_KILLS", "3")))
    for number in kills:
        kill_at = 1 + number * moments // len(kills)
        assert start_worker(f"kill-{number}", runner, namespace, tmp_path / "kubeconfig", kill_at=kill_at) >= kill_at
        outcome = attempt(namespace, run_id=f"kill-{number}", **runner)
        assert outcome.state == "success", outcome.error
    ran = (namespace.folder / "ran").read_text()
    assert {number: ran.count(f'"kill-{number}"') for number in kills} == dict.fromkeys(kills, 1)
