"""Drift detectors: one class per kind, and the union that a model file's `drift` is read as."""

from typing import Annotated

from pydantic import Field

from continuous_training.detectors.adwin import ADWIN
from continuous_training.detectors.alibi_chi_square import AlibiChiSquare
from continuous_training.detectors.alibi_classifier import AlibiClassifier
from continuous_training.detectors.alibi_cvm import AlibiCVM
from continuous_training.detectors.alibi_fet import AlibiFET
from continuous_training.detectors.alibi_ks import AlibiKS
from continuous_training.detectors.alibi_lsdd import AlibiLSDD
from continuous_training.detectors.alibi_mmd import AlibiMMD
from continuous_training.detectors.alibi_tabular import AlibiTabular
from continuous_training.detectors.attribution import Attribution
from continuous_training.detectors.base import ATTRIBUTION_PREFIX, COMPUTED_COLUMNS, Detector, Prepared
from continuous_training.detectors.cardinality import Cardinality
from continuous_training.detectors.chi_square import ChiSquare
from continuous_training.detectors.classifier import Classifier
from continuous_training.detectors.cusum import CUSUM
from continuous_training.detectors.ddm import DDM
from continuous_training.detectors.eddm import EDDM
from continuous_training.detectors.energy import Energy
from continuous_training.detectors.jensen_shannon import JensenShannon
from continuous_training.detectors.ks import KS
from continuous_training.detectors.kswin import KSWIN
from continuous_training.detectors.missing import Missing
from continuous_training.detectors.mmd import MMD
from continuous_training.detectors.new_categories import NewCategories
from continuous_training.detectors.page_hinkley import PageHinkley
from continuous_training.detectors.psi import PSI
from continuous_training.detectors.wasserstein import Wasserstein

AnyDetector = Annotated[
    KS
    | ChiSquare
    | PSI
    | Wasserstein
    | Energy
    | JensenShannon
    | Missing
    | NewCategories
    | Cardinality
    | MMD
    | Classifier
    | Attribution
    | PageHinkley
    | ADWIN
    | CUSUM
    | DDM
    | EDDM
    | KSWIN
    | AlibiKS
    | AlibiChiSquare
    | AlibiTabular
    | AlibiCVM
    | AlibiFET
    | AlibiClassifier
    | AlibiMMD
    | AlibiLSDD,
    Field(discriminator="kind"),
]

__all__ = [
    "ADWIN",
    "ATTRIBUTION_PREFIX",
    "COMPUTED_COLUMNS",
    "CUSUM",
    "DDM",
    "EDDM",
    "KS",
    "KSWIN",
    "MMD",
    "PSI",
    "AlibiCVM",
    "AlibiChiSquare",
    "AlibiClassifier",
    "AlibiFET",
    "AlibiKS",
    "AlibiLSDD",
    "AlibiMMD",
    "AlibiTabular",
    "AnyDetector",
    "Attribution",
    "Cardinality",
    "ChiSquare",
    "Classifier",
    "Detector",
    "Energy",
    "JensenShannon",
    "Missing",
    "NewCategories",
    "PageHinkley",
    "Prepared",
    "Wasserstein",
]
