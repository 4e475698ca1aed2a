"""The tests of alibi-detect that look at all columns together."""

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

# alibi-detect imports transformers, which tells standard error that it found no deep learning library
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from alibi_detect.cd import ClassifierDrift, LSDDDrift, MMDDrift

from continuous_training.core.errors import MissingExtra
from continuous_training.core.task import Features
from continuous_training.detectors import _joint
from continuous_training.detectors._columns import Distance, Floats
from continuous_training.detectors._joint import Table
from continuous_training.detectors.alibi_classifier import AlibiClassifier
from continuous_training.detectors.base import AlibiTorchDetector, Prepared

_FAR = 1e6


def fit(detector: AlibiClassifier | AlibiTorchDetector, reference: pd.DataFrame, features: Features) -> Prepared:
    """Return how rows are read, and a sample of them."""
    prepared, table = _joint.fit(detector, reference, features)
    return prepared | {"sample": table.sample(detector.sample).matrix()}


def fit_torch(detector: AlibiTorchDetector, reference: pd.DataFrame, features: Features) -> Prepared:
    """Return the same, where PyTorch is installed."""
    if find_spec("torch") is None:
        msg = (
            f"{detector.kind} needs PyTorch: pip install 'airflow-provider-continuous-training[torch]', or use mmd, which "
            "needs no more than NumPy; a retry gives the same"
        )
        raise MissingExtra(msg)
    return fit(detector, reference, features)


def classifier(detector: AlibiClassifier, prepared: Prepared, table: Table) -> Distance:
    """Return what `ClassifierDrift` says."""
    model = HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=detector.seed
    )
    drift = ClassifierDrift(prepared["sample"], model, backend="sklearn", p_val=detector.p_value, seed=detector.seed)
    with threadpool_limits(1):
        return _ask(drift, detector.seed, table.sample(detector.sample).matrix())


def mmd(detector: AlibiTorchDetector, prepared: Prepared, table: Table) -> Distance:
    """Return what `MMDDrift` says."""
    return _ask_torch(MMDDrift, detector, prepared, table)


def lsdd(detector: AlibiTorchDetector, prepared: Prepared, table: Table) -> Distance:
    """Return what `LSDDDrift` says."""
    return _ask_torch(LSDDDrift, detector, prepared, table)


def _ask_torch(build: Any, detector: AlibiTorchDetector, prepared: Prepared, table: Table) -> Distance:
    import_module("torch").manual_seed(detector.seed)
    scaled = _scaler(prepared["sample"])
    try:
        drift = build(
            scaled(prepared["sample"]),
            backend="pytorch",
            p_val=detector.p_value,
            n_permutations=detector.permutations,
            device="cpu",
        )
        return _ask(drift, detector.seed, scaled(table.sample(detector.sample).matrix()))
    except ValueError as error:  # LSDDDrift refuses a reference most of whose rows are the same
        return Distance(note=f"alibi-detect cannot measure from this reference: {' '.join(str(error).split())}")


def _scaler(reference: Floats) -> Callable[[Floats], Any]:
    """Return what turns rows into single precision: standard deviations from the reference's mean, far ones cut off."""
    largest = np.nanmax(np.abs(reference), axis=0)
    largest[largest == 0] = 1
    centre, spread = np.nanmean(reference / largest, axis=0), np.nanstd(reference / largest, axis=0)
    spread[spread == 0] = 1

    def scaled(rows: Floats) -> Any:
        with np.errstate(over="ignore"):
            places = (rows / largest - centre) / spread
        return np.nan_to_num(np.clip(places, -_FAR, _FAR)).astype(np.float32)

    return scaled


def _ask(drift: Any, seed: int, rows: Any) -> Distance:
    # alibi-detect draws its split and its permutations from NumPy's global generator
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        result = drift.predict(rows)["data"]
    finally:
        np.random.set_state(state)  # noqa: NPY002
    distance = float(result["distance"])
    return Distance(distance, float(result["p_val"]), max(0.0, distance))
