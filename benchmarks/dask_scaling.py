"""Train on 1 and 2 Dask workers against LightGBM alone with the same threads, on the same rows in the same run.

Each way is a process of its own. Prints seconds (start of the workers and sending of the rows told apart), the peak memory
of the process that trains or sends, and ROC AUC on rows that none has seen. `--rows 10000000` is the large case; how much
two workers gain depends on the cores: with 2 cores, one process with 2 threads uses both as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

FEATURES, ROUNDS = 20, 50
WAYS = {
    "alone, 1 thread": {"threads": 1},
    "alone, 2 threads": {"threads": 2},
    "1 worker, 1 thread": {"threads": 1, "engine": {"kind": "dask", "workers": 1}},
    "2 workers, 1 thread each": {"threads": 1, "engine": {"kind": "dask", "workers": 2}},
}

MAKE = """
import numpy as np
rng = np.random.default_rng(0)
x = np.lib.format.open_memmap({folder!r} + "/x.npy", "w+", "float64", ({rows}, {features}))
y = np.lib.format.open_memmap({folder!r} + "/y.npy", "w+", "float64", ({rows},))
weights = rng.normal(size={features} - 1)
for start in range(0, {rows}, 100_000):
    part = rng.normal(size=(min(100_000, {rows} - start), {features}))
    part[:, -1] = rng.integers(0, 12, len(part))
    signal = part[:, :-1] @ weights + 4 * np.isin(part[:, -1], [2, 5, 7]) + 2 * rng.normal(size=len(part))
    x[start : start + len(part)], y[start : start + len(part)] = part, signal > 0
"""

TRAIN = """
import json, resource, tempfile, time
from pathlib import Path
import numpy as np
from sklearn.metrics import roc_auc_score
from continuous_training.trainers import LightGBM, TrainingData

def main():
    x, y = (np.load({folder!r} + f"/{{name}}.npy", mmap_mode="r") for name in "xy")
    last = len(y) * 9 // 10
    names = tuple(f"c{{number}}" for number in range(x.shape[1]))
    data = TrainingData(x[:last], y[:last], x[:0], y[:0], names, (x.shape[1] - 1,), 2)
    began = time.perf_counter()
    with LightGBM(rounds={rounds}, **{way!r}).ready({{}}) as trainer:
        ready = time.perf_counter()
        fitted = trainer.fit(data, seed=7)
        trained = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.txt")
        path.write_bytes(fitted.model)
        auc = roc_auc_score(y[last:], LightGBM().load(path).predict(np.array(x[last:]))[:, 1])
    print(json.dumps({{"start": ready - began, "train": trained - ready, "peak_mb": peak, "roc_auc": auc}}))

if __name__ == "__main__":
    main()
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        told = {"folder": folder, "rows": rows, "features": FEATURES, "rounds": ROUNDS}
        _run(folder, MAKE.format(**told))
        found = {name: json.loads(_run(folder, TRAIN.format(**told, way=way))) for name, way in WAYS.items()}
    print(json.dumps({"benchmark": "dask_scaling", "rows": rows, "features": FEATURES, "rounds": ROUNDS, **found}))
    for name, each in found.items():
        print(
            f"{rows:,} rows, {name}: {each['train']:.1f} s after {each['start']:.1f} s to start, {each['peak_mb']:.0f} MB here, "
            f"ROC AUC {each['roc_auc']:.4f}"
        )


def _run(folder: str, code: str) -> str:
    script = Path(folder, "way.py")  # a file: Dask's workers import it
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script)], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1] if done.stdout else ""


if __name__ == "__main__":
    main()
