"""Drift detectors: one class per kind, and the union that a model file's `drift` is read as."""

from typing import Annotated

from pydantic import Field

from continuous_training.detectors.alibi_chi_square import AlibiChiSquare
from continuous_training.detectors.alibi_ks import AlibiKS
from continuous_training.detectors.alibi_tabular import AlibiTabular
from continuous_training.detectors.base import Detector, Prepared
from continuous_training.detectors.chi_square import ChiSquare
from continuous_training.detectors.ks import KS
from continuous_training.detectors.page_hinkley import PageHinkley
from continuous_training.detectors.psi import PSI

AnyDetector = Annotated[
    KS | ChiSquare | PSI | PageHinkley | AlibiKS | AlibiChiSquare | AlibiTabular, Field(discriminator="kind")
]

__all__ = [
    "KS",
    "PSI",
    "AlibiChiSquare",
    "AlibiKS",
    "AlibiTabular",
    "AnyDetector",
    "ChiSquare",
    "Detector",
    "PageHinkley",
    "Prepared",
]
