"""Trainers: one file per kind. A trainer is configuration with two verbs, `fit` and `load`."""

from typing import Annotated

from pydantic import Field

from continuous_training.trainers.base import Fitted, Model, Trainer, TrainingData, Tuning
from continuous_training.trainers.ensemble import Ensemble
from continuous_training.trainers.lightgbm import LightGBM
from continuous_training.trainers.preparation import Cleaning, Preparation, encode_label
from continuous_training.trainers.ranking import Ranking
from continuous_training.trainers.sklearn import Sklearn

AnyTrainer = Annotated[Ensemble | LightGBM | Ranking | Sklearn, Field(discriminator="kind")]

__all__ = [
    "AnyTrainer",
    "Cleaning",
    "Ensemble",
    "Fitted",
    "LightGBM",
    "Model",
    "Preparation",
    "Ranking",
    "Sklearn",
    "Trainer",
    "TrainingData",
    "Tuning",
    "encode_label",
]
