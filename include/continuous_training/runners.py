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


class Volume(Frozen):
    """A PersistentVolumeClaim of the runner's namespace that every pod sees as a folder."""

    claim: str = Field(pattern=r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$", description="Name of the claim.")
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


TAKEN = ("/work", "/tmp", "/airflow", "/opt/ct")  # noqa: S108 - folders of the pod


class Kubernetes(Frozen):
    """A pod for each work step."""

    kind: Literal["kubernetes"] = "kubernetes"
    image: str = Field(min_length=1, max_length=500, description="Image with this package installed; pin it by digest.")
    namespace: str = Field("default", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    resources: Resources = Field(default_factory=Resources)
    secret: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$",
        description="Kubernetes Secret whose keys become environment variables: store, registry and source credentials.",
    )
    volumes: tuple[Volume, ...] = Field(
        (), max_length=20, description="Claims that hold what is not in an object store: artefacts, Parquet sources."
    )
    service_account: str | None = Field(None, pattern=r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$")
    startup: Duration = Field(
        "10 minutes", validate_default=True, description="How long a pod may wait for its node and image."
    )


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


AnyRunner = Annotated[Subprocess | Docker | Kubernetes, Field(discriminator="kind")]
