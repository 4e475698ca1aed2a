"""Detectors measure what the champion says: its attributions, and the class it finds likeliest."""

from pathlib import Path

import numpy as np
import pytest

from continuous_training.core.task import Task
from continuous_training.steps.evaluate import computed_columns
from small_deployment import Deployment, spec

DRIFT = {"drift": [{"kind": "attribution"}]}


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def test_attributions_are_measured_in_each_window(deployment: Deployment) -> None:
    model = spec(**DRIFT)
    deployment.land(41)
    deployment.train(model, "promote")
    deployment.land(52)
    _, results = deployment.watch(model)
    assert set(results["decide"].facts["signals"].values()) <= {"fired", "quiet"}


def test_the_likeliest_of_several_classes_is_a_category() -> None:
    task = Task(kind="classification", label="y", event_time="at")
    found = computed_columns(np.array([2.0, 0.0]), np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]), task, None)
    assert found["prediction"].tolist() == ["2", "0"]
    two = computed_columns(np.array([1.0, 0.0]), np.array([[0.2, 0.8], [0.9, 0.1]]), task, None)
    assert two["prediction"].tolist() == [0.8, 0.1]
