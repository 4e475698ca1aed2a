"""Where the work steps of a model run. The provider turns these values into tasks."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from continuous_training.core.duration import Duration
from continuous_training.core.frozen import Frozen


class Subprocess(Frozen):
    """A process of its own beside the Airflow worker."""

    kind: Literal["subprocess"] = "subprocess"


class Resources(Frozen):
    """What one pod asks for and may not exceed, in Kubernetes quantities."""

    cpu: str = Field("1", pattern=r"^\d+(\.\d+)?m?$")
    memory: str = Field("2Gi", pattern=r"^\d+(\.\d+)?(Ki|Mi|Gi|Ti)?$")


_NAME = r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$"
_LABEL_KEY = r"^([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$"
_LABEL_VALUE = r"^([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?$"


class Volume(Frozen):
    """A PersistentVolumeClaim of the runner's namespace that every pod sees as a folder."""

    claim: str = Field(pattern=_NAME, description="Name of the claim.")
    path: str = Field(
        pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$", max_length=500, description="Folder of the pod it appears at."
    )
    read_only: bool = Field(default=False, description="Whether pods may only read it.")

    @field_validator("path")
    @classmethod
    def _not_taken(cls, path: str) -> str:
        if path in TAKEN or path.startswith("/airflow/"):
            msg = f"{path} is a folder of the pod itself; mount the claim anywhere but at {', '.join(TAKEN)}"
            raise ValueError(msg)
        return path


class Toleration(Frozen):
    """A taint of nodes that pods put up with, such as that of spot nodes."""

    key: str = Field(pattern=_LABEL_KEY, description="Key of the taint.")
    value: str | None = Field(None, pattern=_LABEL_VALUE, description="Value of the taint; any when it is not given.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Effect of the taint; any when it is not given."
    )


class Nodes(Frozen):
    """Nodes with one of some values of a label: `{key: topology.kubernetes.io/zone, values: [a, b]}`."""

    key: str = Field(pattern=_LABEL_KEY, description="Key of the label.")
    values: tuple[Annotated[str, Field(pattern=_LABEL_VALUE)], ...] = Field(
        min_length=1, max_length=50, description="Values of the label, one of which such a node has."
    )
    weight: int | None = Field(
        None, ge=1, le=100, description="How much such a node is preferred; without it pods run on no other."
    )


TAKEN = ("/work", "/tmp", "/airflow", "/opt/ct")  # noqa: S108 - folders of the pod


class Kubernetes(Frozen):
    """A pod for each work step."""

    kind: Literal["kubernetes"] = "kubernetes"
    image: str = Field(min_length=1, max_length=500, description="Image with this package installed; pin it by digest.")
    namespace: str = Field("default", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    resources: Resources = Field(default_factory=Resources)
    secret: str | None = Field(
        None,
        pattern=_NAME,
        description="Kubernetes Secret whose keys become environment variables: store, registry and source credentials.",
    )
    volumes: tuple[Volume, ...] = Field(
        (), max_length=20, description="Claims that hold what is not in an object store: artefacts, Parquet sources."
    )
    service_account: str | None = Field(None, pattern=_NAME)
    nodes: tuple[Nodes, ...] = Field(
        (), max_length=20, description="Nodes that pods may run on, and those that they rather run on."
    )
    tolerations: tuple[Toleration, ...] = Field(
        (), max_length=20, description="Taints of nodes that pods put up with: spot nodes, for example."
    )
    priority_class: str | None = Field(None, pattern=_NAME, description="PriorityClass of the pods.")
    queue: str | None = Field(
        None,
        pattern=_NAME,
        description="LocalQueue of Kueue that pods wait in for their quota; raise `startup` to the longest wait.",
    )
    startup: Duration = Field(
        "10 minutes", validate_default=True, description="How long a pod may wait for its node and image."
    )

    def asked(self) -> dict[str, list[str]]:
        """Return the names that the deployment must allow, by kind."""
        one = {
            "images": self.image,
            "namespaces": self.namespace,
            "service_accounts": self.service_account,
            "secrets": self.secret,
            "priority_classes": self.priority_class,
            "queues": self.queue,
        }
        claims = [volume.claim for volume in self.volumes]
        return {kind: [name] for kind, name in one.items() if name is not None} | {"claims": claims}


class Mount(Frozen):
    """A volume of the Docker engine, or a folder of its host, that every container sees as a folder."""

    source: str = Field(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,200}|(/[A-Za-z0-9_][A-Za-z0-9._-]*)+)$",
        max_length=500,
        description="Name of the volume, or absolute path of the folder; the deployment must allow it.",
    )
    path: str = Field(
        pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$", max_length=500, description="Folder of the container."
    )
    read_only: bool = Field(default=False, description="Whether containers may only read it.")


class Docker(Frozen):
    """A container of a Docker engine for each work step."""

    kind: Literal["docker"] = "docker"
    image: str = Field(min_length=1, max_length=500, description="Image with this package installed; pin it by digest.")
    cpus: float = Field(1.0, gt=0, le=1024, description="Processors that a container may use.")
    memory: str = Field(
        "2g", pattern=r"^[1-9]\d*[mg]$", description="Memory that a container may use, its temporary files included."
    )
    network: str = Field(
        "bridge",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}$",
        description="Network of the containers: bridge, none, or one that the deployment allows.",
    )
    mounts: tuple[Mount, ...] = Field(
        (), max_length=20, description="Where what is not in an object store lies: artefacts, Parquet sources."
    )
    variables: tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,99}$")], ...] = Field(
        (),
        max_length=50,
        description="Names of the worker's variables that containers get, such as a store's credentials; the deployment must allow them.",
    )

    def asked(self) -> dict[str, list[str]]:
        """Return the names that the deployment must allow, by kind."""
        return {
            "images": [self.image],
            "mounts": [mount.source for mount in self.mounts],
            "networks": [self.network],
            "variables": list(self.variables),
        }


class Airflow(Frozen):
    """How Airflow queues a model's tasks beside those of other models.

    A model never has more than one work task of its training DAG and one of its watch DAG at a time, so its pool is what
    limits how many models work at once.
    """

    pool: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]{1,250}$",
        description="Pool of the work tasks, one of those that the deployment allows; without it the first of "
        "them. Planning, promotion and deployment stay in Airflow's default_pool, so full pools do not hold them up.",
    )
    priority: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Of the tasks that wait, those with the higher number start first; then the older.",
    )
    queue: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]{1,250}$",
        description="Queue of the work tasks, for Celery workers of their own; without it Airflow's default queue.",
    )

    def asked(self) -> dict[str, list[str]]:
        """Return the names that the deployment must allow, by kind."""
        return {"pools": [self.pool] if self.pool else []}


AnyRunner = Annotated[Subprocess | Docker | Kubernetes, Field(discriminator="kind")]
