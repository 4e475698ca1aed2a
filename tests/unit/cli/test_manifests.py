"""`ct manifests`: the champion's objects on standard output, or as a folder that Kustomize reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

IMAGE = "registry.example.com/serve@sha256:" + "ab" * 32


@pytest.fixture(autouse=True)
def reachable_store(monkeypatch, deployment):
    """A store that pods could reach; nothing is read from it here."""
    monkeypatch.setenv("CT_ARTEFACTS", "s3://models/ct")


@pytest.fixture
def served(model):
    def write(**changes):
        model(deployment={"kind": "kubernetes", "image": IMAGE, "namespace": "serving", **changes})

    write()
    return write


def objects(text):
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def test_a_champions_objects_are_printed(ct, served):
    said = ct("manifests", "m")
    printed = objects(said.out)
    assert said.code == 0
    assert printed["Deployment"]["metadata"]["annotations"]["continuous-training/fence"] == "1"
    assert {each["metadata"]["namespace"] for each in printed.values()} == {"serving"}


def test_another_namespace_can_be_named(ct, served):
    printed = objects(ct("manifests", "m", "--namespace", "blue").out)
    assert {each["metadata"]["namespace"] for each in printed.values()} == {"blue"}


def test_without_a_model_the_namespaces_and_rights_are_printed(ct):
    printed = list(yaml.safe_load_all(ct("manifests", "--work", "jobs", "--serving", "jobs", "--airflow", "etl").out))
    assert [each["metadata"]["name"] for each in printed if each["kind"] == "Namespace"] == ["jobs"]
    subjects = [subject for each in printed for subject in each.get("subjects", [])]
    assert {each["namespace"] for each in subjects} == {"etl"}


def test_where_a_pod_deploys_airflow_has_no_right_in_the_serving_namespace(ct):
    printed = list(yaml.safe_load_all(ct("manifests", "--via", "pod", "--work", "jobs").out))
    bound = {each["metadata"]["namespace"]: each["subjects"] for each in printed if each["kind"] == "RoleBinding"}
    pod = {"kind": "ServiceAccount", "name": "continuous-training-deploy", "namespace": "jobs"}
    assert bound["serving"] == [pod]
    accounts = {
        (each["metadata"]["namespace"], each["metadata"]["name"]) for each in printed if each["kind"] == pod["kind"]
    }
    assert ("jobs", pod["name"]) in accounts


def test_a_folder_is_what_the_index_says_and_forgets_what_is_asked_for_no_more(ct, served, tmp_path):
    served(service_monitor=True)
    ct("manifests", "m", "--output", str(tmp_path / "out"))
    assert (tmp_path / "out" / "serving-servicemonitor-m.yaml").exists()
    served()
    assert ct("manifests", "m", "--output", str(tmp_path / "out")).code == 0
    listed = yaml.safe_load((tmp_path / "out" / "kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(path.name for path in (tmp_path / "out").iterdir())


def test_a_folder_of_somebody_else_is_left_alone(ct, served, tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: [mine.yaml]\n")
    said = ct("manifests", "m", "--output", str(tmp_path))
    assert said.code == 2
    assert "was not written by `ct manifests`" in said.err
    assert [path.name for path in Path(tmp_path).glob("*.yaml")] == ["kustomization.yaml"]


def test_a_model_that_is_not_deployed_to_a_cluster_is_refused(ct, model):
    model(deployment={"kind": "local"})
    said = ct("manifests", "m")
    assert said.code == 2
    assert "deployed as local, which has no manifests; write kind: kubernetes or kserve" in said.err


def test_a_deployment_that_asks_for_more_than_is_allowed_does_not_pass_the_check(ct, served, monkeypatch):
    assert ct("lint").code == 0
    monkeypatch.setenv("CT_ALLOWED", '{"namespaces": ["training"]}')
    said = ct("lint")
    assert said.code == 2
    assert "m: deployment: namespaces: 'serving' is not allowed" in said.err
