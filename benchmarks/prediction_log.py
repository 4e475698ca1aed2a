"""What the prediction log costs a request of one row: 30 features, into a folder on this machine's disk.

Prints microseconds of processor time a request for the ways to keep columns, and for the two parts that nothing can save: the encoding as JSON
and the write.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from continuous_training.core.prediction_log import LogPolicy
from continuous_training.deployers.base import Release
from continuous_training.serving.app import Answered
from continuous_training.serving.predictions import PredictionLog

if TYPE_CHECKING:
    from collections.abc import Callable

REQUESTS, REPEATS, FEATURES = 5000, 7, 30
RELEASE = Release(model="benchmark", version="7", fence=7, bundle="none")


def main() -> None:
    source = random.Random(7)
    names = [f"feature_{number}" for number in range(FEATURES)]
    asked = [
        Answered(f"{number:032x}", {name: [source.gauss(0, 1)] for name in names}, [source.random()], "7")
        for number in range(REQUESTS)
    ]
    columns = tuple(names)
    ways = {
        "all columns": LogPolicy(),
        "two of them hashed": LogPolicy(hash=columns[:2]),
        "no columns": LogPolicy(keep=()),
        "one request in ten": LogPolicy(sample=0.1),
    }
    print(
        f"{FEATURES} features; median and worst of {REPEATS} runs of {REQUESTS:,} requests, in microseconds a request"
    )
    for name, policy in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            log = PredictionLog(Path(folder, "log"), RELEASE, policy)
            show(name, timed(lambda log=log: [log.record(each) for each in asked]))
            log.close()
            assert not log.lost
    show("json.dumps alone", timed(lambda: [json.dumps(each.columns) for each in asked]))
    line = json.dumps(asked[0].columns).encode()
    with tempfile.TemporaryFile() as file:
        show("write alone", timed(lambda: [os.write(file.fileno(), line) for _ in asked]))


def timed(run: Callable[[], Any]) -> list[float]:
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        run()
        times.append((time.process_time() - begin) / REQUESTS * 1e6)
    return times


def show(name: str, times: list[float]) -> None:
    print(f"{name:22} {statistics.median(times):6.1f} {max(times):6.1f}")


if __name__ == "__main__":
    main()
