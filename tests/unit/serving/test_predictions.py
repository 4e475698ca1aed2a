"""The prediction log: what a server writes, what survives its end, and what a reader gets back."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from pydantic import ValidationError

from continuous_training.core.errors import ArtefactCorrupt, DataInvalid
from continuous_training.core.prediction_log import LogPolicy, log_folder
from continuous_training.core.window import Window
from continuous_training.deployers.processes import STARTUP_SECONDS, ServerProcess
from continuous_training.policies.rollout_guards import QualityGuard
from continuous_training.serving import predictions
from continuous_training.serving.app import Answered
from continuous_training.serving.predictions import REASON, PredictionLog, Reason
from continuous_training.sources._predictions import (
    COMPARED,
    add_outcomes,
    compact,
    count_losses,
    join,
    read_outcomes,
    read_predictions,
    read_recent,
)  # fmt: skip
from served_model import MODEL, ask, listening, make_rows, pointer, records, release

NOW = datetime(2013, 3, 1, tzinfo=UTC)
COLUMNS = {"distance": [900.0], "wind": [None], "carrier": ["UA"]}


class Clock:
    def __init__(self):
        self.now = NOW.timestamp()

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def folder(tmp_path):
    return log_folder(tmp_path, MODEL)


@pytest.fixture
def opened(folder, clock):
    logs = []

    def open_log(**policy):
        logs.append(PredictionLog(folder, release(3), LogPolicy(**policy), clock))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()


def answered(name, columns=None, scores=(0.25,)):
    return Answered(name, COLUMNS if columns is None else columns, [*scores], "3")


def test_a_prediction_comes_back_with_everything_that_is_known_of_it(opened, folder):
    token = REASON.set(Reason("canary", 0.05, "customer 7"))
    opened().record(answered("a"))
    REASON.reset(token)
    (row,) = read_predictions(folder).to_dict("records")
    assert len(row.pop("ct_digest")) == len(row.pop("ct_entity")) == 32
    assert row.pop("wind") is None
    assert row == {
        "ct_id": "a", "ct_time": NOW, "ct_version": "3", "ct_fence": 3, "ct_reason": "canary", "ct_share": 0.05,
        "ct_prediction": 0.25, "distance": 900.0, "carrier": "UA",
    }  # fmt: skip


def test_each_row_of_a_request_has_an_id_of_its_own(opened, folder):
    opened().record(answered("a", {"distance": [1, 2]}, (0.1, 0.2)))
    rows = read_predictions(folder)
    assert [*zip(rows["ct_id"], rows["distance"], rows["ct_prediction"], strict=True)] == [
        ("a#0", 1, 0.1),
        ("a#1", 2, 0.2),
    ]


def test_many_rows_are_written_down_by_whoever_awaits_it_and_beside_others(opened, folder):
    log, rows = opened(hash=("carrier",)), 5000
    many = {"distance": [*range(rows)], "carrier": ["UA"] * rows}

    async def together():
        waiting = [log.record(answered(f"many{number}", many, [0.5] * rows)) for number in range(4)]
        assert log.record(answered("one")) is None
        await asyncio.gather(*waiting)

    asyncio.run(together())
    seen = read_predictions(folder)
    assert (log.recorded, log.lost, len(seen)) == (5, 0, 4 * rows + 1)
    assert [*seen["distance"][seen["ct_id"].str.startswith("many2#")]] == [*range(rows)]
    assert seen["carrier"].nunique() == 1


def test_no_predictions_are_an_empty_frame_with_the_logs_columns(folder):
    assert list(read_predictions(folder).columns)[:2] == ["ct_id", "ct_time"]


def test_the_policy_hides_columns_and_equal_values_stay_equal(opened, folder):
    log = opened(hash=("carrier",), drop=("distance",))
    for name, carrier in (("a", "UA"), ("b", "UA"), ("c", "AA"), ("d", None)):
        log.record(answered(name, {**COLUMNS, "carrier": [carrier]}))
    text = b"".join(path.read_bytes() for path in folder.glob("*.jsonl"))
    assert b"UA" not in text
    assert b"distance" not in text
    rows = read_predictions(folder).set_index("ct_id")["carrier"]
    assert rows["a"] == rows["b"] != rows["c"]
    assert rows["d"] is None


def test_only_named_columns_are_kept_where_they_are_named(opened, folder):
    opened(keep=("distance",)).record(answered("a"))
    assert {"wind", "carrier"} & {*read_predictions(folder).columns} == set()


def test_the_key_of_the_hashes_is_a_secret_of_the_folder_and_stays(opened, folder):
    for name in "ab":
        opened(hash=("carrier",)).record(answered(name))
    rows = read_predictions(folder)
    assert rows["carrier"].nunique() == 1
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.glob("*.jsonl"))


def test_the_same_requests_are_sampled_by_every_server(opened, folder):
    names = [str(number) for number in range(1000)]
    for _ in range(2):
        log = opened(sample=0.1)
        for name in names:
            log.record(answered(name))
    seen = read_predictions(folder)["ct_id"].value_counts()
    assert set(seen) == {2}
    assert set(seen.index) == {name for name in names if LogPolicy(sample=0.1).samples(name)}
    assert 70 < len(seen) < 130


def test_two_processes_write_two_segments_and_a_reader_sees_both(opened, folder):
    opened().record(answered("a"))
    opened().record(answered("b"))
    assert len([*folder.glob("*.jsonl")]) == 2
    assert sorted(read_predictions(folder)["ct_id"]) == ["a", "b"]


def test_a_segment_becomes_parquet_once_nobody_writes_it_and_reads_the_same(opened, folder):
    log = opened()
    log.record(answered("a"))
    log.record(answered("b", {**COLUMNS, "carrier": [5]}))
    assert compact(folder) == 0
    log.close()
    before = read_predictions(folder)
    assert compact(folder) == 1
    assert [path.suffix for path in folder.glob("*-*")] == [".parquet"]
    assert read_predictions(folder).equals(before)
    assert compact(folder) == 0


def test_a_crash_between_the_two_forms_shows_no_prediction_twice(opened, folder):
    log = opened()
    log.record(answered("a"))
    log.close()
    (lines,) = folder.glob("*.jsonl")
    content = lines.read_bytes()
    compact(folder)
    lines.write_bytes(content)
    assert [*read_predictions(folder)["ct_id"]] == ["a"]


def test_a_window_is_read_from_both_forms(opened, folder, clock):
    log = opened()
    for name in "abcd":
        log.record(answered(name))
        clock.now += 3600
        if name == "b":
            log.close()
            compact(folder)
    window = Window(start=NOW + timedelta(hours=1), end=NOW + timedelta(hours=3))
    assert [*read_predictions(folder, window)["ct_id"]] == ["b", "c"]


def test_the_newest_are_read_without_the_segments_before_them(opened, folder, clock):
    for segment in range(3):
        log = opened()
        for number in range(4):
            log.record(answered(f"{segment}{number}"))
            clock.now += 1
        log.close()
    min(folder.glob("*.jsonl")).write_text("not read")
    assert [*read_recent(folder, 5)["ct_id"]] == ["13", "20", "21", "22", "23"]
    assert read_recent(folder.parent / "nowhere", 5).empty


def test_a_new_segment_is_begun_after_an_hour_and_when_it_is_large(opened, folder, clock, monkeypatch):
    monkeypatch.setattr(predictions, "SEGMENT_BYTES", 500)
    log = opened()
    for _ in range(4):
        log.record(answered("a"))
    assert len([*folder.glob("*.jsonl")]) > 1
    before = len([*folder.glob("*.jsonl")])
    clock.now += 3601
    log.record(answered("b"))
    assert len([*folder.glob("*.jsonl")]) == before + 1


def test_the_oldest_segments_make_room_and_old_ones_go(opened, folder, clock):
    log = opened(most_mb=8, age="1 day")
    wide = {**COLUMNS, "text": ["x" * 2**19]}
    for number in range(40):
        clock.now += 1
        log.record(answered(str(number), wide))
    assert sum(path.stat().st_size for path in folder.glob("*.jsonl")) <= 8 * 2**20
    assert [*read_predictions(folder)["ct_id"]][-1] == "39"
    newest = max(folder.glob("*.jsonl"))
    os.utime(newest, (0, 0))
    clock.now += 3601
    log.record(answered("new"))
    assert not newest.exists()
    assert [*read_predictions(folder)["ct_id"]][-1] == "new"


def test_a_record_that_was_cut_off_is_left_out_and_other_bytes_are_told(opened, folder):
    log = opened()
    log.record(answered("a"))
    log.record(answered("b"))
    log.close()
    (path,) = folder.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-5])
    assert [*read_predictions(folder)["ct_id"]] == ["a"]
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(ArtefactCorrupt, match="line 1"):
        read_predictions(folder)


def test_a_folder_that_cannot_be_written_loses_predictions_and_says_so_and_never_raises(opened, folder, clock, caplog):
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    log = opened()
    for _ in range(3):
        log.record(answered("a"))
    assert (log.recorded, log.lost) == (0, 3)
    assert len(caplog.records) == 1  # and not one for each request
    folder.unlink()
    clock.now += 2
    log.record(answered("b"))
    assert (log.recorded, log.lost) == (1, 3)
    assert [*read_predictions(folder)["ct_id"]] == ["b"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from continuous_training.core.prediction_log import LogPolicy
from continuous_training.deployers.base import Release
from continuous_training.serving.app import Answered
from continuous_training.serving.predictions import PredictionLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
log = PredictionLog(Path(sys.argv[1]), Release(model="flights", version="3", fence=3, bundle="a"), LogPolicy())
for number in range(20):
    log.record(Answered(str(number), {"distance": [1.0]}, [0.5], "3"))
print(log.recorded, log.lost)
"""


def test_a_disk_that_becomes_full_on_the_way_leaves_whole_records_only(folder):
    told = subprocess.run([sys.executable, "-c", FULL_DISK, folder], capture_output=True, text=True, check=True)
    recorded, lost = map(int, told.stdout.split())
    assert 0 < recorded < 20 == recorded + lost
    assert len(read_predictions(folder)) == recorded
    assert told.stderr.count("are not written down") == 1
    assert all(path.read_bytes().endswith(b"\n") for path in folder.glob("*.jsonl"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 2000


ENDLESS = """
import itertools, sys
from pathlib import Path
from continuous_training.core.prediction_log import LogPolicy
from continuous_training.deployers.base import Release
from continuous_training.policies.rollout_guards import QualityGuard
from continuous_training.serving import predictions
from continuous_training.serving.app import Answered
predictions.SEGMENT_BYTES = 20_000
log = predictions.PredictionLog(Path(sys.argv[1]), Release(model="flights", version="3", fence=3, bundle="a"), LogPolicy())
for number in itertools.count():
    log.record(Answered(str(number), {"distance": [1.0], "carrier": ["UA"]}, [0.5], "3"))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_whatever_was_acknowledged_is_read_back_after_kill_9(folder):
    with subprocess.Popen([sys.executable, "-c", ENDLESS, folder], stdout=subprocess.PIPE) as process:
        seen = [process.stdout.readline() for _ in range(2000)]
        process.send_signal(signal.SIGKILL)
        seen += process.stdout.read().splitlines(keepends=True)
    acknowledged = {line.decode().strip() for line in seen if line.endswith(b"\n")}
    assert len(acknowledged) >= 2000
    assert acknowledged <= {*read_predictions(folder)["ct_id"]}
    assert len([*folder.glob("*.jsonl")]) > 1
    assert compact(folder) > 1
    assert acknowledged <= {*read_predictions(folder)["ct_id"]}


def test_outcomes_join_by_id_and_the_last_one_wins_by_its_time(opened, folder):
    log = opened()
    for name in "abc":
        log.record(answered(name))
    later = "2013-03-03T00:00:00Z"
    add_outcomes(folder, [{"id": "a", "value": 1, "time": later}, {"id": "b", "value": False}], NOW)
    add_outcomes(
        folder, [{"id": "a", "value": 0, "time": "2013-03-02"}, {"id": "c", "kind": "cost", "value": 9.5}], NOW
    )
    joined = join(folder, "label").set_index("ct_id")["ct_outcome"]
    assert (joined["a"], joined["b"]) == (1, False)
    assert joined.isna()["c"]
    assert [*read_outcomes(folder, "cost")["ct_outcome"]] == [9.5]
    assert [*read_outcomes(folder, "label", NOW + timedelta(hours=12))["ct_id"]] == ["b"]
    then = join(folder, "label", as_of=NOW + timedelta(days=1, hours=1)).set_index("ct_id")["ct_outcome"]
    assert then["a"] == 0


@pytest.mark.parametrize(
    "wrong", [{"value": 1}, {"id": "a"}, {"id": "", "value": 1}, {"id": "a", "value": 1, "time": "soon"}]
)
def test_an_outcome_that_joins_nothing_is_refused_with_its_number_and_nothing_is_added(folder, wrong):
    with pytest.raises(DataInvalid, match=r"outcome 2 .* Nothing was added"):
        add_outcomes(folder, [{"id": "a", "value": 1}, wrong], NOW)
    assert read_outcomes(folder, "label").empty


def test_a_policy_that_contradicts_itself_is_refused():
    with pytest.raises(ValidationError, match="a cannot be kept, hashed and dropped at once"):
        LogPolicy(hash=("a",), drop=("a",))


def test_values_of_numpy_are_written_down(opened, folder):
    numpy = pytest.importorskip("numpy")
    opened().record(Answered("a", {"distance": [numpy.float32(1.5)]}, [numpy.float64(0.5)], "3"))
    assert read_predictions(folder)["distance"][0] == 1.5
    assert json.loads(next(folder.glob("*.jsonl")).read_text())["predictions"] == [0.5]


def test_losses_are_counted_for_each_version_where_the_outcome_is_known(opened, folder):
    for version, score in (("3", 0.9), ("4", 0.5)):
        for name in ("yes", "no", "unknown"):
            opened().record(Answered(name, COLUMNS, [score], version))
    add_outcomes(folder, [{"id": "yes", "value": "late"}, {"id": "no", "value": "in time"}], NOW)
    guard = QualityGuard()
    counted = count_losses(join(folder, "label"), guard, classes=("in time", "late"))
    assert counted == {"3": guard.count([0.1**2, 0.9**2]), "4": guard.count([0.25, 0.25])}


def test_only_the_columns_that_are_asked_for_are_read(opened, folder):
    log = opened()
    log.record(answered("a"))
    for _ in range(2):
        rows = join(folder, "label", columns=COMPARED)
        assert [*rows.columns] == ["ct_time", *COMPARED, "ct_outcome", "ct_outcome_time"]
        assert [*rows["ct_id"]] == ["a"]
        log.close()
        assert compact(folder) in {0, 1}
    assert {path.suffix for path in folder.glob("*-*")} == {".parquet"}


def test_losses_of_values_are_in_units_of_the_scale(opened, folder):
    opened().record(answered("a", scores=(30.0,)))
    add_outcomes(folder, [{"id": "a", "value": 45}], NOW)
    guard = QualityGuard(scale=60)
    assert count_losses(join(folder, "label"), guard) == {"3": guard.count([0.25])}
    assert count_losses(join(folder, "other"), guard) == {}


def test_losses_of_several_classes_come_from_all_probabilities_and_an_outcome_of_no_class_is_named(opened, folder):
    opened().record(answered("a", scores=([0.2, 0.3, 0.5],)))
    add_outcomes(folder, [{"id": "a", "value": "c"}], NOW)
    guard, joined = QualityGuard(), join(folder, "label")
    assert count_losses(joined, guard, classes=("a", "b", "c")) == {"3": guard.count([(0.04 + 0.09 + 0.25) / 2])}
    with pytest.raises(DataInvalid, match="an outcome is 'c', which is not one of the classes 'a', 'b'"):
        count_losses(joined, guard, classes=("a", "b"))


def test_whatever_a_client_has_seen_is_in_the_log_after_the_server_was_killed(home):
    seen, enough = [], threading.Event()

    def ask_on(url):
        with httpx.Client() as client, contextlib.suppress(httpx.HTTPError):
            while True:
                seen.append(ask(url, records(make_rows(1)), client).headers["ct-request-id"])
                if len(seen) >= 300:
                    enough.set()

    served = pointer(home, 3).model_copy(update={"log": LogPolicy()})
    with listening() as listener, ServerProcess(served, listener, place=(str(home), "")) as server:
        assert server.report(STARTUP_SECONDS) == ""
        with ThreadPoolExecutor() as threads:
            for _ in range(4):
                threads.submit(ask_on, f"http://127.0.0.1:{listener.getsockname()[1]}")
            assert enough.wait(60)
            server.process.kill()
            server.process.wait()
            listener.close()
    logged = read_predictions(log_folder(home, MODEL))
    assert len(seen) >= 300
    assert {*seen} <= {*logged["ct_id"]}
    assert {*logged["ct_reason"]} == {"champion"}
