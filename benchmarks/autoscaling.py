"""Do the shipped autoscaler's settings keep latency and cost within limits? A simulation from measured service times.

One server answers requests on loopback for real, one after another; how long each took, and how long the server needed to get
ready, is what the simulated pods do. Arrivals are Poisson along three traces, given in pods' worth of work. Requests go to a ready
pod at random, as through a Service, and wait there in line. The HorizontalPodAutoscaler is its published algorithm with the
settings that `ct manifests` prints: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/.

Prints latency, recovery and cost for each trace; the exit code is 1 when a limit is missed.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from continuous_training.core.task import Features, Task
from continuous_training.deployers import KubernetesService
from continuous_training.deployers.base import Release
from continuous_training.settings import Settings
from continuous_training.trainers import Cleaning, LightGBM, Preparation, TrainingData, encode_label
from continuous_training.trainers.bundle import Manifest, make_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

SYNC, TOLERANCE = 15, 0.1  # the controller's defaults: seconds between two looks, and what is close enough
REQUESTS, ROWS = 400, 100
SCHEDULING = 5.0  # seconds for node and container, on top of the server's own start; the image is on the node
SLOW = 0.25  # seconds; a request that took longer is a slow one
MOST_SLOW, MOST_RECOVERY, MOST_COST = 0.02, 120, 1.5

STEADY, WAVE, SPIKE = "steady", "wave, a day in 40 minutes", "spike, times four at once"
TRACES: dict[str, Callable[[float], float]] = {  # pods' worth of work at a second
    STEADY: lambda _: 3.0,
    WAVE: lambda t: 3.0 - 2.0 * math.cos(2 * math.pi * t / 2400),
    SPIKE: lambda t: 4.0 if 600 <= t < 1800 else 1.0,
}
SECONDS = 2400


@dataclass
class Autoscaler:
    """The HorizontalPodAutoscaler's decision, from the `spec` of a manifest."""

    spec: dict[str, Any]
    recommended: list[tuple[float, int]] = field(default_factory=list)
    changes: list[tuple[float, int]] = field(default_factory=list)

    def decide(self, now: float, used: list[float], starting: int) -> int:
        """Return how many pods there shall be, given the CPU used by each ready pod as a share of what it asks for.

        Pods that start count as idle when more are wanted, so that the same load is not answered twice.
        """
        current = len(used) + starting
        wanted = self._limited(now, current, self._stabilised(now, current, self._raw(used, starting)))
        wanted = min(max(wanted, self.spec["minReplicas"]), self.spec["maxReplicas"])
        if wanted != current:
            self.changes.append((now, wanted - current))
        return wanted

    def _raw(self, used: list[float], starting: int) -> int:
        current, target = (
            len(used) + starting,
            self.spec["metrics"][0]["resource"]["target"]["averageUtilization"] / 100,
        )
        ratio = sum(used) / len(used) / target
        if starting and ratio > 1:
            ratio = max(1.0, sum(used) / current / target)
        return current if abs(ratio - 1) <= TOLERANCE else math.ceil(ratio * (current if ratio > 1 else len(used)))

    def _stabilised(self, now: float, current: int, wanted: int) -> int:
        """Follow the least recommendation of the window on the way up, the greatest on the way down."""
        self.recommended.append((now, wanted))

        def window(direction: str) -> list[int]:
            since = now - self.spec["behavior"][direction]["stabilizationWindowSeconds"]
            return [value for moment, value in self.recommended if moment >= since]

        up, down = min(window("scaleUp")), max(window("scaleDown"))
        return up if up > current else min(down, current)

    def _limited(self, now: float, current: int, wanted: int) -> int:
        """Change by no more than the policy that allows most."""
        direction = "scaleUp" if wanted > current else "scaleDown"
        sign = 1 if wanted > current else -1
        allowed = []
        for policy in self.spec["behavior"][direction]["policies"]:
            recent = [by for moment, by in self.changes if moment > now - policy["periodSeconds"] and by * sign > 0]
            before = current - sum(recent)
            step = policy["value"] if policy["type"] == "Pods" else before * policy["value"] / 100
            allowed.append(math.ceil(before + step) if sign > 0 else math.floor(before - step))
        return min(wanted, max(allowed)) if sign > 0 else max(wanted, min(allowed))


@dataclass
class Outcome:
    """What one trace cost and how its requests fared."""

    latencies: np.ndarray
    arrivals: np.ndarray
    pod_seconds: float
    most: int


def simulate(
    load: Callable[[float], float], services: np.ndarray, start: float, scaler: Autoscaler, seconds: int = SECONDS
) -> Outcome:
    """Let requests arrive for `seconds`, and look at the pods every `SYNC` seconds as the autoscaler does."""
    random, mean = np.random.default_rng(7), float(services.mean())
    ready = dict.fromkeys(range(math.ceil(load(0) / 0.6)), 0.0)  # when each pod has finished what it was given
    given: dict[int, float] = dict.fromkeys(ready, 0.0)
    coming: dict[int, float] = {}
    latencies, arrivals, cost, most, last = [], [], 0.0, 0, len(ready)
    for second in range(seconds):
        for pod in [pod for pod, at in coming.items() if at <= second]:
            ready[pod], given[pod] = coming.pop(pod), 0.0
        if second and second % SYNC == 0:
            used = []
            for pod, free in ready.items():
                waiting = max(0.0, free - second)
                used.append(min(1.0, max(0.0, given[pod] - waiting) / SYNC))
                given[pod] = waiting
            wanted = scaler.decide(second, used, len(coming))
            while len(ready) + len(coming) < wanted:
                coming[last] = second + start
                last += 1
            while len(ready) + len(coming) > wanted:  # those that start go first
                (coming or ready).popitem()
        count = random.poisson(load(second) / mean)
        moments = second + np.sort(random.random(count))
        pods = list(ready)
        for moment, chosen, service in zip(
            moments.tolist(),
            random.integers(len(pods), size=count).tolist(),
            random.choice(services, count).tolist(),
            strict=True,
        ):
            pod = pods[chosen]
            ready[pod] = max(ready[pod], moment) + service
            given[pod] += service
            latencies.append(ready[pod] - moment)
            arrivals.append(moment)
        cost += len(ready) + len(coming)
        most = max(most, len(ready) + len(coming))
    return Outcome(np.array(latencies), np.array(arrivals), cost, most)


def recovery(outcome: Outcome, since: float) -> float:
    """Return how many seconds after `since` the last of ten seconds with too many slow requests ended."""
    tens = (outcome.arrivals // 10).astype(int)
    slow = np.bincount(tens, outcome.latencies > SLOW) / np.maximum(np.bincount(tens), 1)
    bad = [ten * 10 + 10 for ten in np.flatnonzero(slow > MOST_SLOW) if ten * 10 >= since - 10]
    return max(0.0, max(bad, default=since) - since)


def shipped() -> dict[str, Any]:
    """Return the autoscaler's settings as they are printed and applied."""
    settings = Settings.from_environment({"CT_ARTEFACTS": "s3://b/p"})
    release = Release(model="m", version="1", fence=1, bundle="b")
    objects = KubernetesService(image="i").manifests(release, settings)
    [spec] = [each["spec"] for each in objects if each["kind"] == "HorizontalPodAutoscaler"]
    return spec


def bundle(folder: Path) -> Path:
    """Train a small LightGBM model and return its bundle."""
    import pandas as pd

    random, rows = np.random.default_rng(3), 2000
    names = [f"x{number}" for number in range(10)]
    frame = pd.DataFrame(random.normal(size=(rows, len(names))), columns=names)
    frame["at"] = pd.date_range("2013-01-01", periods=rows, freq="h", tz="UTC")
    frame["late"] = frame["x0"] + random.normal(size=rows) > 0
    task = Task(kind="classification", label="late", event_time="at")
    features = Features(numeric=tuple(names))
    preparation = Preparation.fit(frame, features, Cleaning())
    label, classes = encode_label(frame["late"], task)
    matrix, trainer = preparation.transform(frame), LightGBM(rounds=100)
    data = TrainingData(
        matrix[:1500],
        label[:1500],
        matrix[1500:],
        label[1500:],
        features.columns,
        preparation.categorical,
        len(classes),
    )
    manifest = Manifest(model="m", trainer=trainer, task=task, preparation=preparation, classes=classes)
    for name, content in make_bundle(manifest, trainer.fit(data, seed=7), frame.tail(20)).items():
        (folder / name).write_bytes(content)
    return folder


def measured() -> tuple[np.ndarray, float]:
    """Return the seconds that a real server took for each request, and those it needed to get ready."""
    rows = [dict.fromkeys([f"x{number}" for number in range(10)], 0.5)] * ROWS
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "continuous_training.cli", "serve", str(bundle(Path(folder))), "--port", "0"]
        begun = time.perf_counter()
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr is not None
            line = next(line for line in server.stderr if "ready on" in line)
            start = time.perf_counter() - begun
            with httpx.Client(base_url=f"http://127.0.0.1:{line.split()[-1]}") as client:
                seconds = []
                for _ in range(REQUESTS):
                    begun = time.perf_counter()
                    client.post("/invocations", json={"dataframe_records": rows}).raise_for_status()
                    seconds.append(time.perf_counter() - begun)
        finally:
            server.terminate()
            server.wait(60)
    return np.array(seconds[REQUESTS // 10 :]), start


def main() -> int:
    """Measure, simulate and print."""
    services, start = measured()
    print(
        f"measured: {ROWS} rows in {np.median(services) * 1000:.2f} ms (99% within {np.quantile(services, 0.99) * 1000:.2f}), "
        f"ready after {start:.1f} s; a simulated pod is ready {SCHEDULING:g} s later"
    )
    missed = False
    for name, load in TRACES.items():
        outcome = simulate(load, services, start + SCHEDULING, Autoscaler(shipped()))
        ideal = sum(max(2.0, load(second) / 0.6) for second in range(SECONDS))
        slow, cost = float((outcome.latencies > SLOW).mean()), outcome.pod_seconds / ideal
        back = recovery(outcome, 600) if name == SPIKE else 0.0
        good = (back <= MOST_RECOVERY if name == SPIKE else slow <= MOST_SLOW) and cost <= MOST_COST
        missed |= not good
        print(
            f"{name}: median {np.median(outcome.latencies) * 1000:.1f} ms, {slow:.2%} slower than {SLOW * 1000:g} ms, "
            + (f"good again {back:.0f} s after it, " if name == SPIKE else "")
            + f"{outcome.most} pods at most, {cost:.2f} times the pods of a perfect forecast: {'ok' if good else 'MISSED'}"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
