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


class Airflow(Frozen):
    """How Airflow queues a model's tasks beside those of other models.

    A model never has more than one work task of its training DAG and one of its watch DAG at a time, so its pool is what
    limits how many models work at once.
    """

    pool: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]{1,250}$",
        description="Pool of the work tasks, one of those that the deployment gives to model files; without it the first of "
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


AnyRunner = Annotated[Subprocess | Kubernetes, Field(discriminator="kind")]
