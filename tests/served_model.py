"""A small trained model and the processes that serve it, with nothing left behind."""

import json
import shutil
import socket
import time

import httpx
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest

from continuous_training.core.task import Features, Task
from continuous_training.deployers.base import Release
from continuous_training.deployers.handover import Pointer, ServingFolder
from continuous_training.deployers.local import stop
from continuous_training.settings import Settings
from continuous_training.trainers import Cleaning, LightGBM, Preparation, TrainingData, encode_label
from continuous_training.trainers.bundle import Manifest, load_bundle, make_bundle

MODEL = "flights"
TASK = Task(kind="classification", label="late", event_time="at")
FEATURES = Features(numeric=("distance", "wind"), categorical=("carrier",))


def make_rows(rows=400, seed=3):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "distance": random.normal(1000, 300, rows),
            "wind": np.where(random.random(rows) < 0.1, np.nan, random.gamma(2, 5, rows)),
            "carrier": random.choice(["AA", "UA", "B6"], rows),
            "at": pd.date_range("2013-01-01", periods=rows, freq="h", tz="UTC"),
        }
    )
    return frame.assign(late=(frame["distance"] + 20 * frame["wind"].fillna(0) + random.normal(0, 200, rows)) > 1200)


def records(rows):
    """Rows as a client would send them: plain JSON with null where a value is missing."""
    return json.loads(rows[[*FEATURES.columns]].to_json(orient="records", double_precision=15))


def stream(rows):
    """Rows as a stream of Arrow's IPC format, with a column that is no feature."""
    table = pa.Table.from_pandas(rows[[*FEATURES.columns, "at"]], preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    return sink.getvalue().to_pybytes()


def train(folder, seed, trainer=LightGBM(rounds=20), task=TASK):  # noqa: B008 - it cannot be changed
    rows = make_rows(seed=seed)
    preparation = Preparation.fit(rows, FEATURES, Cleaning())
    label, classes = encode_label(rows[task.label], task)
    matrix = preparation.transform(rows)
    data = TrainingData(
        matrix[:300], label[:300], matrix[300:], label[300:], FEATURES.columns, preparation.categorical, len(classes)
    )
    manifest = Manifest(model=MODEL, trainer=trainer, task=task, preparation=preparation, classes=classes)
    files = make_bundle(manifest, trainer.fit(data, seed=seed), rows.tail(20))
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return two bundles of the same model that answer differently."""
    return [train(tmp_path_factory.mktemp("trained") / str(seed), seed) for seed in (3, 4)]


@pytest.fixture
def home(tmp_path, trained):
    """Return a home folder with the bundles `a` and `b` and the broken one `c`; nothing may run for it afterwards."""
    home = tmp_path / "home"
    for name, bundle in zip("abc", [*trained, trained[0]], strict=True):
        shutil.copytree(bundle, home / "bundles" / name)
    model = home / "bundles" / "c" / "model.txt"
    model.write_bytes(model.read_bytes()[:-100])
    yield home
    if home.exists():
        stop(MODEL, home)
    assert_nothing_runs(tmp_path)


def assert_nothing_runs(folder):
    _, left = psutil.wait_procs(running(folder), timeout=30)
    assert not left


def running(folder):
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if any(str(folder) in word for word in process.info["cmdline"] or ())]


def release(fence, bundle="a", version=None):
    return Release(model=MODEL, version=version or str(fence), fence=fence, bundle=bundle)


def settings(home):
    return Settings.from_environment({"CT_HOME": str(home)})


def pointer(home, fence, bundle="a"):
    return Pointer(**release(fence, bundle).model_dump(), folder=str(home / "bundles" / bundle))


def expected(home, bundle, rows):
    return load_bundle(home / "bundles" / bundle).answer({name: rows[name] for name in FEATURES.columns})


def ask(url, rows, client=httpx):
    return client.post(f"{url}/invocations", json={"dataframe_records": rows}, timeout=60)


def status_when(home, condition, seconds=120):
    """Return the status as soon as `condition` holds for it."""
    folder, deadline = ServingFolder(home, MODEL), time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = folder.read_status()
        if status and condition(status):
            return status
        time.sleep(0.05)
    pytest.fail(
        f"not in {seconds} s; the last status was {status!r}\n{folder.log.read_text() if folder.log.exists() else ''}"
    )


def listening():
    return socket.create_server(("127.0.0.1", 0))
