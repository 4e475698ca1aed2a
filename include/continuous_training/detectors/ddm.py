"""DDM: the rate of wrong rows above its lowest, row after row."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.task import Features
from continuous_training.detectors.base import Prepared
from continuous_training.detectors.stream import WrongRowDetector

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.scores import DriftScore


class DDM(WrongRowDetector):
    r"""Find a rise of the share of wrong rows, in rows ordered by event time.

    A row is wrong when its signal, the absolute error of its prediction by default, is `wrong_from` or more. With
    :math:`p_t` the share of wrong rows so far and :math:`s_t = \sqrt{p_t (1 - p_t) / t}`, the statistic is the largest of

    .. math:: \frac{p_t + s_t - p_{min}}{s_{min}}

    in the window, with :math:`p_{min}, s_{min}` taken where :math:`p_t + s_t` was lowest. The count starts in the
    reference, anew after each change found there. The effect is the change of the share of wrong rows in standard deviations
    of the reference. Only a rise is found, and the longer the reference, the later.

    Source: Gama, Medas, Castillo and Rodrigues (2004), Learning with drift detection; steps and defaults are those of
    river 0.23, whose alarms are the same.

    Examples
    --------
    >>> import pandas as pd
    >>> features = Features(numeric=("x",))
    >>> detector = DDM()
    >>> prepared = detector.fit(pd.DataFrame({"error": [0.1, 0.3, 0.2, 0.9] * 500}), features)
    >>> [quiet] = detector.score(prepared, pd.DataFrame({"error": [0.1, 0.3, 0.2, 0.9] * 100}), features)
    >>> [moved] = detector.score(prepared, pd.DataFrame({"error": [0.1, 0.9, 0.2, 0.9] * 100}), features)
    >>> quiet.exceeded, moved.exceeded
    (False, True)
    """

    kind: Literal["ddm"] = "ddm"
    threshold: float = Field(
        3.0,
        gt=0,
        description="Distance above which the share of wrong rows counts as risen, in its standard deviations.",
    )
    warm_start: int = Field(
        30,
        ge=1,
        description=(
            "Rows that are only counted, at the start and after each change found in the reference. Raise it where fewer "
            "than one row in ten is wrong: after none among them, the next wrong row counts as a change."
        ),
    )

    def fit(self, reference: pd.DataFrame, features: Features) -> Prepared:  # noqa: ARG002 - the signal is no feature
        """Return the counts at the end of the reference, and those where the rate was lowest."""
        from continuous_training.detectors import _ddm, _stream

        return _stream.fit(self, reference, partial(_ddm.prepare, self))

    def score(
        self,
        prepared: Prepared,
        current: pd.DataFrame,
        features: Features,  # noqa: ARG002 - the signal is no feature
    ) -> list[DriftScore]:
        """Measure the largest distance from the lowest rate."""
        from continuous_training.detectors import _ddm, _stream

        measure = partial(_ddm.measure, self, prepared)
        return [_stream.score(self, prepared, current, measure, threshold=self.threshold)]
