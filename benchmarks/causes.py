"""Does a root-cause card name the right cause? Worlds in which it is known what changed, and how often intervals hold.

The hold-out and the window have 4,000 rows each, of four features of which two go together, and a model that is a little
wrong. What is changed: nothing, the distribution of one feature, the share of the label, the relation between them, or two of
these. The value that an interval should hold is that of 200,000 rows.

Prints for each world and part the value, the mean estimate and the share of 95 % intervals that hold the value; the exit code
is 1 when a share lies under 85 %, a mean is off by more than 0.01, or a card takes over 5 s.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

from continuous_training import _causes
from continuous_training.causes import Asked, Causes, Rows
from continuous_training.core.causes import CauseCard
from continuous_training.core.task import Features
from continuous_training.core.window import Window
from continuous_training.metrics import BUILT_IN

WINDOWS, ROWS, MANY = 60, 4_000, 200_000
LEAST_HELD, MOST_OFF, MOST_SECONDS = 0.85, 0.01, 5.0
CLOSE, ROUNDING = 0.002, 1e-6  # a part that there is not counts as 0
WINDOW = Window(start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 1, 8, tzinfo=UTC))
FEATURES = Features(numeric=("a", "b", "c", "d"))
TRUE, LEARNED, TURNED = (np.array(each) for each in ([1.5, -1, 0.5, 0], [1.5, -1, 0.8, 0.05], [-0.5, 1, 0.5, 0]))
WORLDS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "feature c": {"shift": 1.0},
    "label": {"prior": 0.7},
    "relation": {"truth": TURNED},
    "c and relation": {"shift": 1.0, "truth": np.array([0.3, -1, 0.5, 0])},
    "c and label": {"shift": 1.0, "prior": 0.75},
}


def chance(x: Any, weights: Any) -> Any:
    return 1 / (1 + np.exp(0.5 - x @ weights))


def predict(x: Any) -> Any:
    return np.column_stack([1 - chance(x, LEARNED), chance(x, LEARNED)])


def world(
    random: np.random.Generator, rows: int, shift: float = 0.0, truth: Any = TRUE, prior: float | None = None
) -> Rows:
    drawn = rows if prior is None else 6 * rows
    x = random.normal(size=(drawn, 4))
    x[:, 1] = 0.6 * x[:, 0] + 0.8 * x[:, 1]
    x[:, 2] += shift
    y = (random.random(drawn) < chance(x, truth)).astype(float)
    if prior is not None:
        first = round(prior * rows)
        chosen = np.concatenate([np.flatnonzero(y == 1)[:first], np.flatnonzero(y == 0)[: rows - first]])
        chosen = random.permutation(chosen)
        x, y = x[chosen], y[chosen]
    return Rows(x, y, predict(x))


def card(metric: str, changed: dict[str, Any], rows: int, seed: int) -> CauseCard:
    random = np.random.default_rng(seed)
    asked = Asked(BUILT_IN[metric], WINDOW, 0.95, seed)
    return Causes().explain(world(random, rows), world(random, rows, **changed), FEATURES, predict, asked)


def many(metric: str, changed: dict[str, Any]) -> dict[str, float]:
    limits = _causes.MOST_ROWS, _causes._RESAMPLES
    _causes.MOST_ROWS, _causes._RESAMPLES = MANY, 2
    try:
        return {cause.name: cause.value for cause in card(metric, changed, MANY, 999).causes}
    finally:
        _causes.MOST_ROWS, _causes._RESAMPLES = limits


def main() -> int:
    missed, slowest = 0, 0.0
    for metric in ("log_loss", "roc_auc"):
        for name, changed in WORLDS.items():
            truth = many(metric, changed)
            cards = []
            for seed in range(1000, 1000 + WINDOWS):
                began = time.perf_counter()
                cards.append({cause.name: cause for cause in card(metric, changed, ROWS, seed).causes})
                slowest = max(slowest, time.perf_counter() - began)
            for part in dict.fromkeys([*truth, *(name for each in cards for name in each)]):
                value = truth.get(part, 0.0)
                told = [each.get(part) for each in cards]
                held = np.mean(
                    [
                        abs(value) < CLOSE if one is None else one.low - ROUNDING <= value <= one.high + ROUNDING
                        for one in told
                    ]
                )
                mean = np.mean([0.0 if one is None else one.value for one in told])
                wrong = held < LEAST_HELD or abs(mean - value) > MOST_OFF
                missed += wrong
                print(f"{metric:9}{name:16}{part:10}{value:+.4f} {mean:+.4f} {held:5.0%}{'  MISSED' if wrong else ''}")
    print(f"slowest card {slowest:.2f} s")
    return int(bool(missed) or slowest > MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
