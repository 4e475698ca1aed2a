"""What every served pod is, whatever keeps it running: an unprivileged server of one bundle."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from continuous_training.core.digest import digest
from continuous_training.core.duration import Duration, format_duration
from continuous_training.core.errors import UsageError
from continuous_training.core.frozen import Frozen
from continuous_training.deployers.base import Deployer, Freshness, Release
from continuous_training.runners import Resources, Volume

if TYPE_CHECKING:
    from continuous_training.settings import Settings

Manifest = dict[str, Any]
USER = 10001
PORT = 8080
METRICS_PORT = 9090
OURS = "continuous-training"
LABEL = "app.kubernetes.io"
PLAN = "/plan/rollout.json"
"""Where the champion's pods find the plan of a rollout."""
_MOST_NAMED = 52
_NAME = r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$"


class Challenger(Release):
    """A release that answers beside the champion, to the champion's pods only, in objects of its own."""


class Replicas(Frozen):
    """How many pods answer."""

    min: int = Field(2, ge=1, le=1000, description="Pods that are always there; two survive the loss of a node.")
    max: int = Field(10, ge=1, le=1000, description="Pods there are at most.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            msg = f"min is {self.min}, more than max, which is {self.max}; let min be at most max"
            raise ValueError(msg)
        return self


class ServedPods(Deployer):
    """Fields of every deployer whose servers are pods of a Kubernetes cluster."""

    image: str = Field(
        min_length=1, max_length=500, description="Image with the model server; name it by digest: `image@sha256:...`."
    )
    namespace: str = Field(
        "default", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", description="Namespace that everything is made in."
    )
    replicas: Replicas = Field(default_factory=Replicas, description="How many pods answer, at least and at most.")
    cpu_target: int = Field(
        60,
        ge=10,
        le=95,
        description="Percentage of the CPU they ask for that pods are kept near; with more, pods are added.",
    )
    resources: Resources = Field(default_factory=Resources, description="What one pod asks for and may not exceed.")
    secret: str | None = Field(
        None,
        pattern=_NAME,
        description="Kubernetes Secret whose keys become environment variables: credentials that may read the artefact store.",
    )
    service_account: str | None = Field(
        None, pattern=_NAME, description="Service account of the pods; they are given no token of it."
    )
    volumes: tuple[Volume, ...] = Field(
        (), max_length=20, description="Claims with the artefact store, where it is a folder; pods only read them."
    )
    hosts: tuple[str, ...] = Field(
        (),
        max_length=50,
        description="Names that clients call the servers by, besides the Service's own: an ingress's; `*` allows every name.",
    )
    callers: tuple[str, ...] = Field(
        (), max_length=50, description="Namespaces whose pods may send requests, besides the pods' own."
    )
    store_ports: tuple[int, ...] = Field(
        (443,), max_length=20, description="TCP ports that the pods may connect to: those of the artefact store."
    )
    age: Freshness = Field(default_factory=Freshness, description="When a model is too old, and what is done then.")
    strict: bool = Field(
        default=False,
        description="Whether requests with columns that are no features, or with categories that training has not seen, are refused.",
    )
    startup: Duration = Field(
        "5 minutes",
        validate_default=True,
        description="How long a new pod may take until it answers: node, image, bundle, golden rows.",
    )

    def asked(self) -> dict[str, list[str]]:
        """Return the names that the deployment must allow, by kind."""
        one = {"service_accounts": self.service_account, "secrets": self.secret}
        return {
            "images": [self.image],
            "namespaces": [self.namespace],
            "claims": [volume.claim for volume in self.volumes],
            **{kind: [name] for kind, name in one.items() if name is not None},
        }

    def manifests(self, release: Release, settings: Settings) -> list[Manifest]:
        """Return the objects that serve `release`, the same for the same release.

        Raises
        ------
        SpecError
            A name is not one that this deployment allows, such as an image without a digest.
        UsageError
            Pods could not reach the artefact store.
        """
        settings.allowed.check(f"{release.model}: deployment", self.asked())
        if "://" not in settings.artefacts:
            self._check_volumes(Path(settings.artefacts))
        return self._render(release, settings.artefacts)

    def _render(self, release: Release, artefacts: str) -> list[Manifest]:
        raise NotImplementedError

    def _check_volumes(self, store: Path) -> None:
        if not any(store.is_relative_to(volume.path) for volume in self.volumes):
            msg = (
                f"the artefact store {store} is a folder that no pod sees; name a store such as s3://bucket/prefix "
                "(CT_ARTEFACTS), or give deployment.volumes a claim that holds it at that path; nothing was changed, a retry "
                "gives the same"
            )
            raise UsageError(msg)


def object_name(release: Release) -> str:
    """Return the name of the objects that serve a release.

    >>> release = {"model": "flight_delays", "version": "2", "fence": 2, "bundle": "b"}
    >>> object_name(Release(**release)), object_name(Challenger(**release))
    ('flight-delays', 'flight-delays-challenger')
    """
    name = release.model.replace("_", "-").rstrip("-")
    # A Service's name has at most 63 characters.
    return f"{name[:_MOST_NAMED].rstrip('-')}-challenger" if isinstance(release, Challenger) else name


def plan_name(release: Release) -> str:
    """Return the name of the ConfigMap with the plan of a model's rollout."""
    return f"{object_name(release)}-rollout"


def labels(release: Release) -> dict[str, str]:
    """Return the labels that say whose an object is; selectors use them, so they never change."""
    return {
        f"{LABEL}/name": OURS,
        f"{LABEL}/instance": object_name(release),
        f"{LABEL}/component": "serving",
        f"{LABEL}/managed-by": OURS,
    }


def marks(release: Release) -> dict[str, str]:
    """Return the annotations that say exactly which release an object serves."""
    return {f"{OURS}/{name}": str(value) for name, value in release.model_dump(mode="json", exclude_none=True).items()}


def pod_labels(release: Release, spec: Manifest) -> dict[str, str]:
    """Return the labels of a pod; `continuous-training/pod` tells pods apart that were asked for differently."""
    version = re.sub(r"[^A-Za-z0-9._-]", "-", release.version)[:63].strip("._-")
    return {
        **labels(release),
        f"{LABEL}/version": version,
        f"{OURS}/fence": str(release.fence),
        f"{OURS}/bundle": release.bundle[:63],  # a label holds no more; the annotation has all of it
        f"{OURS}/pod": digest([marks(release), spec])[:12],
    }


def pod_spec(pods: ServedPods, release: Release, artefacts: str) -> Manifest:
    """Return the pod that serves a release: it passes the "restricted" Pod Security standard and writes to empty folders."""
    volumes: list[Manifest] = [{"name": name, "emptyDir": {}} for name in ("work", "tmp")]
    mounts: list[Manifest] = [{"name": name, "mountPath": f"/{name}"} for name in ("work", "tmp")]
    if pods.rolls_out and not isinstance(release, Challenger):
        # Optional: there is a plan only while a rollout goes on. A folder, because a single file would not follow changes.
        volumes.append({"name": "plan", "configMap": {"name": plan_name(release), "optional": True}})
        mounts.append({"name": "plan", "mountPath": str(Path(PLAN).parent), "readOnly": True})
    for number, volume in enumerate(pods.volumes):
        name = f"claim-{number}"
        volumes.append({"name": name, "persistentVolumeClaim": {"claimName": volume.claim, "readOnly": True}})
        mounts.append({"name": name, "mountPath": volume.path, "readOnly": True})
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"serviceAccountName": pods.service_account} if pods.service_account else {}),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(pods, release, artefacts, mounts)],
        "volumes": volumes,
    }


def _called(pods: ServedPods, release: Release) -> list[str]:
    if isinstance(release, Challenger):
        return ["*"]  # the champion's pods ask it by its address, and the network policy lets in nobody else
    return [*_service_names(pods.namespace, release), *pods.hosts]


def _service_names(namespace: str, release: Release) -> list[str]:
    name = object_name(release)
    return [name, f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"]


def _freshness(age: Freshness) -> dict[str, str]:
    if age.maximum is None:
        return {}
    return {"CT_MAX_AGE": format_duration(age.maximum), "CT_PAST_MAX_AGE": age.past}


def _container(pods: ServedPods, release: Release, artefacts: str, mounts: list[Manifest]) -> Manifest:
    resources = {"cpu": pods.resources.cpu, "memory": pods.resources.memory}
    told = {name.partition("/")[2]: value for name, value in marks(release).items() if name != f"{OURS}/bundle"}
    variables = {
        "CT_ADMIN_HOST": "0.0.0.0",  # noqa: S104 - the network policy says who may read metrics there
        "CT_ADMIN_PORT": str(METRICS_PORT),
        "CT_ARTEFACTS": artefacts,
        "CT_HOME": "/work",
        **_freshness(pods.age),
        **({"CT_STRICT": "true"} if pods.strict else {}),
        "CT_HOSTS": ",".join(_called(pods, release)),
        **({"CT_PLAN": PLAN} if pods.rolls_out else {}),
        "HOME": "/work",
        **{f"CT_{name.upper()}": value for name, value in told.items()},
    }
    ready, live = ({"httpGet": {"path": f"/v2/health/{name}", "port": "http"}} for name in ("ready", "live"))
    seconds = int(pods.startup.total_seconds())
    return {
        "name": "server",
        "image": pods.image,
        "args": [release.bundle],  # the image's entry point is `ct serve --host 0.0.0.0 --port 8080`
        "env": [{"name": name, "value": value.replace("$(", "$$(")} for name, value in variables.items()],
        **({"envFrom": [{"secretRef": {"name": pods.secret}}]} if pods.secret else {}),
        "ports": [
            {"name": name, "containerPort": port, "protocol": "TCP"}
            for name, port in (("http", PORT), ("metrics", METRICS_PORT))
        ],
        "resources": {"requests": resources, "limits": resources},
        # Ready means: the bundle's digest is right, the golden rows came out as in training.
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": seconds, "timeoutSeconds": 5},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 2, "timeoutSeconds": 5},
        "livenessProbe": {**live, "periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 5},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
