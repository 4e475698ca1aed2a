"""Requests a model server answers: `ct serve` beside `mlflow models serve`, a bare ASGI function and an empty one.

All peers serve the same LightGBM model (100 trees, 30 features) with one worker on loopback, one after the other; the load
comes from a process of its own with as many keep-alive connections as stated, each of which asks again once it is answered.
`--quick` measures a fifth as long; `--no-mlflow` leaves MLflow out. `--mlserver PYTHON` adds Seldon's MLServer from an environment of its
own, made by `pip install mlserver mlserver-lightgbm`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import psutil

from continuous_training.core.task import Features, Task
from continuous_training.deployers.base import Release
from continuous_training.deployers.handover import Pointer, ServingFolder
from continuous_training.deployers.local import stop
from continuous_training.settings import Settings
from continuous_training.trainers import Cleaning, Fitted, LightGBM, Preparation
from continuous_training.trainers.bundle import Manifest, make_bundle

FEATURES, TREES, BATCH = 30, 100, 1000
CONNECTIONS = (1, 16, 64)
NAMES = tuple(f"x{number}" for number in range(FEATURES))

FLOORS = """
import json, lightgbm, numpy
booster = lightgbm.Booster(model_file={model!r})
START = {{"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}}

async def body(receive):
    data = b""
    while True:
        message = await receive()
        data += message["body"]
        if not message["more_body"]:
            return data

async def empty(scope, receive, send):
    await body(receive)
    await send({{**START, "headers": [(b"content-length", b"2")]}})
    await send({{"type": "http.response.body", "body": b"{{}}"}})

async def bare(scope, receive, send):
    asked = await body(receive) or b'{{"dataframe_records": []}}'
    rows = [list(row.values()) for row in json.loads(asked)["dataframe_records"]] or [[0.0] * {features}]
    answer = json.dumps({{"predictions": booster.predict(numpy.array(rows), num_threads=1).tolist()}}).encode()
    await send({{**START, "headers": [(b"content-length", b"%d" % len(answer))]}})
    await send({{"type": "http.response.body", "body": answer}})
"""


@dataclass(frozen=True)
class Load:
    """One way of asking."""

    port: int
    path: str
    body: bytes
    connections: int
    seconds: float
    media_type: str = "application/json"


@dataclass(frozen=True)
class Seen:
    """What a load saw."""

    per_second: float
    p50: float
    p99: float
    asked: int
    failed: int


def ask(load: Load) -> Seen:
    import uvloop

    return uvloop.run(_ask(load))


async def _ask(load: Load) -> Seen:
    head = f"POST {load.path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {load.media_type}\r\n"
    request = f"{head}content-length: {len(load.body)}\r\n\r\n".encode() + load.body
    until = time.perf_counter() + load.seconds
    seen: list[float] = []
    failed = 0

    async def client() -> None:
        nonlocal failed
        while time.perf_counter() < until:
            reader, writer = await asyncio.open_connection("127.0.0.1", load.port, limit=2**24)
            with contextlib.closing(writer):
                while (began := time.perf_counter()) < until:
                    try:
                        writer.write(request)
                        answer = await reader.readuntil(b"\r\n\r\n")
                        await reader.readexactly(_length(answer))
                    except (OSError, asyncio.IncompleteReadError):
                        failed += 1
                        break
                    failed += not answer.startswith(b"HTTP/1.1 200")
                    seen.append(time.perf_counter() - began)
                    if b"connection: close" in answer:
                        break

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(load.connections)))
    p50, p99 = np.percentile(seen, [50, 99]) * 1000
    return Seen(len(seen) / (time.perf_counter() - began), p50, p99, len(seen), failed)


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])


def make_model(folder: Path) -> dict[str, Any]:
    """Write the bundle, the booster and MLflow's folder of one model, and return bodies that ask it."""
    random = np.random.default_rng(7)
    x = random.normal(size=(20_000, FEATURES))
    y = (x[:, 0] + x[:, 1] * x[:, 2] + random.normal(size=len(x)) > 0).astype(float)
    told = {"objective": "binary", "verbosity": -1, "num_threads": 2, "seed": 1}
    booster = lgb.train(told, lgb.Dataset(x, y, feature_name=list(NAMES)), TREES)
    booster.save_model(folder / "model.txt")
    task = Task(kind="classification", label="y", event_time="at")
    features = Features(numeric=NAMES)
    preparation = Preparation(features=features, cleaning=Cleaning(), categories={})
    manifest = Manifest(model="speed", trainer=LightGBM(), task=task, preparation=preparation, classes=(0, 1))
    columns = {name: x[:, place].tolist() for place, name in enumerate(NAMES)}
    fitted = Fitted((folder / "model.txt").read_bytes(), {})
    for version in ("a", "b"):
        (folder / version).mkdir()
        for name, content in make_bundle(manifest, fitted, columns).items():
            (folder / version / name).write_bytes(content)
    rows = [dict(zip(NAMES, row, strict=True)) for row in x[:BATCH].tolist()]
    tensors = [{"name": name, "shape": [1], "datatype": "FP64", "data": [rows[0][name]]} for name in NAMES]
    matrix = {"name": "x", "datatype": "FP64"}
    return {
        "one_matrix": json.dumps({"inputs": [matrix | {"shape": [1, FEATURES], "data": x[0].tolist()}]}).encode(),
        "batch_matrix": json.dumps(
            {"inputs": [matrix | {"shape": [BATCH, FEATURES], "data": x[:BATCH].tolist()}]}
        ).encode(),
        "one": json.dumps({"dataframe_records": rows[:1]}).encode(),
        "one_v2": json.dumps({"inputs": tensors}).encode(),
        "batch": json.dumps({"dataframe_split": {"columns": NAMES, "data": x[:BATCH].tolist()}}).encode(),
        "batch_arrow": arrow(columns),
    }


def arrow(columns: dict[str, list[float]]) -> bytes:
    import pyarrow as pa

    table = pa.table({name: values[:BATCH] for name, values in columns.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], port: int, health: str, log: Path) -> Iterator[tuple[float, int]]:
    """Start a server, and give the seconds until it answered and its process."""
    variables = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # MLflow starts uvicorn by its name
        "OMP_WAIT_POLICY": "PASSIVE",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONPATH": str(log.parent),
    }
    began = time.perf_counter()
    with log.open("ab") as file, subprocess.Popen(command, stdout=file, stderr=file, env=variables) as process:
        try:
            while not answers(f"http://127.0.0.1:{port}{health}"):
                if process.poll() is not None or time.perf_counter() - began > 120:
                    raise RuntimeError(log.read_text()[-2000:])
                time.sleep(0.01)
            yield time.perf_counter() - began, process.pid
        finally:
            end(process.pid)


def end(process: int) -> None:
    """End a server and its workers."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
        for member in family:
            member.terminate()
        psutil.wait_procs(family, timeout=30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def memory(process: int) -> float:
    """Return the MB of a server's processes, without the ones that only watch."""
    family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    return sum(member.memory_info().rss for member in family) / 1e6


def uvicorn_command(function: str, port: int) -> list[str]:
    told = ["--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"]
    return [sys.executable, "-m", "uvicorn", f"floors:{function}", "--port", str(port), *told]


def mlserver_command(folder: Path, python: str, port: int) -> list[str]:
    """Write MLServer's settings and return what starts it: one process, no pool of workers."""
    place = folder / "mlserver"
    place.mkdir()
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    (place / "settings.json").write_text(
        json.dumps({"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports})
    )
    model = {"implementation": "mlserver_lightgbm.LightGBMModel", "parameters": {"uri": str(folder / "model.txt")}}
    (place / "model-settings.json").write_text(json.dumps({"name": "speed", **model}))
    return [str(Path(python).with_name("mlserver")), "start", str(place)]


def peers(folder: Path, *, mlflow: bool, mlserver: str | None) -> Iterator[tuple[str, list[str], int, str, str]]:
    """Give the name, the command, the port, a path that answers when it is ready, and the path that predicts."""
    (folder / "floors.py").write_text(FLOORS.format(model=str(folder / "model.txt"), features=FEATURES))
    for name in ("empty", "bare"):
        port = free_port()
        yield f"{name} ASGI", uvicorn_command(name, port), port, "/", "/"
    port = free_port()
    serve = [str(Path(sys.executable).with_name("ct")), "serve", str(folder / "a"), "--port", str(port)]
    yield "ct serve", serve, port, "/v2/health/ready", "/invocations"
    if mlserver:
        port = free_port()
        yield "MLServer", mlserver_command(folder, mlserver, port), port, "/v2/health/ready", "/v2/models/speed/infer"
    if mlflow:
        import mlflow.lightgbm

        mlflow.lightgbm.save_model(lgb.Booster(model_file=folder / "model.txt"), folder / "logged")
        port = free_port()
        command = [str(Path(sys.executable).with_name("mlflow")), "models", "serve", "-m", str(folder / "logged")]
        yield (
            "mlflow models serve",
            [*command, "-p", str(port), "--env-manager", "local"],
            port,
            "/ping",
            "/invocations",
        )


def measure(pool: ProcessPoolExecutor, load: Load, what: str, process: int) -> Seen:
    before = processor(process)
    seen = pool.submit(ask, load).result()
    each = (processor(process) - before) / seen.asked * 1e6
    print(
        f"serving: {what:46} {seen.per_second:9,.0f}/s  p50 {seen.p50:7.2f} ms  p99 {seen.p99:7.2f} ms  "
        f"processor {each:8,.0f} us each  failed {seen.failed}",
        flush=True,
    )
    return seen


def processor(process: int) -> float:
    """Return the seconds of processor time that a server's processes took so far."""
    family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in family)


def swap(folder: Path, port_seconds: float, swapping: float, pool: ProcessPoolExecutor, bodies: dict[str, Any]) -> None:
    """Ask without a pause while the release is replaced again and again, for `swapping` seconds."""
    home = folder / "home"
    settings = Settings.from_environment({"CT_HOME": str(home)})
    from continuous_training.deployers.local import Local

    release = Release(model="speed", version="1", fence=1, bundle="a")
    url = Local().deploy(release, folder / "a", settings=settings)
    try:
        port = int(url.rpartition(":")[2])
        load = Load(port, "/invocations", bodies["one"], 16, port_seconds)
        measure(pool, load, "ct serve, supervised, one row, 16 connections", ServingFolder(home, "speed").supervisor())
        asking = pool.submit(ask, Load(port, "/invocations", bodies["one"], 16, swapping))
        fence, files = 1, ServingFolder(home, "speed")
        while not asking.done():
            fence += 1
            bundle = "ab"[fence % 2]
            pointer = Pointer(
                model="speed", version=str(fence), fence=fence, bundle=bundle, folder=str(folder / bundle)
            )
            files.write_pointer(pointer)
            while (status := files.read_status()) is None or status.fence != fence:
                time.sleep(0.02)
        seen = asking.result()
        print(
            f"serving: during {fence - 1} hot swaps: {seen.asked:,} asked, {seen.failed} failed, p50 {seen.p50:.2f} ms, "
            f"p99 {seen.p99:.2f} ms",
            flush=True,
        )
    finally:
        stop("speed", home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-mlflow", action="store_true")
    parser.add_argument("--mlserver", metavar="PYTHON", help="the python of an environment that has MLServer")
    parser.add_argument("--swapping", type=float, default=20.0, help="seconds of hot swaps (default: %(default)s)")
    options = parser.parse_args()
    seconds = 1.0 if options.quick else 5.0
    folder = Path(tempfile.mkdtemp())
    spawn = multiprocessing.get_context("spawn")
    try:
        bodies = make_model(folder)
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            for name, command, port, health, path in peers(
                folder, mlflow=not options.no_mlflow, mlserver=options.mlserver
            ):
                with running(command, port, health, folder / f"{name.split()[0]}.log") as (start, process):
                    print(f"serving: {name}: answers after {start:.1f} s", flush=True)
                    one, many = ("one_matrix", "batch_matrix") if name == "MLServer" else ("one", "batch")
                    pool.submit(ask, Load(port, path, bodies[one], 16, 0.5)).result()
                    for connections in CONNECTIONS:
                        load = Load(port, path, bodies[one], connections, seconds)
                        measure(pool, load, f"{name}, one row, {connections} connections", process)
                    if name == "ct serve":
                        load = Load(port, "/v2/models/speed/infer", bodies["one_v2"], 16, seconds)
                        measure(pool, load, "ct serve, one row as V2 tensors, 16 connections", process)
                    print(f"serving: {name}: {memory(process):.0f} MB after one-row requests", flush=True)
                    if name != "empty ASGI":
                        batch = many if name != "bare ASGI" else None
                        if batch:
                            measure(
                                pool,
                                Load(port, path, bodies[batch], 1, seconds),
                                f"{name}, {BATCH} rows as JSON",
                                process,
                            )
                    if name == "ct serve":
                        media_type = "application/vnd.apache.arrow.stream"
                        load = Load(port, path, bodies["batch_arrow"], 1, seconds, media_type)
                        measure(pool, load, f"{name}, {BATCH} rows as Arrow", process)
                    print(f"serving: {name}: {memory(process):.0f} MB at the end", flush=True)
            swap(folder, seconds, options.swapping, pool, bodies)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
