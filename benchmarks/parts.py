"""Time and peak memory of the step that looks at a window: read whole, in parts, and in parts on two Dask workers.

The window has 14 days of rows with ten numeric and two categorical columns; psi, ks, wasserstein, missing and chi_square
measure them, and the champion is a small LightGBM model made of 100,000 rows. Each look is a process of its own, as it is
beside Airflow, and its memory is the largest resident size of it and its workers together, sampled every 50 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from continuous_training.core.run import ChampionRef, Run
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec
from continuous_training.steps import run_step

START, DAYS, FITTED = datetime(2024, 1, 1, tzinfo=UTC), 14, 100_000
NUMBERS, CATEGORIES = [f"n{number}" for number in range(10)], ["c0", "c1"]
TRAINER = {"kind": "lightgbm", "rounds": 50, "tuning": {"trials": 0}}
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "whole": ({}, TRAINER),
    "14 parts": ({"part": "1 day"}, TRAINER),
    "14 parts, 2 workers": ({"part": "1 day"}, TRAINER | {"engine": {"kind": "dask", "workers": 2}}),
}


def spec(way: str) -> ModelSpec:
    """Return the model file of one way to look."""
    window, trainer = WAYS[way]
    return ModelSpec.model_validate(
        {
            "model": "bench",
            "task": {"kind": "classification", "label": "y", "event_time": "t", "label_delay": "0 days"},
            "features": {"numeric": NUMBERS, "categorical": CATEGORIES},
            "source": {"kind": "parquet", "path": "{data}/rows"},
            "window": {"reference": "14 days", "current": "14 days", "every": "14 days"}
            | {"anchor": START.isoformat()}
            | window,
            "trainer": trainer,
            "drift": [{"kind": kind} for kind in ("psi", "ks", "wasserstein", "missing", "chi_square")],
            "performance": [{"metric": "roc_auc", "below": 0.5}],
            "promotion": {"metric": "roc_auc", "resamples": 100},
        }
    )


def write_rows(folder: Path, rows: int, first: int) -> None:
    """Write fourteen days from day `first` on, one file for each day."""
    for day in range(first, first + DAYS):
        random = np.random.default_rng(day)
        count = rows // DAYS
        frame = pd.DataFrame(random.normal(size=(count, len(NUMBERS))), columns=NUMBERS)
        for name in CATEGORIES:
            frame[name] = np.char.add("value", random.integers(0, 30, count).astype(str))
        frame["y"] = (frame["n0"] + frame["n1"] * frame["n2"] + random.normal(size=count) > 0).astype("float64")
        at = np.sort(random.uniform(0, 86_400, count))
        frame["t"] = pd.Timestamp(START + timedelta(days=day)) + pd.to_timedelta(at, unit="s")
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / f"day-{day:03}.parquet", index=False)


def run_of(model: ModelSpec, key: str, end: datetime, champion: ChampionRef | None) -> Run:
    """Return a training without a champion, or a look at the window that ends at `end`."""
    window = model.window.reference_window(end)
    kind = "train" if champion is None else "watch"
    return Run(model="bench", kind=kind, key=key, as_of=end, window=window, spec_digest=model.digest, champion=champion)


def train(home: Path) -> ChampionRef:
    """Train the champion on the first fourteen days."""
    model, end, key = spec("whole"), START + timedelta(days=DAYS), "0" * 64
    run = run_of(model, key, end, None)
    settings = Settings.from_environment({"CT_HOME": str(home)})
    results = {name: run_step(name, model, run, settings) for name in ("collect", "validate", "prepare", "train")}
    run_step("evaluate", model, run, settings)
    bundle = results["train"].outputs["bundle"]
    return ChampionRef(fence=1, version="1", run_key=key, bundle=bundle, data_cutoff=end)


def look(way: str, home: Path, champion: ChampionRef, number: int) -> tuple[float, float]:
    """Return seconds and MiB of one look in a process of its own."""
    model, end = spec(way), START + timedelta(days=2 * DAYS)
    run = run_of(model, f"{number:064x}", end, champion)
    environment = os.environ | {
        "CT_HOME": str(home),
        "CT_SPEC": model.model_dump_json(),
        "CT_RUN": run.model_dump_json(),
    }
    began = time.perf_counter()
    process = psutil.Popen(
        [sys.executable, "-m", "continuous_training.cli", "step", "score"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    largest, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            try:
                sizes = [each.memory_info().rss for each in (process, *process.children(recursive=True))]
            except psutil.NoSuchProcess:
                continue
            largest[0] = max(largest[0], sum(sizes) / 2**20)

    thread = threading.Thread(target=watch)
    thread.start()
    _, told = process.communicate()
    ended.set()
    thread.join()
    if process.returncode:
        raise SystemExit(told.decode())
    return time.perf_counter() - began, largest[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000], help="rows of the window")
    number = 0
    for rows in parser.parse_args().rows:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            write_rows(home / "data" / "rows", FITTED, 0)
            write_rows(home / "data" / "rows", rows, DAYS)
            champion = train(home)
            for way in WAYS:
                number += 1
                seconds, memory = look(way, home, champion, number)
                print(json.dumps({"benchmark": "parts", "rows": rows, "way": way, "seconds": round(seconds, 1), "MiB": round(memory)}))  # fmt: skip


if __name__ == "__main__":
    main()
