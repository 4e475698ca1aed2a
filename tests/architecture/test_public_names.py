"""What users import is listed here; a name that comes or goes is a decision, not an accident."""

import importlib
import inspect
from typing import get_args

import pytest

from continuous_training.deployers import AnyDeployer
from continuous_training.detectors import AnyDetector
from continuous_training.metrics import AnyMetric
from continuous_training.policies import AnyRetrainingPolicy
from continuous_training.sources import AnySource
from continuous_training.trainers import AnyTrainer
from continuous_training.trainers.mitigation import AnyMitigation

PROVIDER = {
    "dags": {"build_dags", "build_rollback_dag", "build_train_dag", "build_watch_dag"},
    "hooks": {"ContinuousTrainingHook", "MLflowHook"},
    "operators": {
        "CollectDataOperator", "DecideRetrainingOperator", "DeployChampionOperator", "EvaluateChallengerOperator", "PlanRunOperator",
        "PrepareFeaturesOperator", "PromoteChallengerOperator", "RollBackOperator", "RolloutOperator", "ScoreWindowOperator", "StepOperator", "TrainChallengerOperator",
        "ValidateDataOperator",
    },
    "sensors": {"DriftSensor", "NewWindowSensor", "RolloutSensor"},
    "triggers": {"WindowTrigger"},
    "links": {"DashboardLink", "DataDocsLink", "DriftReportLink", "MLflowRunLink", "ModelCardLink", "ModelVersionLink"},
}  # fmt: skip
KINDS = {
    AnyDetector: {
        "adwin", "alibi_chi_square", "alibi_classifier", "alibi_cvm", "alibi_fet", "alibi_ks", "alibi_lsdd", "alibi_mmd",
        "alibi_tabular", "attribution", "cardinality", "chi_square", "classifier", "cusum", "ddm", "eddm", "energy",
        "jensen_shannon", "ks", "kswin", "missing", "mmd", "new_categories", "page_hinkley", "psi", "wasserstein",
    },
    AnyMetric: {"cost", "f_beta", "precision_at", "quantile_loss", "recall_at", "within"},
    AnySource: {"parquet", "predictions", "sql"},
    AnyMitigation: {"balanced", "reduction", "reweighing"},
    AnyTrainer: {"ensemble", "lightgbm", "ranking", "sklearn"},
    AnyRetrainingPolicy: {"net_value", "regret", "signals"},
    AnyDeployer: {"kserve", "kubernetes", "local", "none"},
}  # fmt: skip


@pytest.mark.provider
@pytest.mark.parametrize("module", PROVIDER)
def test_a_provider_module_offers_these_classes(module: str) -> None:
    loaded = importlib.import_module(f"continuous_training.provider.{module}")
    offered = {
        name
        for name, member in vars(loaded).items()
        if not name.startswith("_") and inspect.isclass(member) and member.__module__ == loaded.__name__
    }
    if module == "dags":
        offered = {name for name in vars(loaded) if name.startswith("build_")}
    assert offered == PROVIDER[module]


@pytest.mark.parametrize(
    "union", KINDS, ids=["detectors", "metrics", "sources", "mitigations", "trainers", "policies", "deployers"]
)
def test_a_model_file_knows_these_kinds(union: object) -> None:
    members = get_args(get_args(union)[0])
    assert {member.model_fields["kind"].default for member in members} == KINDS[union]
