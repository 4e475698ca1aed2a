"""A namespace of a real cluster, and the work image in the engine that its node uses."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import models as k8s

import airflow_home  # noqa: F401 - before anything that imports Airflow
import images
from kubernetes import client, config


@dataclass(frozen=True)
class Namespace:
    """A namespace of its own, with a claim of a folder of this machine, which is the cluster's one node."""

    name: str
    folder: Path
    claim: str = "shared"

    @property
    def api(self) -> client.CoreV1Api:
        return client.CoreV1Api(config.new_client_from_config(os.environ["KUBECONFIG"]))

    def pods(self, **labels: str) -> list[k8s.V1Pod]:
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        return self.api.list_namespaced_pod(self.name, label_selector=selector).items

    def account(self, name: str, plane: list[dict[str, Any]], path: Path) -> Path:
        """Make a service account with the rights of a plane, and write the file with which it reaches the cluster."""
        rbac, core = client.RbacAuthorizationV1Api(self.api.api_client), self.api
        core.create_namespaced_service_account(self.name, {"metadata": {"name": name}})
        for each in plane:
            if each["kind"] == "Role":
                rbac.create_namespaced_role(self.name, each)
            if each["kind"] == "RoleBinding":
                rbac.create_namespaced_role_binding(self.name, each)
        request = {"spec": {"audiences": None, "expirationSeconds": 3600}}
        token = core.create_namespaced_service_account_token(name, self.name, request).status.token
        reached = core.api_client.configuration
        server = {"server": reached.host, "certificate-authority": reached.ssl_ca_cert}
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": server}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": name}}],
        }  # fmt: skip
        path.write_text(yaml.safe_dump(document))
        return path

    def end(self, pod: str) -> None:
        """Take a pod away as the loss of its node does."""
        self.api.delete_namespaced_pod(pod, self.name, grace_period_seconds=0)


@pytest.fixture(scope="session")
def engine() -> None:
    """Need a Docker engine, the one of the cluster's node."""
    images.need_engine()


@pytest.fixture(scope="session")
def work_image() -> str:
    """Build the image of the work steps for real."""
    return images.work()


@pytest.fixture(scope="session")
def serve_image() -> str:
    """Build the image of the model server for real."""
    return images.serve()


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    """Give a namespace that is deleted with all that is in it."""
    if not Path(os.environ.get("KUBECONFIG", "none")).is_file():
        pytest.skip("no Kubernetes: KUBECONFIG names no file")
    name = f"ct-test-{uuid.uuid4().hex[:8]}"
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/var/tmp"))
    folder.chmod(0o777)
    made = Namespace(name, folder)
    api = made.api
    api.create_namespace(k8s.V1Namespace(metadata=k8s.V1ObjectMeta(name=name)))
    quota = k8s.V1ResourceQuotaSpec(hard={"requests.memory": "100Gi"})
    api.create_namespaced_resource_quota(
        name, k8s.V1ResourceQuota(metadata=k8s.V1ObjectMeta(name="memory"), spec=quota)
    )
    size = {"storage": "5Gi"}
    api.create_persistent_volume(
        k8s.V1PersistentVolume(
            metadata=k8s.V1ObjectMeta(name=name),
            spec=k8s.V1PersistentVolumeSpec(
                capacity=size,
                access_modes=["ReadWriteMany"],
                storage_class_name="",
                persistent_volume_reclaim_policy="Retain",
                host_path=k8s.V1HostPathVolumeSource(path=str(folder)),
                claim_ref=k8s.V1ObjectReference(namespace=name, name=made.claim),
            ),
        )
    )
    api.create_namespaced_persistent_volume_claim(
        name,
        k8s.V1PersistentVolumeClaim(
            metadata=k8s.V1ObjectMeta(name=made.claim),
            spec=k8s.V1PersistentVolumeClaimSpec(
                access_modes=["ReadWriteMany"],
                storage_class_name="",
                volume_name=name,
                resources=k8s.V1VolumeResourceRequirements(requests=size),
            ),
        ),
    )
    yield made
    api.delete_namespace(name)
    api.delete_persistent_volume(name)
    shutil.rmtree(folder)
