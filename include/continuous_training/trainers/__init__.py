"""Trainers: one file per kind. A trainer is configuration with two verbs, `fit` and `load`."""

from typing import Annotated

from pydantic import Field

from continuous_training.trainers.base import Fitted, Model, Trainer, TrainingData, Tuning
from continuous_training.trainers.lightgbm import LightGBM
from continuous_training.trainers.preparation import Cleaning, Preparation, encode_label
from continuous_training.trainers.sklearn import Sklearn

AnyTrainer = Annotated[LightGBM | Sklearn, Field(discriminator="kind")]

__all__ = [
    "AnyTrainer",
    "Cleaning",
    "Fitted",
    "LightGBM",
    "Model",
    "Preparation",
    "Sklearn",
    "Trainer",
    "TrainingData",
    "Tuning",
    "encode_label",
]
