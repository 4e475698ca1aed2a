"""What `deploy/` ships: the base is what `ct manifests` prints, and nothing in it is looser than it says."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from continuous_training.cli import main
from continuous_training.deployers.planes import TRIGGERER, WORKER

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
BASE = {path.name: yaml.safe_load(path.read_text()) for path in (DEPLOY / "base").glob("*.yaml")}
OBJECTS = [each for name, each in BASE.items() if name != "kustomization.yaml"]


def test_the_base_is_what_the_command_writes(tmp_path: Path) -> None:
    assert main(["manifests", "--output", str(tmp_path)]) == 0
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text() for path in (DEPLOY / "base").iterdir()}


@pytest.mark.parametrize("name", sorted(BASE.keys() - {"kustomization.yaml"}))
def test_an_object_of_the_base_is_one_of_current_kubernetes(name: str) -> None:
    kubernetes_validate.validate(BASE[name], kubernetes_validate.latest_version(), strict=True)


def test_the_index_lists_every_object() -> None:
    assert set(BASE["kustomization.yaml"]["resources"]) == BASE.keys() - {"kustomization.yaml"}


def test_every_namespace_has_a_quota_denies_by_default_and_admits_restricted_pods_only() -> None:
    namespaces = [each for each in OBJECTS if each["kind"] == "Namespace"]
    assert {each["metadata"]["name"] for each in namespaces} == {"training", "serving"}
    for namespace in namespaces:
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        inside = [each for each in OBJECTS if each["metadata"].get("namespace") == namespace["metadata"]["name"]]
        assert {"ResourceQuota", "NetworkPolicy", "ServiceAccount", "Role", "RoleBinding"} == {
            each["kind"] for each in inside
        }
        denied = [each["spec"] for each in inside if each["metadata"]["name"] == "default-deny"]
        assert denied == [{"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]


def test_rights_are_bound_to_the_accounts_that_the_chart_makes() -> None:
    values = yaml.safe_load((DEPLOY / "airflow-values.yaml").read_text())
    assert (values["workers"]["serviceAccount"]["name"], values["triggerer"]["serviceAccount"]["name"]) == (
        WORKER,
        TRIGGERER,
    )
    bound = {
        each["metadata"]["namespace"]: {subject["name"] for subject in each["subjects"]}
        for each in OBJECTS
        if each["kind"] == "RoleBinding"
    }
    assert bound == {"training": {WORKER, TRIGGERER}, "serving": {WORKER}}


def test_the_chart_gets_no_secret_and_no_image_by_tag() -> None:
    values = yaml.safe_load((DEPLOY / "airflow-values.yaml").read_text())
    assert values["images"]["airflow"]["digest"].startswith("sha256:")
    assert not {"CT_LEDGER", "AWS_SECRET_ACCESS_KEY"} & {each["name"] for each in values["env"]}
    assert values["allowPodLaunching"] is False
