"""Rulers on the matrix of what a model trained after window i would have done in window j. Pure."""

from collections.abc import Sequence
from datetime import datetime

Matrix = Sequence[Sequence[float | None]]
"""`matrix[i][j]` is the metric in window `j` of the model trained on rows that end where window `j = i` begins."""


def serve(matrix: Matrix, moments: Sequence[int]) -> list[float | None]:
    """Return the metric in each window when models are trained before the windows `moments`; one before window 0 always is.

    >>> serve([[1.0, 2.0, 3.0], [None, 5.0, 6.0], [None, None, 9.0]], [2])
    [1.0, 2.0, 9.0]
    """
    chosen = sorted({0, *moments})
    served, model = [], 0
    for window in range(len(matrix)):
        model = window if window in chosen else model
        served.append(matrix[model][window])
    return served


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def evenly(windows: int, retrainings: int) -> list[int]:
    """Return moments that split the windows into stretches of equal length.

    >>> evenly(9, 2)
    [3, 6]
    """
    return [round((number + 1) * windows / (retrainings + 1)) for number in range(retrainings)]


def monthly(begins: Sequence[datetime]) -> list[int]:
    """Return the first window of each calendar month but the first."""
    return [
        n
        for n in range(1, len(begins))
        if (begins[n].year, begins[n].month) != (begins[n - 1].year, begins[n - 1].month)
    ]


def oracle(matrix: Matrix, *, greater_is_better: bool) -> list[list[int]]:
    """Return for at most 0, 1, 2 ... retrainings the best moments in hindsight, by dynamic programming over the last one.

    Windows without a value count nothing for any model.
    """
    windows = len(matrix)
    sign = 1.0 if greater_is_better else -1.0
    # worth[i][j]: what model i brings over windows i .. j - 1
    worth = [[0.0] * (windows + 1) for _ in range(windows)]
    for i in range(windows):
        for j in range(i, windows):
            worth[i][j + 1] = worth[i][j] + sign * (matrix[i][j] or 0.0)
    # best[j]: the best of windows 0 .. j - 1 when model j starts at window j, with the moments before
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    found: list[list[int]] = []
    highest = float("-inf")
    for _ in range(windows):
        last = max(best, key=lambda model: best[model][0] + worth[model][windows])
        reached = best[last][0] + worth[last][windows]
        found.append([moment for moment in [*best[last][1], last] if moment] if reached > highest else found[-1])
        highest = max(highest, reached)
        further: dict[int, tuple[float, list[int]]] = {}
        for model in range(1, windows):
            before = [one for one in best if one < model]
            if before:
                came = max(before, key=lambda one: best[one][0] + worth[one][model])
                further[model] = (best[came][0] + worth[came][model], [*best[came][1], came])
        if not further:
            break
        best = further
    return found
