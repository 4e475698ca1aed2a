"""What detectors kept of the rows that the champion was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from continuous_training.steps.champion import stored_arrays
from continuous_training.steps.evaluate import ERROR, PREDICTION, detector_key

if TYPE_CHECKING:
    from continuous_training.core.run import ChampionRef
    from continuous_training.detectors.base import Detector, Prepared
    from continuous_training.steps.context import Context


def reference_of(context: Context, detector: Detector, champion: ChampionRef) -> Prepared:
    """Return the champion's reference as the detector prepared it, or prepares it now from the rows that were kept."""
    kept = stored_arrays(context, f"reference-{detector_key(detector)}", champion)
    if kept is not None:
        return kept
    # The detector was added or changed after this champion was trained.
    reference = pd.read_parquet(context.fetch("collect", "rows", champion.run_key))
    return detector.fit_slices(reference.assign(**{ERROR: np.nan, PREDICTION: np.nan}), context.spec.features)
