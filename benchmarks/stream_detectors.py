"""Time the stream detectors against river's on one stream, in one process, turn by turn.

Each of ours gets the whole stream at once, each of river's row by row, which is its way; both return the rows of their
alarms, which must be the same. Parameters are river's defaults, and once more for EDDM the threshold that is our default:
at river's it raises an alarm in every few thousand rows of a signal that does not change, and starts anew each time. The
stream is the error of a model that gets a tenth worse half-way; for DDM and EDDM it is which rows reach 0.5. KSWIN gets
fewer rows, because river's takes long.

JSON goes to standard output, one sentence to standard error.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from river import drift

from continuous_training.detectors import _adwin, _ddm, _eddm, _kswin, _page_hinkley_moving

ROWS, KSWIN_ROWS, REPEATS, SEED = 100_000, 2_000, 5, 1


def stream() -> np.ndarray:
    """Return the errors."""
    errors = np.random.default_rng(SEED).gamma(2.0, 0.15, ROWS)
    errors[ROWS // 2 :] *= 1.1
    return errors


def row_by_row(detector: object, values: list[float]) -> list[int]:
    """Return the rows of the alarms of a detector of river."""
    found = []
    for row, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(row)
    return found


def compare(
    ours: Callable[[np.ndarray], np.ndarray], peer: Callable[[], object], values: np.ndarray
) -> dict[str, object]:
    """Return the nanoseconds per row of both, alternating, and their ratio of medians."""
    listed = values.tolist()
    alarms = row_by_row(peer(), listed)
    if ours(values).tolist() != alarms:
        raise AssertionError(f"alarms differ from river's, which are at {alarms[:20]}")
    spent: dict[str, list[float]] = {"ours": [], "river": []}
    for _ in range(REPEATS):
        detector = peer()
        spent["ours"].append(elapsed(lambda: ours(values)) / values.size)
        spent["river"].append(elapsed(lambda: row_by_row(detector, listed)) / values.size)  # noqa: B023 - called at once
    ratio = statistics.median(spent["river"]) / statistics.median(spent["ours"])
    return {
        "rows": values.size,
        "alarms": len(alarms),
        "nanoseconds_per_row": {name: [round(each, 1) for each in times] for name, times in spent.items()},
        "ratio": round(ratio, 1),
    }


def elapsed(call: Callable[[], object]) -> float:
    """Return the nanoseconds that `call` takes."""
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def main() -> None:
    """Print the figures."""
    errors = stream()
    wrong = (errors >= 0.5).astype(np.float64)
    figures = {
        "adwin": compare(_adwin.alarms, drift.ADWIN, errors),
        "ddm": compare(_ddm.alarms, drift.binary.DDM, wrong),
        "eddm": compare(lambda x: _eddm.alarms(x, beta=0.8), lambda: drift.binary.EDDM(alpha=0.85, beta=0.8), wrong),
        "eddm at river's threshold": compare(_eddm.alarms, drift.binary.EDDM, wrong),
        "kswin": compare(lambda x: _kswin.alarms(x, seed=SEED), lambda: drift.KSWIN(seed=SEED), errors[:KSWIN_ROWS]),
        "page_hinkley": compare(_page_hinkley_moving.alarms, drift.PageHinkley, errors),
    }
    versions = {name: version(name) for name in ("river", "numpy", "scipy")}
    print(json.dumps({"detectors": figures, "versions": versions}, indent=1))
    ratios = ", ".join(f"{name} {figure['ratio']}" for name, figure in figures.items())
    print(f"same alarms as river, and so many times faster per row: {ratios}", file=sys.stderr)


if __name__ == "__main__":
    main()
