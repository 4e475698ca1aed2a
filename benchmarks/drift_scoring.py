"""Time drift scoring against alibi-detect's TabularDrift, turn by turn, from 10,000 x 20 to 1,000,000 x 200.

Three quarters of the columns are numbers, for `ks`; the rest are categories, for `chi_square`: the two give the p-values
that the peer gives. `psi` on all columns is timed as well, which the peer does not measure. Our references are prepared
before, the peer is built before, and gets the same rows as one float64 matrix (its own input form; making it is not
timed). Categories are integers for both. Two windows are timed: one from the same distribution as the reference, and one
where every column has moved. Times are the best of several turns; memory is the largest total of NumPy's and Python's
allocations above what was there before, in another turn.

JSON goes to standard output, one sentence a line to standard error. A size that does not fit into the memory that is free
is skipped, and the reason printed.
"""

import argparse
import json
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import pandas as pd
from alibi_detect.cd import TabularDrift

from continuous_training.core.scores import DriftScore
from continuous_training.core.task import Features
from continuous_training.detectors import KS, PSI, ChiSquare
from continuous_training.detectors.base import ColumnDetector

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


def rows_of(features: Features, rows: int, seed: int, shift: float) -> pd.DataFrame:
    """Return rows whose numbers are normal around `shift` and whose categories are that much less even."""
    rng = np.random.default_rng(seed)
    odds = np.ones(CATEGORIES)
    odds[0] += shift
    columns: dict[str, np.ndarray] = {name: rng.normal(shift, size=rows) for name in features.numeric}
    columns |= {name: rng.choice(CATEGORIES, rows, p=odds / odds.sum()) for name in features.categorical}
    return pd.DataFrame(columns)


def compare(features: Features, reference: pd.DataFrame, current: pd.DataFrame, turns: int) -> dict[str, object]:
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
    own_p = np.array([score.p_value for score in ours()], dtype=np.float32)
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


def free_bytes() -> int:
    """Return the memory that can be had."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def measure(rows: int, columns: int) -> dict[str, object]:
    """Return the figures of one size, or why there are none."""
    needed, free = rows * columns * 8 * COPIES, free_bytes()
    if needed > free:
        return {"skipped": f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free"}
    features = features_of(columns)
    reference = rows_of(features, rows, seed=0, shift=0.0)
    turns = 5 if rows * columns <= 2_000_000 else 2
    return {
        name: compare(features, reference, rows_of(features, rows, seed=1, shift=shift), turns)
        for name, shift in {"same": 0.0, "moved": 0.1}.items()
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--columns", type=int, nargs="+", default=[20, 200])
    arguments = parser.parse_args()
    figures: dict[str, object] = {"versions": {n: version(n) for n in ("alibi-detect", "numpy", "scipy", "pandas")}}
    for columns in arguments.columns:
        for rows in arguments.rows:
            figures[f"{rows:,} x {columns}"] = found = measure(rows, columns)
            if "skipped" in found:
                print(f"{rows:,} x {columns}: skipped, {found['skipped']}", file=sys.stderr)
                continue
            for name, case in found.items():
                sentence = (
                    f"{rows:,} x {columns}, {name}: ks + chi_square take 1/{case['ratio']} of the time of alibi-detect's "
                    f"TabularDrift, with psi 1/{case['ratio_with_psi']}; they hold at most "
                    f"{case['peak_bytes']['ks + chi_square'] / case['window_bytes']:.2f} of the window in memory, it "
                    f"{case['peak_bytes']['alibi_tabular'] / case['window_bytes']:.2f}"
                )
                print(sentence, file=sys.stderr)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
