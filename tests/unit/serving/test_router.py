"""One champion and one challenger on loopback, and a router that decides who answers."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import socket
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx
import pandas as pd
import pytest
import uvicorn
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from continuous_training.core.arms import Comparison
from continuous_training.core.errors import DataInvalid
from continuous_training.core.prediction_log import LogPolicy, log_folder
from continuous_training.core.rollout import RolloutPlan
from continuous_training.deployers.handover import ServingFolder
from continuous_training.deployers.processes import STARTUP_SECONDS, ServerProcess
from continuous_training.policies.rollout_guards import QualityGuard
from continuous_training.serving import router, upstream
from continuous_training.serving.admin import AdminApp, Metrics
from continuous_training.serving.age import Age
from continuous_training.serving.app import ModelApp
from continuous_training.serving.meter import Board
from continuous_training.serving.predictions import PredictionLog
from continuous_training.serving.routed import Room, first_value
from continuous_training.serving.router import Router
from continuous_training.sources._predictions import of_step, read_predictions
from continuous_training.steps.rehearsal import rehearse
from continuous_training.trainers.bundle import load_bundle
from served_model import FEATURES, MODEL, ask, expected, listening, make_rows, pointer, records, release

BEGUN = datetime(2013, 3, 1, tzinfo=UTC)
ROW = {"distance": 900.0, "wind": 3.0, "carrier": "UA"}
SALT = "a salt of its own"


class Served:
    """A real server in a thread of its own."""

    def __init__(self, app, close=None):
        self.listener = listening()
        self.listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # asyncio does so only where it listens itself
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        self._close = close
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),))
        self._thread.start()

    def call(self, function):
        """Return what a function returns in the server's own loop, between two requests."""

        async def called():
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(60)

    async def _run(self):
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self.listener])
        if self._close:
            await self._close()

    def stop(self):
        self._server.should_exit = True
        self._thread.join()


class Rollout:
    """Both versions, and what one can do with them."""

    def __init__(self, home):
        self.home = home
        self.folder = ServingFolder(home, MODEL)
        self.served, self.logs = [], []
        self.challenger_router = self.start(4, "b", ServingFolder(home / "other", MODEL))
        self.challenger_url = self.served[-1].url
        self.router = self.start(3, "a", self.folder)
        self.url = self.served[-1].url
        self.client = httpx.Client(timeout=60)

    def start(self, fence, bundle, folder):
        log = PredictionLog(log_folder(folder.path, MODEL), release(fence, bundle), LogPolicy())
        app = ModelApp(
            release(fence, bundle), load_bundle(self.home / "bundles" / bundle), ["127.0.0.1"], record=log.record
        )
        routed = Router(app, fence, ["127.0.0.1"], folder)
        self.served.append(Served(routed, routed.close))
        self.logs.append(log)
        return routed

    def plan(self, mode="canary", share=0.5, **changes):
        given = {
            "fence": 3, "begun": BEGUN, "mode": mode, "share": share, "champion": "3", "challenger": "4", "salt": SALT,
            "url": self.challenger_url, "timeout": 20, "entity": "who", **changes,
        }  # fmt: skip
        return RolloutPlan.model_validate(given)

    def follow(self, plan):
        """Write a plan and return when the router has taken notice of it."""
        self.folder.write_plan(plan)
        self.look()
        return plan

    def look(self):
        self.router._look_at = 0.0
        self.client.get(f"{self.url}/ping")

    def ask(self, who, **headers):
        body = {"dataframe_records": [{**ROW, "who": who}]}
        return self.client.post(f"{self.url}/invocations", json=body, headers=headers)

    def counts(self):
        return self.report()["counts"]

    def report(self):
        return self.served[1].call(self.router.report)

    def counted(self, condition):
        """Return the counts once copies on their way have arrived."""
        deadline = time.monotonic() + 60
        while not condition(counts := self.counts()):
            assert time.monotonic() < deadline, counts
            time.sleep(0.02)
        return counts

    def stop(self):
        self.client.close()
        for served in self.served:
            served.stop()
        for log in self.logs:
            log.close()


@pytest.fixture
def rollout(tmp_path, trained):
    for name, bundle in zip("ab", trained, strict=True):
        shutil.copytree(bundle, tmp_path / "bundles" / name)
    rollout = Rollout(tmp_path)
    yield rollout
    rollout.stop()


@contextlib.contextmanager
def answering(answer):
    """Listen as a challenger that does `answer` with each connection."""
    stop, kept = threading.Event(), []

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            kept.append(connection)
            threading.Thread(target=answer, args=(connection, stop)).start()

    with listening() as listener:
        threading.Thread(target=accept).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            for connection in kept:
                connection.close()


def hang(connection, stop):
    stop.wait()


def saying(*lines, body=b""):
    def answer(connection, stop):
        head = b"".join(line + b"\r\n" for line in lines)
        with contextlib.suppress(ConnectionError):  # the router may let go at any moment
            while connection.recv(65536):
                connection.sendall(head + b"\r\n" + body)

    return answer


def versions(answers):
    return [answer.headers["ct-version"] for answer in answers]


def test_without_a_plan_the_champion_answers_as_if_there_were_no_router(rollout):
    answer = rollout.ask("x")
    assert (answer.status_code, answer.headers["ct-version"]) == (200, "3")
    assert "ct-share" not in answer.headers
    assert rollout.report() == {"plan": None, "counts": None}


def test_the_share_is_exact_sticky_and_keeps_its_entities_as_it_grows(rollout):
    entities = [f"customer {number}" for number in range(200)]
    before = set()
    for step, share in enumerate((0.05, 0.3, 1.0)):
        plan = rollout.follow(rollout.plan(share=share, step=step))
        for _ in range(2):
            answers = {entity: rollout.ask(entity) for entity in entities}
            assert {answer.status_code for answer in answers.values()} == {200}
            chosen = {entity for entity, answer in answers.items() if answer.headers["ct-version"] == "4"}
            assert chosen == {entity for entity in entities if plan.takes(entity)}
        assert before < chosen
        before = chosen
    assert before == {*entities}


def test_each_version_answers_with_its_own_predictions_and_says_why(rollout):
    rollout.follow(rollout.plan())
    rows = make_rows(40)
    for number, row in enumerate(records(rows)):
        body = {"dataframe_records": [{**row, "who": number}]}
        answer = rollout.client.post(f"{rollout.url}/invocations", json=body)
        bundle = {"3": "a", "4": "b"}[answer.headers["ct-version"]]
        wanted = expected(rollout.home, bundle, rows.iloc[[number]])
        assert answer.json()["predictions"] == pytest.approx(wanted, abs=1e-9)
        assert answer.headers["ct-share"] == {"3": "champion 0.5", "4": "canary 0.5"}[answer.headers["ct-version"]]
        assert answer.headers["ct-fence"] == answer.headers["ct-version"]


def test_counts_of_both_versions_are_what_a_policy_judges(rollout):
    rollout.follow(rollout.plan())
    answered = versions([rollout.ask(number) for number in range(60)])
    counts = rollout.counts()
    for arm, version in (("champion", "3"), ("challenger", "4")):
        assert counts[arm]["requests"] == sum(counts[arm]["latency"]) == sum(counts[arm]["scores"])
        assert counts[arm]["requests"] == answered.count(version) > 0
        assert counts[arm]["errors"] == 0


def test_the_header_names_the_entity_before_the_column_does(rollout):
    plan = rollout.follow(rollout.plan())
    inside = next(f"{number}" for number in range(99) if plan.takes(f"{number}"))
    outside = next(f"{number}" for number in range(99) if not plan.takes(f"{number}"))
    assert versions([rollout.ask(outside, **{"ct-entity": inside})]) == ["4"]
    assert versions([rollout.ask(inside, **{"ct-entity": outside})]) == ["3"]


def test_without_an_entity_each_request_is_drawn_by_its_id(rollout):
    plan = rollout.follow(rollout.plan(entity=None))
    for number in range(20):
        answer = rollout.ask("same", **{"ct-request-id": f"r{number}"})
        assert answer.headers["ct-request-id"] == f"r{number}"
        assert (answer.headers["ct-version"] == "4") is plan.takes(f"r{number}")
    assert len({*versions([rollout.ask("same") for _ in range(40)])}) == 2


def test_requests_outside_of_the_region_take_no_part(rollout):
    rollout.follow(rollout.plan(share=1, only={"carrier": ["AA"]}))
    assert rollout.ask("x").headers["ct-version"] == "3"
    inside = {"dataframe_records": [{**ROW, "carrier": "AA", "who": "x"}]}
    assert rollout.client.post(f"{rollout.url}/invocations", json=inside).headers["ct-version"] == "4"
    counts = rollout.counts()
    assert (counts["champion"]["requests"], counts["challenger"]["requests"]) == (0, 1)


def test_requests_in_the_open_inference_protocol_are_routed_too_and_a_named_version_is_the_champions(rollout):
    rollout.follow(rollout.plan(share=1))
    tensor = {"shape": [1], "data": [900.0]}
    body = {
        "id": "mine",
        "inputs": [
            {"name": "distance", "datatype": "FP64", **tensor},
            {"name": "wind", "datatype": "FP64", **tensor},
            {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["UA"]},
        ],
    }
    answer = rollout.client.post(f"{rollout.url}/v2/models/{MODEL}/infer", json=body)
    assert (answer.status_code, answer.headers["ct-version"]) == (200, "4")
    assert answer.headers["ct-request-id"] == "mine"
    named = rollout.client.post(f"{rollout.url}/v2/models/{MODEL}/versions/3/infer", json=body)
    assert named.headers["ct-version"] == "3"
    assert sum(rollout.counts()["challenger"]["scores"]) == 1


def test_what_is_not_a_prediction_stays_the_champions(rollout):
    rollout.follow(rollout.plan(share=1))
    for path in ("/ping", "/version", "/v2/health/live"):
        assert rollout.client.get(f"{rollout.url}{path}").headers["ct-version"] == "3"


def test_a_request_too_large_for_two_versions_is_answered_whole_by_the_champion(rollout):
    rollout.follow(rollout.plan(share=1))
    rows = [{**ROW, "who": "x" * 300}] * 4000
    answer = ask(rollout.url, rows, rollout.client)
    assert (answer.status_code, answer.headers["ct-version"], len(answer.json()["predictions"])) == (200, "3", 4000)


def test_bodies_that_clients_send_slowly_are_kept_only_while_there_is_room(rollout):
    rollout.follow(rollout.plan(share=1))
    room = rollout.router._room = Room(3000)
    body = json.dumps({"dataframe_records": [{**ROW, "who": "x" * 2500}]}).encode()
    head = (
        b"POST /invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", httpx.URL(rollout.url).port)) as slow:
        slow.sendall(head % len(body) + body[:2000])
        rollout.counted(lambda _: rollout.served[1].call(lambda: room.free) == 1000)
        beside = rollout.client.post(
            f"{rollout.url}/invocations", content=body, headers={"content-type": "application/json"}
        )
        assert (beside.status_code, beside.headers["ct-version"]) == (200, "3")
        slow.sendall(body[2000:])
        answer = slow.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"ct-version: 4" in answer
    assert rollout.ask("x" * 2500).headers["ct-version"] == "4"
    assert rollout.served[1].call(lambda: room.free) == 3000


def test_the_room_of_a_body_that_a_client_did_not_finish_is_free_again(rollout):
    rollout.follow(rollout.plan(share=1))
    room = rollout.router._room = Room(3000)
    with socket.create_connection(("127.0.0.1", httpx.URL(rollout.url).port)) as slow:
        slow.sendall(b"POST /invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{")
        rollout.counted(lambda _: rollout.served[1].call(lambda: room.free) == 2999)
    rollout.counted(lambda _: rollout.served[1].call(lambda: room.free) == 3000)


ODD = {
    "nested": b"[" * 100_000,
    "endless number": b'{"predictions": [1%b]}' % (b"0" * 400),
    "not a number": b'{"predictions": [NaN, [Infinity]]}',
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("mode", ["canary", "shadow"])
def test_an_odd_answer_of_a_challenger_fails_no_request_and_is_no_score(rollout, kind, mode):
    lines = (b"HTTP/1.1 200 OK", b"content-length: %d" % len(ODD[kind]), b"ct-version: 4", b"ct-seconds: 1e9")
    with answering(saying(*lines, body=ODD[kind])) as url:
        rollout.follow(rollout.plan(mode, 1.0, url=url))
        assert {rollout.ask(number).status_code for number in range(3)} == {200}
        counts = rollout.counted(lambda counts: counts["challenger"]["requests"] == 3)["challenger"]
    assert (counts["errors"], sum(counts["scores"]), counts["latency"][-1]) == (0, 0, 0)


def test_what_both_versions_refuse_is_nobodys_error(rollout):
    rollout.follow(rollout.plan(share=1))
    answer = rollout.client.post(f"{rollout.url}/invocations", json={"dataframe_records": [{"distance": 1}]})
    assert (answer.status_code, answer.headers["ct-version"]) == (400, "3")
    assert rollout.counts()["challenger"]["requests"] == 0


def test_a_request_by_another_name_reaches_neither_version(rollout):
    rollout.follow(rollout.plan(share=1))
    answer = rollout.ask("x", host="rebound.example")
    assert (answer.status_code, answer.headers["ct-version"]) == (400, "3")
    assert rollout.counts()["challenger"]["requests"] == 0


BAD = {
    "gone": ((lambda connection, stop: connection.close()), "connection"),
    "hung": (hang, "timeout"),
    "no http": (saying(b"nonsense"), "protocol"),
    "no length": (saying(b"HTTP/1.1 200 OK"), "protocol"),
    "negative length": (saying(b"HTTP/1.1 200 OK", b"content-length: -5"), "protocol"),
    "internal error": (saying(b"HTTP/1.1 500 Internal Server Error", b"content-length: 0"), "500"),
    "overloaded": (saying(b"HTTP/1.1 503 Service Unavailable", b"content-length: 0"), "503"),
    "refusing what is right": (saying(b"HTTP/1.1 400 Bad Request", b"content-length: 0"), "refused"),
    "another version": (saying(b"HTTP/1.1 200 OK", b"content-length: 2", b"ct-version: 9", body=b"{}"), "version"),
}


@pytest.mark.parametrize("kind", BAD)
def test_the_champion_answers_what_the_challenger_cannot_and_it_is_the_challengers_error(rollout, kind):
    answer, cause = BAD[kind]
    with answering(answer) as url:
        rollout.follow(rollout.plan(share=1, url=url, timeout=0.2 if kind == "hung" else 20))
        answers = [rollout.ask(number) for number in range(5)]
        assert {(each.status_code, each.headers["ct-version"], each.headers["ct-share"]) for each in answers} == {
            (200, "3", "fallback 0")
        }
        counts = rollout.counts()
        rollout.follow(None)
    assert counts["challenger"]["causes"] == {cause: 5}
    assert counts["challenger"]["errors"] == counts["challenger"]["requests"] == 5
    assert counts["champion"]["requests"] == 0


def test_a_challenger_that_is_behind_is_not_asked_more(rollout, monkeypatch):
    monkeypatch.setattr(upstream, "MOST_AT_ONCE", 0)
    rollout.follow(rollout.plan(share=1))
    assert versions([rollout.ask(1)]) == ["3"]
    assert rollout.counts()["challenger"]["causes"] == {"overloaded": 1}


def test_no_request_fails_when_the_challenger_is_killed_in_the_middle(rollout):
    with listening() as listener, ServerProcess(pointer(rollout.home, 4, "b"), listener) as challenger:
        assert challenger.report(STARTUP_SECONDS) == ""
        rollout.follow(rollout.plan(url=f"http://127.0.0.1:{listener.getsockname()[1]}"))
        before = [rollout.ask(number) for number in range(50)]
        challenger.process.kill()
        challenger.process.wait()
        listener.close()
        after = [rollout.ask(number) for number in range(50)]
    assert {each.status_code for each in before + after} == {200}
    assert {*versions(before)} == {"3", "4"}
    assert {*versions(after)} == {"3"}
    counts = rollout.counts()["challenger"]
    assert counts["errors"] == versions(before).count("4")
    assert counts["requests"] == 2 * counts["errors"]


def test_a_kept_connection_that_the_challenger_closed_is_opened_again(rollout):
    served = []

    def once(connection, stop):
        connection.recv(65536)
        served.append(connection)
        body = b'{"predictions": [0.5]}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nct-version: 4\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        connection.close()

    with answering(once) as url:
        rollout.follow(rollout.plan(share=1, url=url))
        assert versions([rollout.ask(number) for number in range(5)]) == ["4"] * 5
        rollout.follow(None)
    assert len(served) == 5


def test_a_plan_that_is_left_keeps_no_connection_to_its_challenger(rollout):
    asked, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def answer(connection, stop):
        connection.recv(65536)
        asked.set()
        go_on.wait(60)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nct-version: 4\r\n\r\n{}")
        with contextlib.suppress(ConnectionError):
            connection.recv(65536)  # returns when the router lets go
        ended.set()

    with answering(answer) as url:
        rollout.follow(rollout.plan(share=1, url=url))
        waiting = threading.Thread(target=rollout.ask, args=("x",))
        waiting.start()
        assert asked.wait(60)
        rollout.folder.write_plan(None)
        assert rollout.report()["plan"] is None
        go_on.set()
        waiting.join()
        assert ended.wait(20)


def test_a_shadow_is_mirrored_compared_and_never_answers(rollout):
    rollout.follow(rollout.plan("shadow", 1.0))
    rows = make_rows(30)
    wanted = expected(rollout.home, "a", rows)
    for row, prediction in zip(records(rows), wanted, strict=True):
        answer = ask(rollout.url, [row], rollout.client)
        assert answer.json()["predictions"] == pytest.approx([prediction], abs=1e-9)
        assert answer.headers["ct-version"] == "3"
    counts = rollout.counted(lambda counts: counts["challenger"]["requests"] == 30)
    distances = [abs(one - other) for one, other in zip(wanted, expected(rollout.home, "b", rows), strict=True)]
    assert counts["champion"]["requests"] == counts["compared"] == 30
    assert counts["differing"] == sum(distance > 1e-9 for distance in distances)
    assert counts["largest_difference"] == pytest.approx(max(distances), abs=1e-9)
    assert counts["challenger"]["distances"] == [*QualityGuard().count(distances)]


@pytest.mark.parametrize(
    ("one", "other", "scale", "distance"),
    [
        (0.2, 0.7, 1, 0.5),
        ([0.4, 0.4, 0.1, 0.1], [0.11, 0.1, 0.35, 0.44], 1, 0.59),
        (30.0, 45.0, 60, 0.25),
        (30.0, 450.0, 60, 1),
        ([0.5, 0.5], 0.5, 1, 1),
    ],
)
def test_predictions_are_as_far_apart_as_probabilities_or_values_are(one, other, scale, distance):
    compared = Comparison(scale)
    compared.add([one], [other])
    assert compared.distances == QualityGuard().count([distance])


def test_answers_of_different_lengths_are_apart():
    compared = Comparison(1)
    compared.add([0.5, 0.5], [0.5])
    assert (compared.distances[0], compared.distances[-1]) == (1, 1)


def test_a_part_of_the_requests_is_mirrored_always_of_the_same_entities(rollout):
    plan = rollout.follow(rollout.plan("shadow", 0.2))
    for number in range(50):
        rollout.ask(number)
    mirrored = sum(plan.takes(str(number)) for number in range(50))
    counts = rollout.counted(lambda counts: counts["challenger"]["requests"] >= mirrored)
    assert counts["challenger"]["requests"] == counts["champion"]["requests"] == mirrored


def test_a_shadow_that_hangs_holds_up_no_answer_and_copies_beyond_the_most_are_dropped(rollout):
    with answering(hang) as url:
        rollout.follow(rollout.plan("shadow", 1.0, url=url, timeout=60))
        answers = [rollout.ask(number) for number in range(router.MOST_MIRRORED + 8)]  # no copy has come back by now
        counts = rollout.counts()
        assert versions(answers) == ["3"] * len(answers)
        assert (counts["dropped"], counts["challenger"]["requests"]) == (8, 0)
    counts = rollout.counted(lambda counts: counts["challenger"]["errors"] == router.MOST_MIRRORED)
    assert counts["champion"]["requests"] == router.MOST_MIRRORED


def test_a_plan_is_followed_when_it_changes_and_left_when_it_goes(rollout):
    assert rollout.ask("x").headers["ct-version"] == "3"
    rollout.follow(rollout.plan(share=1))
    assert rollout.ask("x").headers["ct-version"] == "4"
    rollout.follow(None)
    assert rollout.ask("x").headers["ct-version"] == "3"


@pytest.mark.parametrize(
    "other",
    [
        {"fence": 2, "step": 9},
        {"fence": 4},
        {"step": 0},
        {"begun": BEGUN - timedelta(days=1), "step": 5},
        b"{",
        b'{"fence": 3}',
        b"",
    ],
    ids=str,
)
def test_a_plan_that_is_wrong_or_older_is_refused_and_the_last_good_one_kept(rollout, other, caplog):
    rollout.follow(rollout.plan(share=1, step=1))
    if isinstance(other, bytes):
        rollout.folder.plan.write_bytes(other)
        rollout.look()
    else:
        rollout.follow(rollout.plan(share=0, **other))
    assert rollout.ask("x").headers["ct-version"] == "4"
    (said,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "not followed" in said.getMessage()


def test_a_plan_that_nobody_renews_is_left_and_followed_again_when_somebody_does(rollout, caplog):
    rollout.follow(rollout.plan(share=1, lease=600))
    assert rollout.ask("x").headers["ct-version"] == "4"
    written = rollout.folder.plan.stat().st_mtime
    os.utime(rollout.folder.plan, (written - 601, written - 601))
    for _ in range(2):  # the first look sees that the file has changed, the second how long ago
        rollout.look()
    assert rollout.ask("x").headers["ct-version"] == "3"
    assert "nobody has renewed it" in caplog.text
    rollout.folder.renew_plan()
    rollout.look()
    assert rollout.ask("x").headers["ct-version"] == "4"
    assert rollout.counts()["challenger"]["requests"] == 2


def test_a_server_that_starts_does_not_follow_a_plan_whose_lease_is_over(rollout, caplog):
    rollout.follow(rollout.plan(share=1, lease=600))
    os.utime(rollout.folder.plan, (0, 0))
    started = rollout.start(3, "a", rollout.folder)
    answer = ask(rollout.served[-1].url, [{**ROW, "who": "x"}], rollout.client)
    assert answer.headers["ct-version"] == "3"
    assert started.report()["plan"] is None
    assert "nobody has renewed it" in caplog.text


def test_counts_of_steps_long_gone_are_deleted(rollout):
    plans = []
    for step in range(4):
        plans.append(rollout.follow(rollout.plan(share=1, step=step)).name)
        rollout.ask("x")
        assert rollout.counts()["challenger"]["requests"] == 1
    assert {plans[-1]} <= {*os.listdir(rollout.folder.counts)} <= {*plans[-2:]}  # servers write when they leave a plan


def test_a_later_rollout_of_the_same_champion_begins_at_its_first_step_with_counts_of_its_own(rollout):
    rollout.follow(rollout.plan(share=1, step=2))
    rollout.ask("x")
    rollout.follow(rollout.plan(share=1, begun=BEGUN + timedelta(days=1)))
    assert rollout.counts()["challenger"]["requests"] == 0
    assert rollout.ask("x").headers["ct-version"] == "4"
    assert rollout.counts()["challenger"]["requests"] == 1


def test_counts_of_several_processes_add_up_and_survive_their_end(rollout):
    plan = rollout.follow(rollout.plan(share=1))
    rollout.ask("x")
    second = rollout.start(3, "a", rollout.folder)
    rollout.client.post(f"{rollout.served[-1].url}/invocations", json={"dataframe_records": [{**ROW, "who": "y"}]})
    assert rollout.served[-1].call(second.report)["counts"]["challenger"]["requests"] == 1
    assert rollout.counts()["challenger"]["requests"] == 2
    rollout.served.pop().stop()
    assert rollout.folder.read_counts(plan).challenger.requests == 2


def test_the_report_is_served_as_json_beside_the_metrics(rollout):
    rollout.follow(rollout.plan())
    app = AdminApp(Metrics(release(3), Board(), (), Age(), rollout.report), "a token")
    admin = Served(app)
    try:
        told = httpx.get(f"{admin.url}/rollout", headers={"Authorization": "Bearer a token"}).json()
        assert httpx.get(f"{admin.url}/rollout").status_code == 401
        assert httpx.get(f"{admin.url}/counts").text == "there is nothing here; use GET /metrics or /rollout\n"
    finally:
        admin.stop()
    assert told == json.loads(json.dumps(rollout.report()))
    assert told["plan"]["challenger"] == "4"


def test_counts_that_cannot_be_read_leave_the_servers_own_metrics(rollout, caplog):
    plan = rollout.follow(rollout.plan())
    rollout.counts()
    (rollout.folder.counts / plan.name / "broken.json").write_text("{")
    admin = Served(AdminApp(Metrics(release(3), Board(), range(19), Age(), rollout.report)))
    try:
        told, report = (httpx.get(f"{admin.url}/{page}") for page in ("metrics", "rollout"))
    finally:
        admin.stop()
    assert told.status_code == 200
    assert "ct_server_rows_total" in told.text
    assert "ct_router_" not in told.text
    assert "broken.json does not hold" in caplog.text
    assert (report.status_code, "broken.json does not hold" in report.text) == (500, True)


def told_of_rollout(report):
    """Return the router's samples by name and labels."""
    text = generate_latest(Metrics(release(3), Board(), range(19), Age(), lambda: report)).decode()
    return {
        (sample.name, *(value for name, value in sample.labels.items() if name != "model")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("ct_router_")
    }


def test_prometheus_is_told_of_both_arms_and_of_none_without_a_rollout(rollout):
    assert told_of_rollout(rollout.report()) == {}
    rollout.follow(rollout.plan(share=0.25))
    by_version = versions([rollout.ask(number) for number in range(40)])
    told = told_of_rollout(rollout.report())
    for arm, version, share in (("champion", "3", 0.75), ("challenger", "4", 0.25)):
        assert told["ct_router_requests_total", arm] == by_version.count(version) > 0
        assert told["ct_router_request_duration_seconds_bucket", arm, "+Inf"] == by_version.count(version)
        assert (told["ct_router_errors_total", arm], told["ct_router_share", arm]) == (0, share)
        assert told["ct_router_info", arm, "canary", version] == 1
    rollout.follow(rollout.plan("shadow", 1.0, step=1, url="http://127.0.0.1:9"))
    rollout.ask("x")
    counts = rollout.counted(lambda counts: counts["challenger"]["errors"] == 1)
    seen = {"dropped": 3, "compared": 9, "differing": 2, "largest_difference": 0.25}
    told = told_of_rollout({**rollout.report(), "counts": {**counts, **seen}})
    assert (told["ct_router_share", "champion"], told["ct_router_share", "shadow"]) == (1, 1)
    assert told["ct_router_errors_total", "shadow"] == told["ct_router_requests_total", "shadow"] == 1
    assert [told[f"ct_router_{name}_total",] for name in ("dropped", "compared", "differing")] == [3, 9, 2]
    assert told["ct_router_largest_difference",] == 0.25


def test_both_servers_write_down_why_they_answered(rollout):
    plan = rollout.follow(rollout.plan())
    for number in range(20):
        rollout.ask(number)
    ours = read_predictions(log_folder(rollout.folder.path, MODEL))
    theirs = read_predictions(log_folder(rollout.home / "other" / "serving" / MODEL, MODEL))
    assert {*zip(ours["ct_reason"], ours["ct_share"], strict=True)} == {("champion", 0.5)}
    assert {*zip(theirs["ct_reason"], theirs["ct_share"], strict=True)} == {("canary", 0.5)}
    assert len(ours) + len(theirs) == 20
    assert len(theirs) == sum(plan.takes(str(number)) for number in range(20))
    assert ours["ct_entity"].nunique() == len(ours)


def logged(rollout):
    """Return what both servers wrote down, as they do where they share a folder."""
    folders = (rollout.folder.path, rollout.home / "other" / "serving" / MODEL)
    return pd.concat([read_predictions(log_folder(folder, MODEL)) for folder in folders], ignore_index=True)


def test_versions_are_compared_by_requests_that_took_part_in_the_step(rollout):
    plan = rollout.follow(rollout.plan(share=0.3, only={"carrier": ["UA"]}))
    taking_part = versions([rollout.ask(number) for number in range(40)])
    for number in range(20):
        ask(rollout.url, [{**ROW, "carrier": "AA", "who": number}], rollout.client)
    rows = of_step(logged(rollout), plan)
    assert Counter(rows["ct_version"]) == Counter(taking_part)
    assert {*rows["carrier"]} == {"UA"}
    later = rollout.follow(rollout.plan(share=0.6, step=1, url="http://127.0.0.1:9"))
    own = sum(not later.takes(str(number)) for number in range(40))
    assert [rollout.ask(number).headers["ct-version"] for number in range(40)] == ["3"] * 40
    assert Counter(of_step(logged(rollout), later)["ct_version"]) == {"3": own}
    assert len(of_step(logged(rollout), plan)) == 40


def test_in_a_shadow_versions_are_compared_by_what_both_answered(rollout):
    plan = rollout.follow(rollout.plan("shadow", 0.4))
    for number in range(30):
        rollout.ask(number)
    both = sum(plan.takes(str(number)) for number in range(30))
    rollout.counted(lambda counts: counts["challenger"]["requests"] == both)
    assert Counter(of_step(logged(rollout), plan)["ct_version"]) == {"3": both, "4": both}


def test_in_a_shadow_both_logs_have_the_same_ids(rollout):
    rollout.follow(rollout.plan("shadow", 1.0))
    for number in range(5):
        rollout.ask(number)
    rollout.counted(lambda counts: counts["challenger"]["requests"] == 5)
    ours = read_predictions(log_folder(rollout.folder.path, MODEL))
    theirs = read_predictions(log_folder(rollout.home / "other" / "serving" / MODEL, MODEL))
    assert {*ours["ct_id"]} == {*theirs["ct_id"]}
    assert {*theirs["ct_reason"]} == {"shadow"}


def test_a_challenger_answers_logged_requests_before_a_client_reaches_it(rollout):
    rows = make_rows(30)
    for row in records(rows):
        ask(rollout.url, [row], rollout.client)
    logged = read_predictions(log_folder(rollout.folder.path, MODEL))
    counts = rehearse(rollout.plan(), logged, FEATURES.columns)
    wanted, theirs = (expected(rollout.home, bundle, rows) for bundle in "ab")
    distances = [abs(one - other) for one, other in zip(wanted, theirs, strict=True)]
    assert (counts.compared, counts.challenger.requests, counts.challenger.errors) == (30, 30, 0)
    assert counts.largest_difference == pytest.approx(max(distances), abs=1e-9)
    assert sum(counts.challenger.latency) == sum(counts.champion.scores) == 30
    kept = read_predictions(log_folder(rollout.home / "other" / "serving" / MODEL, MODEL))
    assert {*kept["ct_reason"]} == {"shadow"}
    assert rehearse(rollout.plan(), logged, FEATURES.columns, requests=5).compared == 5


@pytest.mark.parametrize(
    ("url", "challenger", "cause"),
    [(None, "9", "version"), ("http://127.0.0.1:1", "4", "connection")],
)
def test_a_rehearsal_counts_what_the_challenger_fails(rollout, url, challenger, cause):
    ask(rollout.url, [ROW], rollout.client)
    logged = read_predictions(log_folder(rollout.folder.path, MODEL))
    plan = rollout.plan(challenger=challenger, **({"url": url} if url else {}))
    assert rehearse(plan, logged, FEATURES.columns).challenger.causes == {cause: 1}
    with pytest.raises(DataInvalid, match="does not keep absent"):
        rehearse(plan, logged, ("absent",))


@pytest.mark.parametrize(
    "request_body",
    [
        {"dataframe_split": {"columns": ["wind", "who"], "data": [[1, "x"], [2, "y"]]}},
        {"dataframe_records": [{"who": "x"}, {"who": "y"}]},
        {"instances": [{"who": "x"}]},
        {"inputs": {"who": ["x", "y"]}},
        {"inputs": [{"who": "x"}]},
        {"inputs": [{"name": "wind", "data": [1]}, {"name": "who", "data": ["x"]}]},
        {"inputs": [{"name": "Bob", "who": "x"}]},
    ],
)
def test_the_entity_is_found_in_every_form_of_a_request(request_body):
    assert first_value(request_body, "who") == "x"
    assert first_value(request_body, "nobody") is None


@pytest.mark.parametrize(
    "request_body", [None, [], {}, {"inputs": []}, {"inputs": [[1, 2]]}, {"instances": [[1]]}, {"dataframe_split": 3}]
)
def test_a_request_in_which_no_entity_can_be_named_has_none(request_body):
    assert first_value(request_body, "who") is None
