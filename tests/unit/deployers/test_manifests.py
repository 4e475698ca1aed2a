"""The champion as Kubernetes objects, checked against the schemas of current Kubernetes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from pydantic import ValidationError

from continuous_training.cli.manifests import _place
from continuous_training.core.errors import SpecError, UsageError
from continuous_training.core.rollout import RolloutPlan
from continuous_training.deployers import KServe, KubernetesService
from continuous_training.deployers.base import Release
from continuous_training.deployers.manifests import plan_map
from continuous_training.deployers.planes import RIGHTS, serving_plane, work_plane
from continuous_training.deployers.pods import Challenger, object_name
from continuous_training.deployers.rollout import pod_problem
from continuous_training.settings import Settings
from pod_security import restricted_problems

IMAGE = "registry.example.com/serve@sha256:" + "ab" * 32
SETTINGS = Settings.from_environment({"CT_HOME": "/srv/ct", "CT_ARTEFACTS": "s3://models/ct"})
RELEASE = Release(model="flight_delays", version="12", fence=14, bundle="cd" * 32)


def service(**changes):
    return KubernetesService(**{"image": IMAGE, "namespace": "serving", **changes})


def rendered(release=RELEASE, settings=SETTINGS, **changes):
    return {each["kind"]: each for each in service(**changes).manifests(release, settings)}


def pod(**changes):
    return rendered(**changes)["Deployment"]["spec"]["template"]


def server(**changes):
    return pod(**changes)["spec"]["containers"][0]


CHALLENGER = Challenger(model="flight_delays", version="13.ab", fence=15, bundle="ef" * 32)
PLAN = RolloutPlan(
    fence=14, begun=datetime(2013, 3, 1, tzinfo=UTC), mode="shadow", share=1, champion="12", challenger="13.ab",
    url="http://10.0.0.7", salt="a salt of its own",
)  # fmt: skip
ROLLOUT = [*rendered(CHALLENGER).values(), plan_map("serving", "flight_delays", PLAN, PLAN.begun)]
PLANES = [*work_plane(), *serving_plane(), *serving_plane("answers", via="pod")]


@pytest.mark.parametrize("manifest", [*rendered().values(), *ROLLOUT, *PLANES], ids=_place)
def test_an_object_is_one_of_current_kubernetes(manifest):
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_the_same_release_gives_the_same_bytes():
    first, second = (json.dumps(service().manifests(RELEASE, SETTINGS)) for _ in range(2))
    assert first == second


def test_the_champion_is_a_deployment_with_all_that_keeps_it_up():
    assert list(rendered()) == [
        "Deployment", "NetworkPolicy", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler",
    ]  # fmt: skip
    assert {each["metadata"]["name"] for each in rendered().values()} == {"flight-delays"}
    assert {each["metadata"]["namespace"] for each in rendered().values()} == {"serving"}


def test_every_object_says_whose_it_is_and_which_release_it_serves():
    for each in [*rendered().values(), pod()]:
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "continuous-training"
        assert each["metadata"]["annotations"] == {
            "continuous-training/model": "flight_delays",
            "continuous-training/version": "12",
            "continuous-training/fence": "14",
            "continuous-training/bundle": "cd" * 32,
        }


@pytest.mark.parametrize("version", ["12", "1.0+build/7", "x" * 100, "._-"])
def test_labels_of_a_pod_fit_whatever_the_version_is(version):
    release = RELEASE.model_copy(update={"version": version})
    deployment = rendered(release=release)["Deployment"]
    kubernetes_validate.validate(deployment, kubernetes_validate.latest_version(), strict=True)
    for value in deployment["spec"]["template"]["metadata"]["labels"].values():
        assert len(value) <= 63
        assert not value or (value[0].isalnum() and value[-1].isalnum())


def test_a_new_release_changes_the_pods_and_never_the_selector():
    new = RELEASE.model_copy(update={"fence": 15})
    before, after = rendered()["Deployment"]["spec"], rendered(release=new)["Deployment"]["spec"]
    assert before["selector"] == after["selector"]
    assert before["template"]["metadata"]["labels"] != after["template"]["metadata"]["labels"]
    assert before["selector"]["matchLabels"].items() <= after["template"]["metadata"]["labels"].items()


def test_other_resources_make_other_pods_of_the_same_release():
    label = "continuous-training/pod"
    assert pod()["metadata"]["labels"][label] != pod(resources={"cpu": "2"})["metadata"]["labels"][label]


def test_a_pod_passes_the_restricted_standard():
    assert restricted_problems(pod()["spec"]) == []


def test_a_pod_gets_no_token_and_writes_to_empty_folders_only():
    spec = pod(volumes=[{"claim": "store", "path": "/srv/store"}])["spec"]
    assert spec["automountServiceAccountToken"] is False
    writable = [mount["name"] for mount in spec["containers"][0]["volumeMounts"] if not mount.get("readOnly")]
    assert [each for each in spec["volumes"] if "emptyDir" not in each and each["name"] in writable] == []
    assert {each["name"] for each in spec["volumes"] if "emptyDir" in each} == set(writable)


def test_credentials_come_by_reference():
    assert server(secret="store-reader")["envFrom"] == [{"secretRef": {"name": "store-reader"}}]
    assert "envFrom" not in server()


def test_the_server_is_told_its_release_and_the_names_it_is_called_by():
    told = {each["name"]: each["value"] for each in server(hosts=["models.example.com"])["env"]}
    assert server()["args"] == [RELEASE.bundle]
    assert {"name": "CT_STRICT", "value": "true"} in server(strict=True)["env"]
    assert told == {
        "CT_ADMIN_HOST": "0.0.0.0", "CT_ADMIN_PORT": "9090", "CT_ARTEFACTS": "s3://models/ct", "CT_HOME": "/work",
        "CT_PLAN": "/plan/rollout.json", "HOME": "/work", "CT_MODEL": "flight_delays", "CT_VERSION": "12",
        "CT_FENCE": "14",
        "CT_HOSTS": "flight-delays,flight-delays.serving,flight-delays.serving.svc,flight-delays.serving.svc.cluster.local,"
        "models.example.com",
    }  # fmt: skip


def test_a_challenger_has_every_object_under_a_name_of_its_own_that_no_selector_of_the_champions_finds():
    champion, challenger = rendered(), rendered(CHALLENGER)
    assert {each["metadata"]["name"] for each in challenger.values()} == {"flight-delays-challenger"}
    assert [*challenger] == [*champion]
    labels = challenger["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert not champion["Service"]["spec"]["selector"].items() <= labels.items()
    assert challenger["Service"]["spec"]["selector"].items() <= labels.items()
    assert challenger["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "flight-delays-challenger"
    assert len(object_name(Challenger(model="m" * 63, version="1", fence=1, bundle="b"))) == 63


def test_only_the_champions_pods_may_ask_the_challenger_and_they_may():
    champion, challenger = (rendered(each)["NetworkPolicy"]["spec"] for each in (RELEASE, CHALLENGER))
    asking, metrics = challenger["ingress"]
    assert asking == {"from": [{"podSelector": champion["podSelector"]}], "ports": [{"protocol": "TCP", "port": 8080}]}
    assert [each["port"] for each in metrics["ports"]] == [9090]
    assert {"to": [{"podSelector": challenger["podSelector"]}], "ports": asking["ports"]} in champion["egress"]
    assert challenger["egress"] == rendered(via="gitops")["NetworkPolicy"]["spec"]["egress"] == champion["egress"][:1]


def test_the_champions_pods_find_the_plan_where_there_is_one():
    told = plan_map("serving", "flight_delays", PLAN, PLAN.begun)
    assert RolloutPlan.model_validate_json(told["data"]["rollout.json"]) == PLAN
    optional = {"name": told["metadata"]["name"], "optional": True}
    assert {"name": "plan", "configMap": optional} in pod()["spec"]["volumes"]
    for spec in (rendered(CHALLENGER)["Deployment"]["spec"]["template"]["spec"], pod(via="gitops")["spec"]):
        assert [each for each in spec["volumes"] if "configMap" in each] == []
    later = plan_map("serving", "flight_delays", PLAN, PLAN.begun + timedelta(minutes=1))
    assert later["data"] != told["data"]  # renewed: kubelets write the file anew only when something has changed


@pytest.mark.parametrize(("via", "can"), [("api", True), ("pod", False), ("gitops", False)])
def test_who_reaches_the_cluster_can_roll_out(via, can):
    assert service(via=via).rolls_out is can


def test_a_rollout_never_takes_away_a_pod_that_answers():
    spec = rendered()["Deployment"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert "replicas" not in spec  # they are the autoscaler's
    assert server()["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": "http"}


def test_the_autoscaler_has_the_bounds_and_the_target_of_the_model_file():
    spec = rendered(replicas={"min": 3, "max": 7}, cpu_target=55)["HorizontalPodAutoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 7)
    assert spec["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 55}
    assert spec["scaleTargetRef"]["name"] == "flight-delays"


def test_pods_are_added_for_requests_too_where_the_model_file_says_so():
    autoscaler = rendered(requests_target=40)["HorizontalPodAutoscaler"]
    kubernetes_validate.validate(autoscaler, kubernetes_validate.latest_version(), strict=True)
    cpu, requests = autoscaler["spec"]["metrics"]
    assert cpu["resource"]["name"] == "cpu"
    assert requests["pods"] == {
        "metric": {"name": "ct_requests_per_second"}, "target": {"type": "AverageValue", "averageValue": "40"},
    }  # fmt: skip


def test_requests_come_from_the_own_namespace_and_the_callers_named():
    rule = rendered(callers=["web"])["NetworkPolicy"]["spec"]["ingress"][0]
    assert rule["from"] == [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}}},
    ]


def test_metrics_are_read_where_the_model_file_says_so():
    monitor = rendered(service_monitor=True)["ServiceMonitor"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= rendered()["Service"]["metadata"]["labels"].items()
    [endpoint] = monitor["spec"]["endpoints"]
    [port] = [each for each in rendered()["Service"]["spec"]["ports"] if each["name"] == endpoint["port"]]
    [listening] = [each["containerPort"] for each in server()["ports"] if each["name"] == port["targetPort"]]
    assert {"name": "CT_ADMIN_PORT", "value": str(listening)} in server()["env"]
    assert {"protocol": "TCP", "port": listening} in rendered()["NetworkPolicy"]["spec"]["ingress"][0]["ports"]


@pytest.mark.parametrize("kind", [KServe, KubernetesService])
def test_what_the_deployment_does_not_allow_is_refused(kind):
    allowed = '{"digests": true, "namespaces": ["serving"], "secrets": ["store-*"]}'
    strict = Settings.from_environment({"CT_ARTEFACTS": "s3://b/p", "CT_ALLOWED": allowed})
    good = {"image": IMAGE, "namespace": "serving", "secret": "store-reader"}
    assert kind(**good).manifests(RELEASE, strict)
    for wrong, message in [
        ({"image": "serve:1"}, "flight_delays: deployment: images: 'serve:1' .* write ...@sha256:"),
        ({"namespace": "kube-system"}, "namespaces: 'kube-system' is not allowed"),
        ({"secret": "admin"}, "secrets: 'admin' is not allowed"),
    ]:
        with pytest.raises(SpecError, match=message):
            kind(**good | wrong).manifests(RELEASE, strict)


def test_a_store_that_no_pod_sees_is_refused():
    local = Settings.from_environment({"CT_HOME": "/srv/ct"})
    with pytest.raises(
        UsageError, match=r"/srv/ct/artefacts is a folder that no pod sees.*CT_ARTEFACTS.*deployment.volumes"
    ):
        service().manifests(RELEASE, local)
    assert service(volumes=[{"claim": "store", "path": "/srv/ct"}]).manifests(RELEASE, local)


def test_fewer_pods_at_most_than_at_least_are_refused():
    with pytest.raises(ValidationError, match="min is 4, more than max, which is 2"):
        service(replicas={"min": 4, "max": 2})


def test_kserve_gets_the_same_pod_and_its_own_names():
    given = {"image": IMAGE, "namespace": "serving", "replicas": {"min": 3, "max": 7}, "cpu_target": 55}
    inference, policy = KServe(**given).manifests(RELEASE, SETTINGS)
    predictor = inference["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"], predictor["scaleTarget"]) == (3, 7, 55)
    [container] = predictor["containers"]
    ours = server(via="gitops")  # which rolls out nothing either
    assert container == {**ours, "name": "kserve-container", "ports": ours["ports"][:1]}  # KServe takes one
    assert restricted_problems(predictor) == []
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= predictor["labels"].items()


def test_a_payload_for_kserve_has_only_fields_of_its_definition():
    [inference, _] = KServe(
        image=IMAGE, secret="s", service_account="a", volumes=[{"claim": "c", "path": "/c"}]
    ).manifests(RELEASE, SETTINGS)
    definition = yaml.safe_load((Path(__file__).parents[2] / "kubernetes" / "inferenceservices.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert unknown_fields(inference["spec"], schema["properties"]["spec"]) == []
    assert unknown_fields({"predictor": {"replicas": 1}}, schema["properties"]["spec"]) == ["predictor.replicas"]


def unknown_fields(value, schema, place=""):
    """Return the fields that the API server would drop, as it does without a word."""
    if isinstance(value, list):
        return [name for each in value for name in unknown_fields(each, schema["items"], place)]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    unknown = [f"{place}{name}" for name in value if name not in schema["properties"]]
    known = [name for name in value if name in schema["properties"]]
    return unknown + [
        field for name in known for field in unknown_fields(value[name], schema["properties"][name], f"{place}{name}.")
    ]


def test_gitops_leaves_the_cluster_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert service(via="gitops").deploy(RELEASE, tmp_path, settings=SETTINGS) == "http://flight-delays.serving.svc"


def test_without_a_cluster_the_error_says_how_to_name_one(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"no Kubernetes cluster is configured.*KUBECONFIG"):
        service().deploy(RELEASE, tmp_path, settings=SETTINGS)


def test_a_namespace_of_ours_enforces_the_restricted_standard_and_denies_by_default():
    for plane in (work_plane(), serving_plane()):
        [namespace] = [each for each in plane if each["kind"] == "Namespace"]
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in [each.get("spec") for each in plane]


def test_no_role_has_a_star_or_may_read_secrets():
    for group, resources, verbs in [rule for rules in RIGHTS.values() for rule in rules]:
        assert "*" not in (group, *resources, *verbs)
        assert not {"secrets", "roles", "rolebindings", "namespaces"} & set(resources)


WAITING = {
    "metadata": {"name": "p"},
    "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no cpu"}]},
}


@pytest.mark.parametrize("late", [False, True])
def test_a_pod_that_waits_for_a_node_has_a_problem_only_when_it_is_late(late):
    assert pod_problem(WAITING, late=late) == ("pod p cannot be placed: no cpu" if late else "")


def test_a_pod_killed_for_memory_says_what_to_raise():
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    status = {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}]}
    assert "OOMKilled, exit code 137; give deployment.resources.memory more" in pod_problem(
        {"metadata": {"name": "p"}, "status": status}, late=False
    )


def test_the_default_waits_five_minutes():
    assert service().startup == timedelta(minutes=5)
    assert yaml.safe_load(yaml.safe_dump(service().manifests(RELEASE, SETTINGS)))
