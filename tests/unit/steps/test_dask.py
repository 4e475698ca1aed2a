"""A model whose trees are grown by several workers goes through all steps."""

import sys

import pytest

import small_deployment
from continuous_training.core.errors import SpecError
from continuous_training.trainers.bundle import load_bundle
from small_deployment import Deployment


def on_dask(**engine: object) -> dict[str, object]:
    return {**small_deployment.TRAINER, "engine": {"kind": "dask", **engine}}


def test_two_workers_train_what_is_promoted_and_served_without_dask(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.land(45)
    model = small_deployment.spec(trainer=on_dask(workers=2))
    _, results = deployment.train(model)
    assert results["promote"].facts["outcome"] == "promoted", results["evaluate"].facts
    monkeypatch.setitem(sys.modules, "distributed", None)
    folder = deployment.store.fetch_folder(results["train"].outputs["bundle"], deployment.home / "fetched")
    load_bundle(folder).check_golden()
    assert b"127.0.0.1" not in (folder / "bundle.json").read_bytes() + (folder / "model.txt").read_bytes()


def test_a_scheduler_that_the_deployment_does_not_name_is_not_asked(deployment: Deployment) -> None:
    deployment.land(45)
    model = small_deployment.spec(trainer=on_dask(scheduler="tcp://192.0.2.1:8786"))
    with pytest.raises(SpecError, match=r"tcp://192.0.2.1:8786 is no Dask scheduler that this deployment has"):
        deployment.train(model, until="train")
