"""MLflow shows what the ledger decided, once for each run, and nothing pickled."""

import os
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from continuous_training.core.errors import RegistryUnavailable
from continuous_training.registry import RUN_KEY, Entry, Registry
from continuous_training.trainers.bundle import load_bundle
from served_model import FEATURES, MODEL, make_rows, train

KEY = "a" * 64
PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("bundle") / "b", 3)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Registry:
    """Give a registry with one version."""
    registry = Registry(f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")
    registry.register(entry(bundle))
    return registry


@pytest.fixture(autouse=True)
def _nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


def entry(bundle: Path, run_key: str = KEY, **changes: Any) -> Entry:
    return Entry(
        **{
            "model": MODEL,
            "run_key": run_key,
            "bundle": bundle,
            "features": FEATURES,
            "requirements": ("lightgbm==4",),
            "metrics": {"hold_out_roc_auc": 0.75},
            "parameters": {"rounds": 20, "text": "x"},
            "tags": {"verdict": "pass", "reason": "drift"},
            "reports": lambda: {"comparison.json": b"{}"},
            **changes,
        }
    )


def test_a_run_is_one_version_however_often_it_is_registered(registry: Registry, bundle: Path) -> None:
    first, second = registry.register(entry(bundle)), registry.register(entry(bundle, metrics={"other": 1.0}))
    assert first == second
    assert isinstance(first.version, str)
    assert len(MlflowClient(registry.uri).search_model_versions(f"tags.{RUN_KEY}='{KEY}'")) == 1


def test_a_registration_that_was_cut_off_goes_on_with_the_same_run(
    registry: Registry, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "c" * 64
    with monkeypatch.context() as patch:

        def fail(*_: object, **__: object) -> None:
            raise ConnectionError

        patch.setattr(MlflowClient, "create_model_version", fail)
        with pytest.raises(RegistryUnavailable, match="a retry or `ct reconcile` writes the same version"):
            registry.register(entry(bundle, key))
    registered = registry.register(entry(bundle, key))
    client = MlflowClient(registry.uri)
    runs = client.search_runs([registered.experiment_id], f"tags.{RUN_KEY} = '{key}'")
    assert [run.info.run_id for run in runs] == [registered.run_id]


def test_what_is_known_of_a_challenger_is_shown(registry: Registry, bundle: Path) -> None:
    registered = registry.register(entry(bundle))
    client = MlflowClient(registry.uri)
    run = client.get_run(registered.run_id)
    assert run.data.metrics == {"hold_out_roc_auc": 0.75}
    assert run.data.params == {"rounds": "20", "text": "x"}
    assert run.info.status == "FINISHED"
    assert [item.path for item in client.list_artifacts(registered.run_id, "reports")] == ["reports/comparison.json"]
    version = client.get_model_version(MODEL, registered.version)
    assert version.tags.items() >= {RUN_KEY: KEY, "verdict": "pass", "reason": "drift"}.items()
    registry.tag(MODEL, registered.version, {"outcome": "promoted"})
    assert client.get_model_version(MODEL, registered.version).tags["outcome"] == "promoted"


def test_aliases_name_the_versions_they_are_told_and_none_where_there_is_none(registry: Registry, bundle: Path) -> None:
    one = registry.register(entry(bundle)).version
    two = registry.register(entry(bundle, "b" * 64)).version
    assert one != two
    for _ in range(2):
        registry.point(MODEL, {"champion": one, "challenger": two, "previous": None})
        assert registry.aliases(MODEL) == {"champion": one, "challenger": two}
    registry.point(MODEL, {"champion": two, "challenger": None, "previous": one})
    assert registry.aliases(MODEL) == {"champion": two, "previous": one}


def test_a_model_that_was_never_registered_has_no_aliases(registry: Registry) -> None:
    assert registry.aliases("stranger") == {}


def test_a_registered_version_answers_as_its_bundle_without_unpickling(
    registry: Registry, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.register(entry(bundle)).version
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(registry.uri)
    mlflow.set_registry_uri(registry.uri)
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}/{version}")
    rows = make_rows(50, seed=9)[[*FEATURES.columns]]
    np.testing.assert_array_equal(model.predict(rows), load_bundle(bundle).answer(rows))
    holes = pd.DataFrame({"distance": [np.nan, 900.0], "wind": [1.0, np.nan], "carrier": ["never seen", None]})
    np.testing.assert_array_equal(model.predict(holes), load_bundle(bundle).answer(holes))


def test_nothing_pickled_is_logged_and_the_files_of_the_bundle_are(registry: Registry, bundle: Path) -> None:
    registry.register(entry(bundle))
    folder = Path(registry.uri.removeprefix("sqlite:///")).parent / "mlflow-artefacts"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in bundle.iterdir()} <= {path.name for path in files}
    assert not [path for path in files if path.suffix in PICKLES or path.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05")]
    descriptions = [path.read_text() for path in files if path.name == "MLmodel"]
    assert descriptions
    assert not [text for text in descriptions if "pkl" in text]


@pytest.mark.parametrize("verb", ["register", "point", "tag", "aliases"])
def test_a_registry_that_is_down_is_named_as_such(bundle: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = Registry("http://127.0.0.1:9")
    arguments: dict[str, tuple[Any, ...]] = {
        "register": (entry(bundle),),
        "point": (MODEL, {"champion": "1"}),
        "tag": (MODEL, "1", {"a": "b"}),
        "aliases": (MODEL,),
    }
    with pytest.raises(RegistryUnavailable, match="MLflow did not do what was asked"):
        getattr(registry, verb)(*arguments[verb])
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
