"""What river finds in a stream, and streams to find it in."""

import numpy as np


def river_alarms(detector, values):
    """Return the rows at which `detector` of river finds a change."""
    found = []
    for row, value in enumerate(np.asarray(values).tolist()):
        detector.update(value)
        if detector.drift_detected:
            found.append(row)
    return found


def numbers(seed, most=3000, step=0.8):
    """Return up to `most` values whose mean moves every 200 rows: normal, skewed, or whole numbers with many ties."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, most))
    noise = [rng.normal(size=count), rng.gamma(2.0, size=count), rng.integers(0, 3, count).astype(float)][seed % 3]
    values = noise + np.repeat(rng.normal(size=count // 200 + 1) * step, 200)[:count]
    return np.round(values) if seed % 3 == 2 else values


def wrongs(seed, most=3000):
    """Return up to `most` zeros and ones whose rate moves every 300 rows, or that come in runs of 50."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, most))
    if seed % 5 == 0:
        return np.repeat(rng.integers(0, 2, count // 50 + 1), 50)[:count].astype(float)
    rates = np.repeat(rng.choice([0.0, 0.02, 0.1, 0.25, 0.5, 0.9, 1.0], count // 300 + 1), 300)[:count]
    return (rng.random(count) < rates).astype(float)


def scored(detector, reference, current):
    """Return the score of a window of `error` against a reference of the same."""
    import pandas as pd

    from continuous_training.core.task import Features

    features = Features(numeric=("x",))
    prepared = detector.fit(pd.DataFrame({"error": reference}), features)
    [score] = detector.score(prepared, pd.DataFrame({"error": current}), features)
    return score
