"""Read a signal, prepare its reference, score its windows, and walk over streams that restart after every alarm."""

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training.core.scores import DriftScore
from continuous_training.detectors._columns import Floats, read_numbers, too_few
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.stream import StreamDetector, WrongRowDetector

Indices = NDArray[np.int64]
T = TypeVar("T", bound=np.generic)

_BLOCKS = 256, 16_384


def fit(
    detector: StreamDetector, reference: pd.DataFrame, prepare: Callable[[Floats], Prepared] | None = None
) -> Prepared:
    """Return mean, standard deviation and number of the signal's values, and what `prepare` makes of the values.

    `rows` is 0 when the signal is absent; `prepare` is not called when there is no finite unit to measure in.
    """
    values = _signal(detector, reference)
    if not values.size:
        return {"mean": np.array(0.0), "deviation": np.array(0.0), "rows": np.array(0)}
    with np.errstate(over="ignore", invalid="ignore"):
        # rounding gives a constant a deviation that is not quite zero
        deviation = values.std() if values.min() < values.max() else 0.0
        prepared = {"mean": np.array(values.mean()), "deviation": np.array(deviation), "rows": np.array(values.size)}
    if prepare and 0 < deviation < math.inf:
        prepared |= prepare(values)
    return prepared


def score(
    detector: StreamDetector,
    prepared: Prepared,
    current: pd.DataFrame,
    measure: Callable[[Floats, Floats], float | str],
    *,
    threshold: float,
    p_value: bool = False,
) -> DriftScore:
    """Measure the window; note why where that cannot be done.

    `measure` is given the window's values and the same in standard deviations from the reference's mean, and returns
    the number that is compared with `threshold` (a p-value if `p_value`), or why there is none.
    """
    values = _signal(detector, current)
    note = _obstacle(detector, prepared, current, values)
    found = effect = None
    if not note:
        with np.errstate(over="ignore", invalid="ignore"):
            z = (values - float(prepared["mean"])) / float(prepared["deviation"])
            effect = float(z.mean())
            result = measure(values, z) if math.isfinite(effect + float(prepared["deviation"])) else math.nan
        if isinstance(result, str):
            found, effect, note = None, None, result
        elif math.isfinite(result + effect):
            found = result
        else:
            found, effect, note = None, None, f"{detector.signal} has numbers that are too large to add up"
    return DriftScore(
        detector=detector.known_as,
        column=detector.signal,
        statistic=None if p_value else found,
        p_value=found if p_value else None,
        effect=effect,
        measure="p_value" if p_value else "statistic",
        threshold=threshold,
        reference_rows=int(prepared["rows"]),
        current_rows=values.size,
        note=note,
    )


def unsettled(kind: str, settled: int, needed: int) -> str:
    """Say that the reference has fewer than `needed` rows since its last alarm; nothing when it has enough."""
    if settled >= needed:
        return ""
    return (
        f"{kind} has {settled} rows of the reference since it last found a change there; at least {needed} are needed"
    )


def restarts(values: Floats, first: Callable[[Floats], int | None]) -> Indices:
    """Return where alarms are raised by a test that starts anew after each; `first` finds the first in what is left."""
    alarms: list[int] = []
    start = 0
    while start < values.size and (found := first(values[start:])) is not None:
        alarms.append(start + found)
        start += found + 1
    return np.array(alarms, dtype=np.int64)


def since_last(values: Floats, alarms: Indices) -> Floats:
    """Return the values after the last alarm."""
    return values[alarms[-1] + 1 :] if alarms.size else values


def blocks(values: NDArray[T]) -> Iterator[tuple[int, NDArray[T]]]:
    """Go over `values` in blocks that grow, so that an early alarm costs little and a late one few blocks."""
    begin, (size, largest) = 0, _BLOCKS
    while begin < values.size:
        yield begin, values[begin : begin + size]
        begin, size = begin + size, min(2 * size, largest)


def _signal(detector: StreamDetector, frame: pd.DataFrame) -> Floats:
    if detector.signal not in frame.columns:
        return np.empty(0)
    values = read_numbers(frame[detector.signal], detector.kind)
    return (values >= detector.wrong_from).astype(np.float64) if isinstance(detector, WrongRowDetector) else values


def _obstacle(detector: StreamDetector, prepared: Prepared, current: pd.DataFrame, values: Floats) -> str:
    if detector.signal not in current.columns:
        return f"the current window has no column {detector.signal}; it is there once labels are known"
    if not prepared["rows"]:
        return f"the reference has no values of {detector.signal}"
    note = too_few(detector.min_rows, int(prepared["rows"]), values.size)
    if note or prepared["deviation"]:
        return note
    if isinstance(detector, WrongRowDetector):
        return (
            f"{'every' if prepared['mean'] else 'no'} row of the reference is wrong, so there is no unit to measure in"
        )
    return f"{detector.signal} is constant in the reference, so there is no unit to measure in"
