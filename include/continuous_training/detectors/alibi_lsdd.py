"""alibi-detect's LSDDDrift of numeric columns together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from continuous_training.core.task import Features
from continuous_training.detectors.base import AlibiTorchDetector, Prepared

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.scores import DriftScore


class AlibiLSDD(AlibiTorchDetector):
    """Test numeric columns together with `alibi_detect.cd.LSDDDrift`, the least-squares density difference.

    It needs PyTorch, which the extra `torch` installs; `mmd` answers the same question without it, for any number of
    rows. Source: Bu, Alippi and Zhao (2018), A pdf-free change detection test.
    """

    kind: Literal["alibi_lsdd"] = "alibi_lsdd"

    def score(self, prepared: Prepared, current: pd.DataFrame, features: Features) -> list[DriftScore]:
        """Ask alibi-detect for the p-value."""
        from continuous_training.detectors import _alibi_joint, _joint

        return _joint.score(self, prepared, current, features, _alibi_joint.lsdd)
