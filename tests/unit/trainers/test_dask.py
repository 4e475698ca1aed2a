"""Real workers of a real Dask cluster grow one model."""

import os
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import dask
import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from continuous_training.core.errors import ClusterUnavailable, DataInvalid, SpecError
from continuous_training.trainers import Ensemble, Fitted, LightGBM, Ranking, TrainingData, _dask
from continuous_training.trainers._dask import stopped

TOLERANCE = 0.01
"""Largest loss of ROC AUC against one process; docs/how-to/train-on-several-machines.md names it."""

TWO = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}


def rows(classes: int = 2) -> TrainingData:
    """Two numbers that tell something, one with gaps that does not, and a category that tells much."""
    random = np.random.default_rng(0)
    x = np.column_stack([random.normal(size=(6000, 3)), random.integers(0, 8, 6000)])
    signal = x[:, 0] + 0.5 * x[:, 1] + 2 * np.isin(x[:, 3], [2, 5]) + random.normal(size=6000)
    y = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)) if classes else signal
    x[::11, 2] = x[::13, 3] = np.nan
    y = y.astype(np.float64)
    return TrainingData(x[:4500], y[:4500], x[4500:], y[4500:], ("a", "b", "c", "d"), (3,), classes)


def trainer(scheduler: str | None, **fields) -> LightGBM:
    engine = {"kind": "dask", "workers": 2, "scheduler": scheduler}
    return LightGBM(**{"rounds": 40, "patience": 5, "threads": 1, "engine": engine, **fields})


def alone(given: LightGBM) -> LightGBM:
    return given.model_copy(update={"engine": None})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Give two workers that somebody else started."""
    folder = str(tmp_path_factory.mktemp("workers"))
    with dask.config.set({"temporary-directory": folder}), LocalCluster(**TWO) as started:
        yield started


@pytest.fixture(scope="module")
def fitted(cluster: LocalCluster) -> Fitted:
    return trainer(cluster.scheduler_address).fit(rows(), seed=7)


def auc(made: Fitted, data: TrainingData, folder: Path) -> float:
    (folder / "model.txt").write_bytes(made.model)
    return roc_auc_score(data.y_tune, LightGBM().load(folder / "model.txt").predict(data.x_tune)[:, 1])


def test_the_same_rows_give_the_same_bytes(cluster: LocalCluster, fitted: Fitted) -> None:
    assert trainer(cluster.scheduler_address).fit(rows(), seed=7) == fitted


def test_several_workers_learn_as_much_as_one_process(fitted: Fitted, tmp_path: Path) -> None:
    whole = alone(trainer(None)).fit(rows(), seed=7)
    assert fitted.model != whole.model
    assert auc(fitted, rows(), tmp_path) == pytest.approx(auc(whole, rows(), tmp_path), abs=TOLERANCE)
    half = replace(rows(), x_train=rows().x_train[::40], y_train=rows().y_train[::40])
    assert auc(alone(trainer(None)).fit(half, seed=7), rows(), tmp_path) < auc(fitted, rows(), tmp_path) - TOLERANCE


def test_the_model_is_told_of_columns_and_parameters_as_in_one_process_and_names_no_machine(fitted: Fitted) -> None:
    def said(made: Fitted) -> list[str]:
        lines = made.model.decode().splitlines()
        told = lines[lines.index("parameters:") :]
        return [line for line in lines if line.startswith(("feature_names", "objective"))] + told

    assert said(fitted) == said(alone(trainer(None)).fit(rows(), seed=7))
    assert b"127.0.0.1" not in fitted.model


def test_it_searches_on_the_tune_rows_and_stops_early(cluster: LocalCluster) -> None:
    found = trainer(cluster.scheduler_address, rounds=60, tuning={"trials": 2}).fit(rows(), seed=7)
    assert [trial["trial"] for trial in found.trials] == [0, 1]
    assert min(trial["binary_logloss"] for trial in found.trials) == min(trial["score"] for trial in found.trials)
    assert all(trial["rounds"] < 60 for trial in found.trials)
    assert found.model.count(b"Tree=") == found.parameters["rounds"]


@pytest.mark.parametrize("classes", [0, 3])
def test_it_learns_values_and_many_classes(cluster: LocalCluster, classes: int, tmp_path: Path) -> None:
    data = rows(classes)
    untuned = replace(data, x_tune=data.x_tune[:0], y_tune=data.y_tune[:0])
    made = trainer(cluster.scheduler_address, rounds=30).fit(untuned, seed=7)
    (tmp_path / "model.txt").write_bytes(made.model)
    predicted = LightGBM().load(tmp_path / "model.txt").predict(data.x_tune)
    if classes:
        assert (predicted.argmax(axis=1) == data.y_tune).mean() > 0.6
    else:
        assert np.corrcoef(predicted, data.y_tune)[0, 1] > 0.75
    assert made.parameters["rounds"] == 30


def test_parameters_that_lightgbm_refuses_are_the_model_files_fault(cluster: LocalCluster) -> None:
    with pytest.raises(SpecError, match=r"LightGBM refused trainer\.parameters"):
        trainer(cluster.scheduler_address, parameters={"bagging_fraction": 2.0}).fit(rows(), seed=7)


def test_a_worker_that_dies_can_be_tried_again(cluster: LocalCluster) -> None:
    with Client(cluster, set_as_default=False) as client, ThreadPoolExecutor(1) as pool:
        pids = client.run(os.getpid)
        training = pool.submit(trainer(cluster.scheduler_address, rounds=100_000).fit, rows(), seed=7)
        while not all(client.processing().values()):
            assert not training.done(), training.exception()
        os.kill(next(iter(pids.values())), signal.SIGKILL)
        with pytest.raises(
            ClusterUnavailable, match=r"lost 1 of 2 workers while it worked.* a retry does the step again"
        ):
            training.result(timeout=120)
        client.wait_for_workers(2)


def test_a_scheduler_that_is_not_there_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dask, "CONNECT", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClusterUnavailable, match=f"the Dask scheduler {address} did not give 2 workers"):
            trainer(address).fit(rows(), seed=7)


def test_a_scheduler_with_too_few_workers_can_be_tried_again(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_dask, "CONNECT", 1)
    many = trainer(None, engine={"kind": "dask", "workers": 3, "scheduler": cluster.scheduler_address})
    with pytest.raises(ClusterUnavailable, match="did not give 3 workers within 1 seconds"):
        many.fit(rows(), seed=7)


def listening() -> set[tuple[str, int]]:
    """Return the addresses at which this process and those it has begun accept connections."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = [one for each in processes for one in each.net_connections("tcp") if one.status == "LISTEN"]
    return {(one.laddr.ip, one.laddr.port) for one in found}


def test_workers_that_are_started_here_listen_on_loopback_and_to_whoever_has_the_keys_only() -> None:
    before = listening()  # what other tests of this process have begun
    with _dask.started(1) as address:
        assert {ip for ip, _ in listening() - before} == {"127.0.0.1"}
        scheduler = urlsplit(address)
        stranger = ssl._create_unverified_context()
        with (
            socket.create_connection((scheduler.hostname, scheduler.port), timeout=20) as plain,
            pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"),
            stranger.wrap_socket(plain) as connection,
        ):
            connection.recv(1)


def test_workers_that_are_started_here_leave_nothing_on_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with _dask.started(1):
        assert list(tmp_path.iterdir()) != []
    assert list(tmp_path.iterdir()) == []


def test_rows_too_few_to_share_are_refused() -> None:
    few = replace(rows(), x_train=rows().x_train[:199], y_train=rows().y_train[:199])
    with pytest.raises(DataInvalid, match="199 train rows are too few for 2 workers, each needs 100"):
        trainer("tcp://127.0.0.1:1").fit(few, seed=7)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'airflow-provider-continuous-training\[dask\]'"):
        trainer(None).fit(rows(), seed=7)


PLACES = {"dask": "tls://scheduler:8786", "data": "/srv/data"}


@pytest.mark.parametrize("scheduler", ["{dask}", "tls://scheduler:8786"])
def test_a_scheduler_is_one_of_the_deployments_locations(scheduler: str) -> None:
    with trainer(scheduler).ready(PLACES) as found:
        assert found.engine.scheduler == "tls://scheduler:8786"


@pytest.mark.parametrize("scheduler", ["{other}", "{data}", "tcp://scheduler:8786", "tls://elsewhere:8786"])
def test_another_scheduler_is_refused(scheduler: str) -> None:
    with (
        pytest.raises(SpecError, match=r"is no Dask scheduler that this deployment has.*CT_LOCATIONS"),
        trainer(scheduler).ready(PLACES),
    ):
        pass


@pytest.mark.parametrize("scheduler", ["scheduler:8786", "http://scheduler:8786", "tcp://a@b:1", "tcp://{dask}:1"])
def test_what_is_no_address_of_a_scheduler_is_refused_by_lint(scheduler: str) -> None:
    with pytest.raises(ValidationError, match="scheduler"):
        trainer(scheduler)


@pytest.mark.parametrize("other", [Ensemble, Ranking])
def test_trainers_that_cannot_share_their_work_are_refused_by_lint(other: type) -> None:
    with pytest.raises(ValidationError, match="engine"):
        other(engine={"kind": "dask"})


@pytest.mark.parametrize(
    ("values", "higher", "kept"),
    [
        ([3.0, 2.0, 1.0], False, 3),
        ([3.0, 1.0, 2.0, 2.0, 0.5], False, 2),  # the last one comes after patience has ended
        ([3.0, 1.0, 2.0, 0.5, 2.0], False, 4),
        ([0.5, 0.7, 0.7, 0.6, 0.9], True, 2),
        ([1.0], True, 1),
    ],
)
def test_as_many_trees_are_kept_as_early_stopping_would_have_grown(values, higher, kept) -> None:
    assert stopped(values, 2, higher=higher) == kept
