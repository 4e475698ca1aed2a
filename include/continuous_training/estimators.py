"""How good predictions are while their labels are missing, with the band in which the truth should turn out to lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from continuous_training.core.frozen import Frozen

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from continuous_training.core.quality import MetricName
    from continuous_training.core.scores import Estimate
    from continuous_training.core.task import TaskKind

    Floats = NDArray[Any]
    Prepared = dict[str, NDArray[Any]]


class Estimator(Frozen):
    """Estimate a metric from predictions alone, by what reference rows taught about how predictions and labels go together.

    Classification is estimated from confidence: each class's probability is calibrated on the reference (isotonic, one
    against the rest), and the metric is the one that such probabilities lead to expect. Regression is estimated by direct
    loss estimation: boosted trees learn the absolute or squared error from features and prediction. Both follow a change
    in which rows come (covariate shift); neither can see a change in what the label is for the same row (concept drift),
    which is why an estimate is checked once labels are known (`policies.estimation`).

    The band is that of the value which the labels will show. It holds the chance of the window's own labels, given the
    rows it has; how little the reference knows of such rows; and how much further than that the realised values of
    stretches of the reference lay from their estimates, each made without the stretch's own part of the reference. So
    where neighbouring rows err alike, it is as wide as that made it.

    Source: Kivimäki, Białek, Kuberski, Nurminen, "Performance estimation in binary classification using calibrated
    confidence", arXiv:2505.05295, 2025; NannyML's documentation, on CBPE and DLE.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(7)
    >>> x = rng.random((4000, 1))
    >>> y = (rng.random(4000) < x[:, 0]).astype(float)
    >>> prediction = np.column_stack([1 - x[:, 0], x[:, 0]])
    >>> estimator = Estimator()
    >>> prepared = estimator.fit(x, y, prediction, kind="classification", metrics=["accuracy"], seed=7)
    >>> sure = x[:, 0] > 0.8
    >>> found = estimator.estimate(prepared, x[sure], prediction[sure], "accuracy")
    >>> bool(found.low < y[sure].mean() < found.high), found.high - found.low < 0.08
    (True, True)
    """

    confidence: float = Field(0.95, ge=0.5, le=0.999, description="Share of the bands that hold the realised value.")
    min_rows: int = Field(
        100, ge=50, description="Rows that the reference and the window must have; with fewer there is no estimate."
    )

    def fit(
        self, x: Floats, y: Floats, prediction: Floats, *, kind: TaskKind, metrics: Sequence[MetricName], seed: int
    ) -> Prepared:
        """Return what `estimate` needs to know of the reference: rows that the model was not fitted on.

        The arrays hold numbers and fixed-width text only: `numpy.savez` writes them and `numpy.load` reads them with
        `allow_pickle=False`. A reference that cannot be used is no error: every estimate then says why there is none.

        Parameters
        ----------
        x
            Prepared features (rows, features), missing values as NaN; only regression looks at them.
        y
            Labels in event-time order, (rows,): class numbers `0..k-1` or values; NaN where the label is not known.
        prediction
            Class probabilities (rows, k) or values (rows,). Rows whose prediction is not a finite number are left out.
        metrics
            Metrics to estimate later; those that cannot be estimated without labels are left out.
        seed
            Start of every random number; the same inputs give the same arrays.

        Raises
        ------
        UsageError
            The shapes do not fit each other; a retry gives the same.
        """
        from continuous_training import _estimators

        return _estimators.fit(x, y, prediction, kind, metrics, fewest=self.min_rows, seed=seed)

    def estimate(self, prepared: Prepared, x: Floats, prediction: Floats, metric: MetricName) -> Estimate:
        """Return the metric to expect of these rows, with its band; `None` and why where there is none.

        Parameters
        ----------
        x, prediction
            Of the window, as in `fit`.

        Raises
        ------
        UsageError
            The shapes do not fit each other or the reference, or `metric` was not named there; a retry gives the same.
        ArtefactCorrupt
            A model in `prepared` is not whole; a retry gives the same.
        """
        from continuous_training import _estimators

        return _estimators.estimate(prepared, x, prediction, metric, fewest=self.min_rows, confidence=self.confidence)
