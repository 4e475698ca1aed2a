"""The champion as a Deployment of a real cluster: rolled out, kept when its successor fails, repaired, and refused."""

from __future__ import annotations

import json
import os
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes.client import models as k8s
from kubernetes.client.exceptions import ApiException

import small_deployment
import small_model
from continuous_training.cli import main
from continuous_training.core.errors import ClusterUnavailable, Conflict, DeploymentFailed
from continuous_training.core.rollout import RolloutCounts, RolloutPlan
from continuous_training.deployers import KServe, KubernetesService
from continuous_training.deployers.base import Release
from continuous_training.deployers.cluster import Cluster as Connection
from continuous_training.deployers.planes import RIGHTS, serving_plane
from continuous_training.deployers.rollout import await_address
from continuous_training.settings import Settings
from continuous_training.storage import Store
from continuous_training.trainers.bundle import load_bundle
from kubernetes import client, config
from served_model import FEATURES, MODEL, make_rows, records, train
from services import wait_until
from small_deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kubernetes, pytest.mark.docker]

ROWS = make_rows(seed=3).head(5)


@dataclass
class Cluster:
    """The small model's bundles in a claim of a namespace, and what deploys them with the rights of Airflow's worker."""

    namespace: Any
    image: str
    bundles: dict[str, Path]
    digests: dict[str, str]
    api: client.ApiClient = field(default_factory=lambda: config.new_client_from_config(os.environ["KUBECONFIG"]))

    @property
    def settings(self) -> Settings:
        return Settings.from_environment({"CT_HOME": str(self.namespace.folder)})

    @property
    def apps(self) -> client.AppsV1Api:
        return client.AppsV1Api(self.api)

    def deployer(self, **changes: Any) -> KubernetesService:
        given = {
            "image": self.image, "namespace": self.namespace.name, "replicas": {"min": 1, "max": 2}, "startup": "60 seconds",
            "resources": {"cpu": "200m", "memory": "256Mi"}, "hosts": ["*"],
            "volumes": [{"claim": self.namespace.claim, "path": str(self.namespace.folder)}],
        }  # fmt: skip
        return KubernetesService.model_validate({**given, **changes})

    def deploy(self, fence: int, bundle: str = "a", model: str = MODEL, **changes: Any) -> str:
        release = Release(model=model, version=str(fence), fence=fence, bundle=self.digests[bundle])
        return self.deployer(**changes).deploy(release, self.bundles[bundle], settings=self.settings)

    def ask(self, path: str, body: Any = None, model: str = MODEL) -> Any:
        """Ask the Service through the API server, which passes requests on to it."""
        return self.exchange(path, body, model)[0]

    def exchange(self, path: str, body: Any = None, model: str = MODEL, **headers: str) -> tuple[Any, Any]:
        """Return the answer and its headers."""
        name = model.replace("_", "-")
        answer, _, told = self.api.call_api(
            f"/api/v1/namespaces/{self.namespace.name}/services/{name}:http/proxy/{path}",
            "GET" if body is None else "POST",
            header_params={"Content-Type": "application/json", **headers},
            body=body,
            auth_settings=["BearerToken"],
            response_types_map={200: "object"},
        )
        return answer, told

    def answers(self, version: str, fence: int, bundle: str) -> None:
        """Wait until the Service leads to this release only: a pod that ends is led to for a moment more."""
        wanted = {"model": MODEL, "version": version, "fence": fence, "bundle": self.digests[bundle]}
        wait_until(lambda: self.ask("version") == wanted, f"answers of version {version}", 60)

    def drop_service(self, model: str = MODEL) -> None:
        """Delete the Service, and wait until the cluster has forgotten where it led to."""
        core, named = client.CoreV1Api(self.api), f"metadata.name={model.replace('_', '-')}"
        core.delete_namespaced_service(model.replace("_", "-"), self.namespace.name)
        endpoints = core.list_namespaced_endpoints
        wait_until(lambda: not endpoints(self.namespace.name, field_selector=named).items, "the end of Endpoints", 60)

    def hurry(self) -> None:
        """Let the kubelet look at once after what the pods mount, as it does when an annotation changes."""
        core, now = client.CoreV1Api(self.api), {"metadata": {"annotations": {"looked": uuid.uuid4().hex}}}
        for pod in self.namespace.pods(**{"app.kubernetes.io/instance": MODEL}):
            core.patch_namespaced_pod(pod.metadata.name, self.namespace.name, now)

    def live(self, model: str = MODEL) -> k8s.V1Deployment:
        return self.apps.read_namespaced_deployment(model.replace("_", "-"), self.namespace.name)

    def all(self) -> list[str]:
        """Return every object that serves."""
        lists = [
            self.apps.list_namespaced_deployment,
            client.CoreV1Api(self.api).list_namespaced_service,
            client.NetworkingV1Api(self.api).list_namespaced_network_policy,
            client.AutoscalingV1Api(self.api).list_namespaced_horizontal_pod_autoscaler,
            client.CoreV1Api(self.api).list_namespaced_config_map,
        ]
        label = "app.kubernetes.io/managed-by=continuous-training"
        return sorted(
            f"{type(item).__name__} {item.metadata.name}"
            for every in lists
            for item in every(self.namespace.name, label_selector=label).items
        )


def limit_to(kubeconfig: Path, cluster: Cluster, rights: list[Any]) -> None:
    """Let the worker's account have these rights in the namespace and no others."""
    rules = [
        {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)} for group, resources, verbs in rights
    ]
    rbac, name = client.RbacAuthorizationV1Api(cluster.api), cluster.namespace.name
    role = "continuous-training-deploy"
    rbac.patch_namespaced_role(role, name, [{"op": "replace", "path": "/rules", "value": rules}])
    wait_for_rights = client.AuthorizationV1Api(config.new_client_from_config(str(kubeconfig)))
    wanted = {(verb, resource) for _, resources, verbs in rights for resource in resources for verb in verbs}

    def seen() -> set[tuple[str, str]]:
        review = k8s.V1SelfSubjectRulesReview(spec=k8s.V1SelfSubjectRulesReviewSpec(namespace=name))
        rules = wait_for_rights.create_self_subject_rules_review(review).status.resource_rules
        groups = {group for group, _, _ in rights}
        return {
            (verb, resource)
            for rule in rules
            if set(rule.api_groups) <= groups
            for resource in rule.resources
            for verb in rule.verbs
        }

    wait_until(lambda: seen() == wanted, f"that the API server knows of the rights {wanted}", 60)


@pytest.fixture(scope="module")
def kubeconfig(namespace: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the file with which Airflow's worker reaches the cluster, with the rights that `ct manifests` prints."""
    plane = serving_plane(namespace.name, airflow=namespace.name)
    return namespace.account("airflow-worker", plane, tmp_path_factory.mktemp("kube") / "config")


@pytest.fixture(scope="module")
def made(namespace: Any, serve_image: str, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    folder, store = tmp_path_factory.mktemp("bundles"), Store(str(namespace.folder / "artefacts"))
    bundles = {name: train(folder / name, seed) for name, seed in (("a", 3), ("b", 4), ("broken", 5))}
    digests = {
        name: store.put_folder({each.name: each.read_bytes() for each in path.iterdir()})
        for name, path in bundles.items()
    }
    broken = json.loads(store.get(digests["broken"]))["model.txt"]
    (namespace.folder / "artefacts" / "objects" / broken).write_bytes(b"not what was written")
    for path in [namespace.folder, *namespace.folder.rglob("*")]:
        path.chmod(0o755)
    made = Cluster(namespace, serve_image, bundles, digests)
    made.deploy(1)
    return made


@pytest.fixture
def cluster(made: Cluster, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Give the cluster as Airflow's worker sees it."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    return made


def test_a_champion_answers_in_a_pod_as_in_training(cluster: Cluster) -> None:
    assert cluster.ask("version") == {"model": MODEL, "version": "1", "fence": 1, "bundle": cluster.digests["a"]}
    answer = cluster.ask("invocations", {"dataframe_records": records(ROWS)})["predictions"]
    expected = load_bundle(cluster.bundles["a"]).answer({name: ROWS[name] for name in FEATURES.columns})
    assert answer == pytest.approx(expected, rel=1e-9)
    metrics = client.CoreV1Api(cluster.api).connect_get_namespaced_service_proxy_with_path(
        f"{MODEL}:metrics", cluster.namespace.name, "metrics"
    )
    assert f'ct_server_requests_total{{model="{MODEL}",route="invocations",status="2xx",version="1"}}' in metrics


def test_a_new_champion_takes_over_and_a_rollback_is_one_step(cluster: Cluster) -> None:
    assert cluster.deploy(2, "b") == f"http://{MODEL}.{cluster.namespace.name}.svc"
    cluster.answers("2", 2, "b")
    cluster.deploy(3, "a")
    cluster.answers("3", 3, "a")


def test_an_older_decision_never_replaces_a_newer_one(cluster: Cluster) -> None:
    cluster.deploy(3)
    before = cluster.live().metadata.generation
    with pytest.raises(Conflict, match="has fence 2, but version 3 with fence 3 has been deployed"):
        cluster.deploy(2, "b")
    assert cluster.live().metadata.generation == before


def test_a_model_that_does_not_verify_leaves_the_old_one_and_nothing_of_itself(cluster: Cluster) -> None:
    cluster.deploy(3)
    before = cluster.live()
    with pytest.raises(DeploymentFailed) as failed:
        cluster.deploy(4, "broken")
    assert "holds other bytes than were written" in str(failed.value)  # the pod's own last words
    assert "What served before keeps serving" in str(failed.value)
    after = cluster.live()
    assert after.spec.template == before.spec.template
    assert after.metadata.annotations["continuous-training/fence"] == "3"
    assert cluster.ask("version")["fence"] == 3


def test_a_first_model_that_fails_leaves_nothing(cluster: Cluster) -> None:
    before = cluster.all()
    with pytest.raises(
        DeploymentFailed, match=r"ErrImageNeverPull|ImagePull|Back-off(?s:.)*everything was deleted again"
    ):
        cluster.deploy(1, model="other_model", image="127.0.0.1:9/serve:1")
    assert cluster.all() == before


def test_what_people_change_or_delete_is_put_back_though_the_release_is_the_same(cluster: Cluster) -> None:
    cluster.deploy(3)
    pods = cluster.live().spec.template
    edit = {
        "spec": {
            "template": {"spec": {"containers": [{"name": "server", "resources": {"limits": {"memory": "300Mi"}}}]}}
        }
    }
    cluster.apps.patch_namespaced_deployment(MODEL, cluster.namespace.name, edit)
    cluster.drop_service()
    assert cluster.live().spec.template != pods
    cluster.deploy(3)
    assert cluster.live().spec.template == pods
    assert cluster.ask("version")["fence"] == 3


def test_a_retraining_deploys_its_champion_and_reconcile_repairs_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Deployment(cluster.namespace.folder / "whole")
    block = cluster.deployer().model_dump(mode="json", exclude_defaults=True) | {"kind": "kubernetes"}
    whole.land(45)
    _, done = whole.train(small_deployment.spec(deployment=block))
    url = f"http://m.{cluster.namespace.name}.svc"
    assert done["deploy"].facts["url"] == url
    (whole.home / "models").mkdir()
    document = small_model.document("m", trainer=small_deployment.TRAINER, deployment=block)
    (whole.home / "models" / "m.yaml").write_text(yaml.safe_dump(document))
    for name, value in whole.settings.to_environment().items():
        monkeypatch.setenv(name, value)
    core = client.CoreV1Api(cluster.api)
    cluster.drop_service("m")
    capsys.readouterr()
    assert main(["reconcile", "m"]) == 0
    assert capsys.readouterr().out == f"m: version 1 (fence 1) {url}\n"
    assert core.read_namespaced_service("m", cluster.namespace.name)
    assert cluster.ask("version", model="m")["fence"] == 1


def test_a_challenger_meets_real_requests_beside_the_champion_and_leaves_no_trace(cluster: Cluster) -> None:
    cluster.deploy(3)
    before, deployer = cluster.all(), cluster.deployer()
    release = Release(model=MODEL, version="4.x", fence=4, bundle=cluster.digests["b"])
    url = deployer.introduce(release, cluster.bundles["b"], settings=cluster.settings)
    assert deployer.introduce(release, cluster.bundles["b"], settings=cluster.settings) == url
    shadow = RolloutPlan(
        fence=3, begun=datetime.now(UTC), mode="shadow", share=1, champion="3", challenger="4.x", url=url, salt="a salt of its own",
        timeout=20, lease=600,
    )  # fmt: skip
    canary = shadow.model_copy(update={"mode": "canary", "share": 0.5, "step": 1})
    rows = records(make_rows(seed=3).head(20))
    expected = {
        version: load_bundle(cluster.bundles[bundle]).answer(
            {name: [row[name] for row in rows] for name in FEATURES.columns}
        )
        for version, bundle in (("3", "a"), ("4.x", "b"))
    }

    def follow(plan: RolloutPlan | None) -> None:
        if plan is None:
            deployer.dismiss(MODEL, settings=cluster.settings)
        else:
            deployer.route(MODEL, plan, settings=cluster.settings)
        share = None if plan is None else f"{'champion 1' if plan.mode == 'shadow' else 'canary 0.5'}"
        entity = next(each for each in map(str, range(99)) if plan is None or plan.takes(each))

        def followed() -> bool:
            cluster.hurry()
            return (
                cluster.exchange("invocations", {"instances": rows[:1]}, **{"ct-entity": entity})[1].get("ct-share")
                == share
            )

        wait_until(followed, "the plan in the champion's pods", 120)

    def counted(plan: RolloutPlan, least: int) -> RolloutCounts:
        def enough() -> RolloutCounts | None:
            counts = deployer.counts(MODEL, plan, settings=cluster.settings)
            return counts if counts.challenger.requests >= least else None

        return wait_until(enough, "the counts of the champion's pods", 60)

    def ask() -> dict[str, str]:
        """Ask for each row in the name of an entity, and return who answered; the predictions are that version's."""
        said = {}
        for number, row in enumerate(rows):
            answer, headers = cluster.exchange("invocations", {"instances": [row]}, **{"ct-entity": str(number)})
            said[str(number)] = version = headers["ct-version"]
            assert answer["predictions"] == pytest.approx([expected[version][number]], rel=1e-9)
        return said

    follow(shadow)
    assert {*ask().values()} == {"3"}
    seen = counted(shadow, len(rows))
    assert (seen.challenger.errors, seen.compared) == (0, seen.challenger.requests)
    assert seen.differing > 0
    follow(canary)
    assert ask() == {str(number): "4.x" if canary.takes(str(number)) else "3" for number in range(len(rows))}
    seen = counted(canary, 1)
    assert (seen.champion.errors, seen.challenger.errors) == (0, 0)
    follow(None)
    assert {*ask().values()} == {"3"}
    assert cluster.all() == before
    assert deployer.counts(MODEL, canary, settings=cluster.settings).challenger.requests == 0


def test_the_number_of_pods_is_left_to_the_autoscaler(cluster: Cluster) -> None:
    cluster.deploy(3)
    owners = [each for each in cluster.live().metadata.managed_fields if each.manager == "continuous-training"]
    applied = [each for each in owners if each.operation == "Apply"]
    assert len(applied) == 1
    assert "f:replicas" not in applied[0].fields_v1["f:spec"]


def test_the_autoscaler_is_told_of_requests_too_without_touching_the_pods(cluster: Cluster) -> None:
    cluster.deploy(3)
    before = cluster.live().metadata.generation
    cluster.deploy(3, requests_target=40)
    at = ("autoscaling", "v2beta2", cluster.namespace.name, "horizontalpodautoscalers", MODEL)
    metrics = client.CustomObjectsApi(cluster.api).get_namespaced_custom_object(*at)["spec"]["metrics"]
    targets = [each["pods"]["target"]["averageValue"] for each in metrics if each["type"] == "Pods"]
    assert (len(metrics), targets) == (2, ["40"])
    assert cluster.live().metadata.generation == before


@pytest.mark.parametrize("verb", ["create", "get", "patch"])
def test_without_one_right_the_error_names_it(cluster: Cluster, kubeconfig: Path, verb: str) -> None:
    less = [
        (group, kinds, tuple(each for each in verbs if (each, kinds) != (verb, ("deployments",))))
        for group, kinds, verbs in RIGHTS["deploy"]
    ]
    try:
        limit_to(kubeconfig, cluster, less)
        with pytest.raises(DeploymentFailed) as refused:
            cluster.deploy(1, model="other_model")
    finally:
        limit_to(kubeconfig, cluster, RIGHTS["deploy"])
    rights = "get" if verb == "get" else "create and patch"
    assert f"Give the account the right to {rights} deployments in {cluster.namespace.name}" in str(refused.value)
    assert "`ct manifests` prints the Role" in str(refused.value)


def test_a_quota_that_is_used_up_is_named(cluster: Cluster) -> None:
    core = client.CoreV1Api(cluster.api)
    core.create_namespaced_resource_quota(
        cluster.namespace.name, {"metadata": {"name": "small"}, "spec": {"hard": {"count/services": "1"}}}
    )
    try:
        before = cluster.all()
        with pytest.raises(DeploymentFailed, match="quota"):
            cluster.deploy(1, model="other_model", startup="3 seconds", resources={"cpu": "900", "memory": "1Ti"})
        assert cluster.all() == before
    finally:
        core.delete_namespaced_resource_quota("small", cluster.namespace.name)


def test_an_object_of_somebody_else_is_left_alone(cluster: Cluster) -> None:
    core = client.CoreV1Api(cluster.api)
    theirs = {"metadata": {"name": "other-model"}, "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}}}
    core.create_namespaced_service(cluster.namespace.name, theirs)
    try:
        with pytest.raises(DeploymentFailed, match=r"Service other-model .* was not made for the model other_model"):
            cluster.deploy(1, model="other_model")
        kept = core.read_namespaced_service("other-model", cluster.namespace.name)
        assert kept.spec.selector == {"app": "theirs"}
    finally:
        core.delete_namespaced_service("other-model", cluster.namespace.name)


def test_a_service_is_waited_for_until_it_leads_to_a_pod(cluster: Cluster) -> None:
    at = cluster.namespace.name
    core, metadata = client.CoreV1Api(cluster.api), {"name": "by-hand", "namespace": at}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}
    core.create_namespaced_service(at, service)  # without a selector: nobody but this test says where it leads to
    try:
        with pytest.raises(ClusterUnavailable, match=r"Service by-hand in .* leads to none of its pods after 0\.1 s"):
            await_address(Connection.connect(), service, 0.1)
        pod = {"addresses": [{"ip": "172.17.0.9"}], "ports": [{"port": 80}]}
        core.create_namespaced_endpoints(at, {"metadata": metadata, "subsets": [pod]})
        await_address(Connection.connect(), service, 0.1)
    finally:
        core.delete_namespaced_service("by-hand", at)


def test_a_missing_definition_a_missing_namespace_and_no_cluster_are_told_apart(
    cluster: Cluster, kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        DeploymentFailed, match=r"cannot apply ServiceMonitor .* install the custom resource definition"
    ):
        cluster.deploy(3, service_monitor=True)
    with pytest.raises(DeploymentFailed, match=r"cannot get resource .* `ct manifests` prints the Role"):
        cluster.deploy(3, namespace="no-such-namespace")
    monkeypatch.undo()
    with pytest.raises(DeploymentFailed, match="Create the namespace no-such-namespace first"):
        cluster.deploy(3, namespace="no-such-namespace")
    document = yaml.safe_load(kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "config").write_text(yaml.safe_dump(document))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(ClusterUnavailable, match="the cluster does not answer"):
        cluster.deploy(3)


def test_a_deploy_that_is_killed_and_fails_when_tried_again_puts_back_what_served_before(cluster: Cluster) -> None:
    cluster.deploy(3)
    before = cluster.live()
    child = os.fork()
    if child == 0:
        try:
            cluster.deploy(4, "broken")
        finally:
            os._exit(0)
    wait_until(lambda: cluster.live().spec.template != before.spec.template, "the begun rollout", 60)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert cluster.live().metadata.annotations["continuous-training/fence"] == "4"
    with pytest.raises(DeploymentFailed, match="What served before keeps serving"):
        cluster.deploy(4, "broken")
    after = cluster.live()
    assert after.spec.template == before.spec.template
    assert after.metadata.annotations["continuous-training/fence"] == "3"
    assert cluster.ask("version")["fence"] == 3


@pytest.fixture
def kserve_installed(cluster: Cluster) -> Iterator[client.CustomObjectsApi]:
    """Install the definition of KServe's InferenceService, without KServe."""
    definition = yaml.safe_load((Path(__file__).parent / "inferenceservices.yaml").read_text())
    name, version = definition["metadata"]["name"], definition["spec"]["versions"][0]["name"]
    extensions, objects = client.ApiextensionsV1Api(cluster.api), client.CustomObjectsApi(cluster.api)
    extensions.create_custom_resource_definition(definition)
    try:
        wait_until(lambda: is_served(objects, definition["spec"]["group"], version), "the API of KServe", 60)
        yield objects
    finally:
        extensions.delete_custom_resource_definition(name)


def is_served(objects: client.CustomObjectsApi, group: str, version: str) -> bool:
    try:
        objects.list_cluster_custom_object(group, version, "inferenceservices")
    except ApiException:
        return False
    return True


def test_kserve_gets_its_champion_and_one_that_does_not_get_ready_is_put_back(
    cluster: Cluster, kserve_installed: client.CustomObjectsApi
) -> None:
    at = ("serving.kserve.io", "v1beta1", cluster.namespace.name, "inferenceservices", MODEL)
    deployer = KServe.model_validate(cluster.deployer().model_dump(include={*KServe.model_fields} - {"kind"}))

    def deploy(fence: int, seconds: str) -> str:
        release = Release(model=MODEL, version=str(fence), fence=fence, bundle=cluster.digests["a"])
        patient = KServe.model_validate(deployer.model_dump() | {"startup": seconds})
        return patient.deploy(release, cluster.bundles["a"], settings=cluster.settings)

    def become_ready() -> None:  # what KServe's own controller does when the pods answer
        live = wait_until(lambda: found(kserve_installed, at), "the InferenceService", 60)
        ready = {"type": "Ready", "status": "True"}
        status = {
            "url": "http://flights.example.com",
            "observedGeneration": live["metadata"]["generation"],
            "conditions": [ready],
        }
        kserve_installed.patch_namespaced_custom_object_status(*at, {"status": status})

    with pytest.raises(DeploymentFailed, match=r"KServe has said nothing of it(?s:.)*everything was deleted again"):
        deploy(1, "1 second")
    assert found(kserve_installed, at) is None
    with ThreadPoolExecutor(1) as beside:
        controller = beside.submit(become_ready)
        assert deploy(1, "60 seconds") == "http://flights.example.com"
        controller.result()
    first = found(kserve_installed, at)
    with pytest.raises(DeploymentFailed, match="What served before keeps serving"):
        deploy(2, "1 second")
    kept = found(kserve_installed, at)
    assert (kept["spec"], kept["metadata"]["annotations"]) == (first["spec"], first["metadata"]["annotations"])


def found(objects: client.CustomObjectsApi, at: tuple[str, ...]) -> Any:
    try:
        return objects.get_namespaced_custom_object(*at)
    except ApiException as error:
        assert error.status == 404, error
        return None
