"""The Page-Hinkley statistic of a signal."""

import math
from itertools import accumulate

import numpy as np
import pandas as pd

from continuous_training.core.scores import DriftScore
from continuous_training.detectors._columns import Floats, read_numbers, too_few
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.page_hinkley import PageHinkley


def prepare(detector: PageHinkley, reference: pd.DataFrame) -> Prepared:
    """Return the mean, standard deviation and number of the signal's values; no rows when the signal is absent."""
    values = _signal(detector, reference)
    if not values.size:
        return {"mean": np.array(0.0), "deviation": np.array(0.0), "rows": np.array(0)}
    with np.errstate(over="ignore", invalid="ignore"):
        # rounding gives a constant a deviation that is not quite zero
        deviation = values.std() if values.min() < values.max() else 0.0
        return {"mean": np.array(values.mean()), "deviation": np.array(deviation), "rows": np.array(values.size)}


def score(detector: PageHinkley, prepared: Prepared, current: pd.DataFrame) -> DriftScore:
    """Measure the window; note why where that cannot be done."""
    values = _signal(detector, current)
    rows, deviation = int(prepared["rows"]), float(prepared["deviation"])
    note = _obstacle(detector, prepared, current, values)
    statistic = effect = None
    if not note:
        with np.errstate(over="ignore", invalid="ignore"):
            z = (values - float(prepared["mean"])) / deviation
            statistic = float(excess(z, detector.delta, detector.alpha)[detector.min_rows :].max())
            effect = float(z.mean())
        if not math.isfinite(statistic + effect):
            statistic, effect, note = None, None, f"{detector.signal} has numbers that are too large to add up"
    return DriftScore(
        detector=detector.kind,
        column=detector.signal,
        statistic=statistic,
        effect=effect,
        measure="statistic",
        threshold=detector.threshold,
        reference_rows=rows,
        current_rows=values.size,
        note=note,
    )


def excess(z: Floats, delta: float, alpha: float) -> Floats:
    """Return `PH_t` for t = 0 .. rows: how far the sum lies above its lowest value so far."""
    steps = (z - delta).tolist()
    sums = np.fromiter(accumulate(steps, lambda total, step: alpha * total + step, initial=0.0), np.float64)
    above: Floats = sums - np.minimum.accumulate(sums)
    return above


def _signal(detector: PageHinkley, frame: pd.DataFrame) -> Floats:
    if detector.signal not in frame.columns:
        return np.empty(0)
    return read_numbers(frame[detector.signal], detector.kind)


def _obstacle(detector: PageHinkley, prepared: Prepared, current: pd.DataFrame, values: Floats) -> str:
    if detector.signal not in current.columns:
        return f"the current window has no column {detector.signal}; it is there once labels are known"
    if not prepared["rows"]:
        return f"the reference has no values of {detector.signal}"
    note = too_few(detector.min_rows, int(prepared["rows"]), values.size)
    if not note and not prepared["deviation"]:
        return f"{detector.signal} is constant in the reference, so there is no unit to measure in"
    return note
