"""How often values are close enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.metrics.base import OfValues

if TYPE_CHECKING:
    from continuous_training._performance import Floats


class Within(OfValues):
    r"""Measure the share of rows whose prediction is off by at most a tolerance; more is better.

    .. math:: rows\ with\ |y - p| \le tolerance / rows

    Examples
    --------
    >>> import numpy as np
    >>> from continuous_training import performance
    >>> y, prediction = np.array([10.0, 10.0, 10.0, 10.0]), np.array([8.0, 9.0, 10.0, 12.5])
    >>> found = performance.estimate(
    ...     Within(name="on_time", tolerance=2), y, prediction, confidence=0.95, resamples=100, seed=7
    ... )
    >>> found.value
    0.75
    """

    kind: Literal["within"] = "within"
    tolerance: float = Field(ge=0, description="Largest error that still counts as right, in units of the label.")

    greater = True

    def of_errors(self, error: Floats) -> Floats:
        """Return 1 for each row that is close enough, else 0."""
        import numpy as np

        return np.asarray(np.abs(error) <= self.tolerance, dtype=np.float64)
