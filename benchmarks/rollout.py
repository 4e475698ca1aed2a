"""What a rollout costs the champion's clients: no plan, a shadow of all requests, a canary of half of them.

Champion and challenger are two real server processes with the same LightGBM model (100 trees, 30 features), one worker each.
Requests of one row arrive at random moments (Poisson) at a fixed rate over kept connections, so that a server that becomes slower
is not asked less. Rounds of the kinds take turns, and each kind's latencies are taken together. `--quick` measures a fifth as
long.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
from serving import Load, make_model

from continuous_training.core.rollout import RolloutPlan
from continuous_training.deployers.golden import LOOPBACK
from continuous_training.deployers.handover import Pointer, ServingFolder
from continuous_training.deployers.processes import STARTUP_SECONDS, ServerProcess

MODEL = "speed"
RATES = (200, 1000)
ROUNDS, SECONDS = 5, 6.0
CONNECTIONS = 32
KINDS = {"no plan": None, "shadow 100%": ("shadow", 1.0), "canary 50%": ("canary", 0.5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    seconds = SECONDS / 5 if parser.parse_args().quick else SECONDS
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server((LOOPBACK, 0)) as first,
        socket.create_server((LOOPBACK, 0)) as second,
    ):
        home = Path(folder)
        bodies = make_model(home)
        bundle = str(home / "a")
        place = ServingFolder(home, MODEL)
        with place.deploying():
            pass  # makes the folder
        pointers = [Pointer(model=MODEL, version=str(n), fence=n, bundle="b", folder=bundle) for n in (1, 2)]
        with (
            ServerProcess(pointers[0], first, place=(str(home), "")) as champion,
            ServerProcess(pointers[1], second, place=(str(home), "challenger")) as challenger,
        ):
            assert champion.report(STARTUP_SECONDS) == challenger.report(STARTUP_SECONDS) == ""
            load = Load(first.getsockname()[1], "/invocations", bodies["one"], CONNECTIONS, seconds)
            for rate in RATES:
                measure(
                    rate,
                    load,
                    place,
                    psutil.Process(champion.process.pid),
                    f"http://127.0.0.1:{second.getsockname()[1]}",
                )


def measure(rate: int, load: Load, place: ServingFolder, champion: psutil.Process, challenger: str) -> None:
    seen: dict[str, list[float]] = {kind: [] for kind in KINDS}
    used = dict.fromkeys(KINDS, 0.0)
    failed = 0
    with ProcessPoolExecutor(1) as clients:
        for _ in range(ROUNDS):
            for kind, wanted in KINDS.items():
                begun = datetime.now(UTC)
                place.write_plan(wanted and plan(*wanted, begun=begun, url=challenger))
                time.sleep(0.2)  # a server looks ten times a second
                before = sum(champion.cpu_times()[:2])
                latencies, wrong = clients.submit(arrive, rate, load).result()
                used[kind] += sum(champion.cpu_times()[:2]) - before
                seen[kind] += latencies
                failed += wrong
    place.write_plan(None)
    print(f"{rate} requests a second, {failed} failed")
    plain = np.percentile(seen["no plan"], [50, 99]) * 1000
    for kind, latencies in seen.items():
        p50, p99 = np.percentile(latencies, [50, 99]) * 1000
        print(
            f"  {kind:12} {len(latencies):7,} requests   p50 {p50:6.2f} ms ({p50 / plain[0] - 1:+6.1%})   "
            f"p99 {p99:6.2f} ms ({p99 / plain[1] - 1:+6.1%})   "
            f"processor time of the champion's server {used[kind] / len(latencies) * 1e6:4.0f} us a request"
        )


def plan(mode: str, share: float, *, begun: datetime, url: str) -> RolloutPlan:
    return RolloutPlan.model_validate(
        {
            "fence": 1, "begun": begun, "mode": mode, "share": share, "champion": "1", "challenger": "2",
            "url": url, "salt": "benchmark", "timeout": 5,
        }
    )  # fmt: skip


def arrive(rate: int, load: Load) -> tuple[list[float], int]:
    import uvloop

    return uvloop.run(_arrive(rate, load))


async def _arrive(rate: int, load: Load) -> tuple[list[float], int]:
    """Send requests at random moments, and return how long after its moment each was answered, and how many failed."""
    request = (
        f"POST {load.path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {load.media_type}\r\n"
        f"content-length: {len(load.body)}\r\n\r\n"
    ).encode() + load.body
    source, moments, moment = random.Random(7), [], 0.0
    while (moment := moment + source.expovariate(rate)) < load.seconds:
        moments.append(moment)
    idle = [await asyncio.open_connection("127.0.0.1", load.port) for _ in range(load.connections)]
    free = asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]()
    for connection in idle:
        free.put_nowait(connection)
    began, latencies, failed = time.perf_counter(), [], 0

    async def one(due: float) -> None:
        nonlocal failed
        reader, writer = await free.get()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        _, _, rest = head.lower().partition(b"content-length:")
        await reader.readexactly(int(rest.partition(b"\r\n")[0]))
        latencies.append(time.perf_counter() - began - due)
        failed += not head.startswith(b"HTTP/1.1 200")
        free.put_nowait((reader, writer))

    async with asyncio.TaskGroup() as tasks:
        for due in moments:
            await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
            tasks.create_task(one(due))
    for _, writer in idle:
        writer.close()
    return latencies, failed


if __name__ == "__main__":
    main()
