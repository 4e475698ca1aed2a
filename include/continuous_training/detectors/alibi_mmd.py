"""alibi-detect's MMDDrift of numeric columns together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from continuous_training.core.task import Features
from continuous_training.detectors.base import AlibiTorchDetector, Prepared

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.core.scores import DriftScore


class AlibiMMD(AlibiTorchDetector):
    """Test numeric columns together with `alibi_detect.cd.MMDDrift`, the maximum mean discrepancy.

    It needs PyTorch, which the extra `torch` installs; `mmd` answers the same question without it, for any number of
    rows. Source: Gretton et al. (2012), A kernel two-sample test.
    """

    kind: Literal["alibi_mmd"] = "alibi_mmd"

    def score(self, prepared: Prepared, current: pd.DataFrame, features: Features) -> list[DriftScore]:
        """Ask alibi-detect for the p-value."""
        from continuous_training.detectors import _alibi_joint, _joint

        return _joint.score(self, prepared, current, features, _alibi_joint.mmd)
