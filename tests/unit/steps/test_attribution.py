"""Attribution drift is measured from what the trees say of the hold-out and of the window."""

from pathlib import Path

import pytest

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
