"""One work step as a pod against the same step as a process, and fifty of each at once.

Needs a cluster whose one node is this machine (`KUBECONFIG`) and an image of the work steps that it has (`CT_BENCH_IMAGE`): then
both sides read the same rows from the same disk, and only the start of a pod is the difference. The image is there already; the
sidecar for results and Airflow's own polling are not part of it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client import (
    ApiClient,
    Configuration,
    CoreV1Api,
    V1EnvVar,
    V1HostPathVolumeSource,
    V1Namespace,
    V1ObjectMeta,
    V1Pod,
    V1Volume,
    V1VolumeMount,
)

from continuous_training.core.run import Run
from continuous_training.provider.pods import pod_arguments
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec
from kubernetes import config

REPEATS, AT_ONCE = 7, 50
OFTEN, SELDOM = 0.1, 2.0
"""Seconds between two looks at a pod; fifty threads that look often would keep the API server busy."""
IMAGE = os.environ.get("CT_BENCH_IMAGE", "continuous-training-work:test")
END = datetime(2024, 3, 1, tzinfo=UTC)
NAMESPACE = f"ct-bench-{uuid.uuid4().hex[:8]}"
SPEC = ModelSpec.model_validate(
    {
        "model": "bench",
        "task": {"kind": "classification", "label": "y", "event_time": "t", "label_delay": "0 days"},
        "features": {"numeric": ["x"]},
        "source": {"kind": "parquet", "path": "{data}/rows"},
        "window": {"reference": "40 days", "current": "10 days", "every": "10 days", "anchor": "2024-01-01T00:00:00Z"},
        "trainer": {"kind": "lightgbm"},
        "promotion": {"metric": "roc_auc"},
        "runner": {"kind": "kubernetes", "image": IMAGE, "namespace": NAMESPACE, "resources": {"cpu": "10m", "memory": "300Mi"}},
    }
)  # fmt: skip


def write_rows(home: Path) -> None:
    """Write 6,000 rows of 60 days."""
    (home / "data" / "rows").mkdir(parents=True)
    x = np.random.default_rng(7).normal(size=6_000)
    t = pd.date_range(END - timedelta(days=60), periods=6_000, freq=timedelta(days=60) / 6_000)
    pd.DataFrame({"t": t, "x": x, "y": (x > 0).astype(int)}).to_parquet(home / "data" / "rows" / "rows.parquet")


def environment(home: Path) -> dict[str, str]:
    """Return what tells `ct step collect` a run of its own, which no run before it has done."""
    run = Run(
        model="bench",
        kind="train",
        key=uuid.uuid4().hex * 2,
        as_of=END,
        window=SPEC.window.reference_window(END),
        spec_digest=SPEC.digest,
    )
    settings = Settings.from_environment({"CT_HOME": str(home)})
    told = settings.to_environment() | {
        "CT_HOME": "/work",
        "CT_SPEC": SPEC.model_dump_json(),
        "CT_RUN": run.model_dump_json(),
    }
    return told | {"HOME": "/work", "CT_RESULT": f"/tmp/{run.key}.json"}


def as_process(home: Path) -> float:
    """Run the step as a process and return the seconds."""
    began = time.perf_counter()
    told = os.environ | environment(home) | {"CT_HOME": str(home), "HOME": str(home)}
    subprocess.run(
        [str(Path(sys.executable).parent / "ct"), "step", "collect"], env=told, check=True, capture_output=True
    )
    return time.perf_counter() - began


def manifest(home: Path) -> V1Pod:
    """Return the pod of the step, with the folder of this machine in it."""
    arguments = pod_arguments(SPEC, "collect", Settings.from_environment({"CT_HOME": str(home)}))
    collect = KubernetesPodOperator(task_id="collect", **{**arguments, "do_xcom_push": False})
    pod = collect.build_pod_request_obj(dry_run=True)
    pod.metadata.name = f"collect-{uuid.uuid4().hex[:10]}"
    [container] = pod.spec.containers
    container.image_pull_policy = "IfNotPresent"
    container.resources.limits = {"memory": "300Mi"}  # a process has no limit of processors either
    container.env = [V1EnvVar(name=name, value=value) for name, value in environment(home).items()]
    pod.spec.volumes.append(V1Volume(name="home", host_path=V1HostPathVolumeSource(path=str(home))))
    container.volume_mounts.append(V1VolumeMount(name="home", mount_path=str(home)))
    return pod


def as_pod(api: CoreV1Api, home: Path, poll: float = OFTEN) -> float:
    """Run the step as a pod and return the seconds until it has succeeded."""
    began = time.perf_counter()
    name = api.create_namespaced_pod(NAMESPACE, manifest(home)).metadata.name
    while True:
        phase = api.read_namespaced_pod_status(name, NAMESPACE).status.phase
        if phase == "Succeeded":
            return time.perf_counter() - began
        if phase == "Failed":
            raise SystemExit(api.read_namespaced_pod_log(name, NAMESPACE))
        time.sleep(poll)


def at_once(run: object, workers: int) -> float:
    """Return the seconds that fifty steps take, `workers` of them at a time."""
    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: run(), range(AT_ONCE)))  # type: ignore[operator]
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    if not os.environ.get("KUBECONFIG"):
        print("pods: left out, KUBECONFIG names no cluster")
        return
    settings = Configuration()
    config.load_kube_config(os.environ["KUBECONFIG"], client_configuration=settings)
    settings.connection_pool_maxsize = AT_ONCE
    api = CoreV1Api(ApiClient(settings))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.umask(0)
        home = Path(folder) / "home"
        home.parent.chmod(0o777)
        write_rows(home)
        api.create_namespace(V1Namespace(metadata=V1ObjectMeta(name=NAMESPACE)))
        try:
            as_process(home), as_pod(api, home)
            seconds: dict[str, list[float]] = {"process": [], "pod": []}
            for _ in range(REPEATS):
                seconds["process"].append(as_process(home))
                seconds["pod"].append(as_pod(api, home))
            many = {
                "processes, one for each processor": at_once(lambda: as_process(home), os.cpu_count() or 1),
                "pods": at_once(lambda: as_pod(api, home, SELDOM), AT_ONCE),
            }
        finally:
            api.delete_namespace(NAMESPACE)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(json.dumps({"benchmark": "pods", "seconds": seconds, "at_once": AT_ONCE, "seconds_at_once": many}))
    print(f"one step: {medians['pod']:.1f} s as a pod against {medians['process']:.1f} s as a process")
    for name, value in many.items():
        print(f"{AT_ONCE} {name}: {value:.0f} s")


if __name__ == "__main__":
    main()
