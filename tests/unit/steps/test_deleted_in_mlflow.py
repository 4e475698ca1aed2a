"""What somebody deleted in MLflow is shown again by `ct reconcile` or the next training, and nothing else needs it."""

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import yaml
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.cli import cli

import small_deployment
import small_model
from continuous_training.cli.doctor import examine
from continuous_training.registry import RUN_KEY, Registry
from continuous_training.steps.explained import explain_run
from continuous_training.steps.reconcile import reconcile
from small_deployment import TRAINER, Deployment

PROMOTION = {"metric": "roc_auc", "rows": 100, "resamples": 100, "margin": -0.2}
MODEL = small_deployment.spec(trainer={**TRAINER, "rounds": 9}, promotion=PROMOTION)


def version(client: MlflowClient) -> None:
    client.delete_model_version("m", client.get_model_version_by_alias("m", "champion").version)


def model(client: MlflowClient) -> None:
    client.delete_registered_model("m")


def run(client: MlflowClient) -> None:
    client.delete_run(client.get_model_version_by_alias("m", "champion").run_id)


def run_for_good(client: MlflowClient) -> None:
    run_id = client.get_model_version_by_alias("m", "champion").run_id
    client.delete_run(run_id)
    done = CliRunner().invoke(cli, ["gc", "--backend-store-uri", client.tracking_uri, "--run-ids", run_id])
    assert done.exit_code == 0, done.output


def experiment(client: MlflowClient) -> None:
    client.delete_experiment(client.get_experiment_by_name("m").experiment_id)


def everything(client: MlflowClient) -> None:
    model(client)
    experiment(client)


@pytest.fixture
def promoted(deployment: Deployment) -> Deployment:
    """Give a deployment of its own, whose MLflow may be damaged."""
    deployment.land(45)
    deployment.train(small_deployment.spec())
    _, results = deployment.train(MODEL)
    assert results["promote"].facts["outcome"] == "promoted"
    return deployment


@pytest.mark.parametrize("gone", [version, model, run, run_for_good, experiment, everything])
@pytest.mark.parametrize("by", ["reconciling", "training"])
def test_it_is_shown_again(
    promoted: Deployment, gone: Callable[[MlflowClient], None], by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, champion = promoted.settings, promoted.ledger.champion("m")
    before = explain_run(promoted.ledger, promoted.store, "m", champion.run_key)
    client = MlflowClient(settings.registry)
    gone(client)
    assert explain_run(promoted.ledger, promoted.store, "m", champion.run_key) == before
    if by == "training":
        _, results = promoted.train(MODEL, episode="again")
        assert results["promote"].facts["outcome"] == "promoted"
        champion = promoted.ledger.champion("m")
    else:
        reconcile(MODEL, settings)
    shown = client.get_model_version_by_alias("m", "champion")
    assert shown.tags[RUN_KEY] == champion.run_key
    assert promoted.ledger.champion("m").registry_version == str(shown.version)
    assert set(Registry(settings.registry).aliases("m")) == {"champion", "challenger", "previous"}
    mlflow.set_tracking_uri(settings.registry)
    monkeypatch.chdir(tmp_path)
    assert mlflow.pyfunc.load_model("models:/m@champion").metadata.signature is not None
    assert promoted.ledger.verify() == []


@pytest.mark.parametrize("gone", [version, model])
def test_the_doctor_says_what_is_missing_and_what_to_do(
    promoted: Deployment, gone: Callable[[MlflowClient], None]
) -> None:
    environment = promoted.settings.to_environment()
    models = Path(promoted.settings.models)
    models.mkdir(parents=True)
    document = small_model.document(trainer={**TRAINER, "rounds": 9}, promotion=PROMOTION)
    (models / "m.yaml").write_text(yaml.safe_dump(document))
    finding = lambda: next(each for each in examine(environment) if each.check == "champions")  # noqa: E731
    assert (finding().state, "shows the champions of 1 model" in finding().text) == ("ok", True)
    gone(MlflowClient(promoted.settings.registry))
    assert finding().state == "wrong"
    assert "does not show the champion of m as the ledger has it" in finding().text
    assert "run `ct reconcile`" in finding().text
    reconcile(MODEL, promoted.settings)
    assert finding().state == "ok"
