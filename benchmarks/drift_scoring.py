"""Time drift scoring against alibi-detect's TabularDrift, turn by turn, from 10,000 x 20 to 1,000,000 x 200.

Three quarters of the columns are numbers, for `ks`; the rest are categories, for `chi_square`: the two give the p-values
that the peer gives. `psi` on all columns is timed as well, which the peer does not measure. Our references are prepared
before, the peer is built before, and gets the same rows as one float64 matrix (its own input form; making it is not
timed). Categories are integers for both. Two windows are timed: one from the same distribution as the reference, and one
where every column has moved. Times are the best of several turns; memory is the largest total of NumPy's and Python's
allocations above what was there before, in another turn.

`--numbers` says what the numeric columns hold: `normal` ones, `whole` ones with about 40 values, or `skewed` ones of
which a third is zero.

evidently is a second peer where `--evidently` names the interpreter of an environment of its own:

    python -m venv /tmp/evidently
    /tmp/evidently/bin/pip install "evidently==0.7.23" "pandas<3" pyarrow

It reads the same rows from Parquet files in a process of its own. Reading is not timed; its report also makes what it
draws, and its chi-square test takes the reference's shares as known, so only its p-values of numbers are compared.

JSON goes to standard output, one sentence a line to standard error. A size that does not fit into the memory that is free
is skipped, and the reason printed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import pandas as pd
from alibi_detect.cd import TabularDrift

from continuous_training.core.scores import DriftScore
from continuous_training.core.task import Features
from continuous_training.detectors import KS, PSI, ChiSquare
from continuous_training.detectors.base import ColumnDetector

PEER = Path(__file__).parent / "peers" / "evidently_drift.py"

CATEGORIES = 20
SAME_WORK = (KS(method="asymptotic"), ChiSquare(continuity=True))
ROUNDING = 2e-7  # the peer's p-values are single precision
COPIES = 6  # windows that fit into memory beside each other while both measure


def features_of(columns: int) -> Features:
    """Return names for `columns` columns."""
    categorical = columns // 4
    return Features(
        numeric=tuple(f"number_{i}" for i in range(columns - categorical)),
        categorical=tuple(f"category_{i}" for i in range(categorical)),
    )


def rows_of(features: Features, rows: int, seed: int, shift: float, numbers: str) -> pd.DataFrame:
    """Return rows whose numbers are moved by `shift` and whose categories are that much less even."""
    rng = np.random.default_rng(seed)
    odds = np.ones(CATEGORIES)
    odds[0] += shift
    draw: dict[str, Callable[[], np.ndarray]] = {
        "normal": lambda: rng.normal(shift, size=rows),
        "whole": lambda: rng.poisson(30 * (1 + shift / 5), rows).astype(np.float64),
        "skewed": lambda: np.exp(rng.normal(shift, 2, size=rows)) * (rng.random(rows) > 1 / 3),
    }
    columns: dict[str, np.ndarray] = {name: draw[numbers]() for name in features.numeric}
    columns |= {name: rng.choice(CATEGORIES, rows, p=odds / odds.sum()) for name in features.categorical}
    return pd.DataFrame(columns)


def compare(features: Features, reference: pd.DataFrame, current: pd.DataFrame, turns: int) -> dict[str, Any]:
    """Return the seconds and bytes of both, and their ratios."""
    coded = dict.fromkeys(range(len(features.numeric), len(features.columns)))
    peer = TabularDrift(reference.to_numpy(dtype=np.float64), p_val=0.01, categories_per_feature=coded)
    matrix = current.to_numpy(dtype=np.float64)
    ours = scorer(SAME_WORK, features, reference, current)
    calls: dict[str, Callable[[], object]] = {
        "ks + chi_square": ours,
        "psi": scorer((PSI(),), features, reference, current),
        "alibi_tabular": lambda: peer.predict(matrix, drift_type="feature")["data"]["p_val"],
    }
    scores = ours()
    own_p = np.array([score.p_value for score in scores], dtype=np.float32)
    difference = float(np.abs(own_p - calls["alibi_tabular"]()).max())
    if difference > ROUNDING:
        raise AssertionError(f"p-values differ by {difference}")
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            seconds[name].append(elapsed(call))
    best = {name: min(times) for name, times in seconds.items()}
    return {
        "seconds": best,
        "ratio": round(best["alibi_tabular"] / best["ks + chi_square"], 1),
        "ratio_with_psi": round(best["alibi_tabular"] / (best["ks + chi_square"] + best["psi"]), 1),
        "peak_bytes": {name: peak(call) for name, call in calls.items()},
        "window_bytes": int(current.memory_usage(index=False).sum()),
        "largest_p_value_difference": difference,
        "p_values": {score.column: score.p_value for score in scores},
    }


def scorer(
    detectors: tuple[ColumnDetector, ...], features: Features, reference: pd.DataFrame, current: pd.DataFrame
) -> Callable[[], list[DriftScore]]:
    """Return the call that scores `current` against the reference, prepared now."""
    prepared = [detector.fit(reference, features) for detector in detectors]
    return lambda: [s for d, p in zip(detectors, prepared, strict=True) for s in d.score(p, current, features)]


def elapsed(call: Callable[[], object]) -> float:
    """Return the seconds that `call` takes."""
    start = time.perf_counter()
    call()
    return round(time.perf_counter() - start, 5)


def peak(call: Callable[[], object]) -> int:
    """Return the bytes that `call` holds at most."""
    tracemalloc.start()
    call()
    bytes_ = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return bytes_


def evidently(python: str, reference: pd.DataFrame, current: pd.DataFrame, turns: int) -> dict[str, object]:
    """Return the figures of evidently, measured by the interpreter `python`."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{name}.parquet" for name in ("reference", "current")]
        for frame, path in zip((reference, current), paths, strict=True):
            frame.to_parquet(path)
        done = subprocess.run([python, PEER, *paths, str(turns)], stdout=subprocess.PIPE, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def free_bytes() -> int:
    """Return the memory that can be had."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def measure(rows: int, columns: int, numbers: str, python: str | None) -> dict[str, object]:
    """Return the figures of one size, or why there are none."""
    needed, free = rows * columns * 8 * COPIES, free_bytes()
    if needed > free:
        return {"skipped": f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free"}
    features = features_of(columns)
    reference = rows_of(features, rows, 0, 0.0, numbers)
    turns = 5 if rows * columns <= 2_000_000 else 2
    found: dict[str, object] = {}
    for name, shift in {"same": 0.0, "moved": 0.1}.items():
        current = rows_of(features, rows, 1, shift, numbers)
        figures = compare(features, reference, current, turns)
        if python:
            figures |= against_evidently(figures, evidently(python, reference, current, turns), features)
        found[name] = figures
    return found


def against_evidently(own: dict[str, Any], peer: dict[str, Any], features: Features) -> dict[str, object]:
    """Return the peer's figures and its ratio to ours."""
    differences = [abs(own["p_values"][name] - peer["p_values"][name]) for name in features.numeric]
    return {
        "evidently": {name: peer[name] for name in ("version", "seconds", "peak_bytes")},
        "ratio_evidently": round(peer["seconds"] / own["seconds"]["ks + chi_square"], 1),
        "largest_p_value_difference_evidently": max(differences),
    }


def sentence(size: str, name: str, case: dict[str, Any]) -> str:
    """Return what one case shows."""
    window = case["window_bytes"]
    text = (
        f"{size}, {name}: ks + chi_square take 1/{case['ratio']} of the time of alibi-detect's TabularDrift, with psi "
        f"1/{case['ratio_with_psi']}; they hold at most {case['peak_bytes']['ks + chi_square'] / window:.2f} of the "
        f"window in memory, it {case['peak_bytes']['alibi_tabular'] / window:.2f}"
    )
    if "evidently" in case:
        peak = case["evidently"]["peak_bytes"] / window
        text += f"; 1/{case['ratio_evidently']} of the time of evidently's report, which holds {peak:.2f}"
    return text


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--columns", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--numbers", choices=["normal", "whole", "skewed"], default="normal")
    parser.add_argument("--evidently", metavar="PYTHON", help="interpreter of evidently's environment")
    arguments = parser.parse_args()
    figures: dict[str, object] = {"versions": {n: version(n) for n in ("alibi-detect", "numpy", "scipy", "pandas")}}
    for columns in arguments.columns:
        for rows in arguments.rows:
            size = f"{rows:,} x {columns}"
            figures[size] = found = measure(rows, columns, arguments.numbers, arguments.evidently)
            if "skipped" in found:
                print(f"{size}: skipped, {found['skipped']}", file=sys.stderr)
                continue
            for name, case in found.items():
                print(sentence(size, name, case), file=sys.stderr)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
