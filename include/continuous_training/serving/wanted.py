"""What `ct serve` is asked to do."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from continuous_training.core.duration import Duration
from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Moment
from continuous_training.deployers.base import PastAge
from continuous_training.deployers.golden import LOOPBACK


class Wanted(Frozen):
    """What to serve, and to whom."""

    bundle: str = Field(min_length=1, description="Folder of a bundle or package, or digest in the store.")
    model: str | None = Field(None, description="Name the bundle must have; any when it is not given.")
    version: str | None = Field(
        None,
        pattern=r"^[\x21-\x7e]{1,100}$",
        description="Sent with every answer; by default the first digits of the digest.",
    )
    fence: int | None = Field(None, ge=1, description="Sent with every answer; by default the package's, or 1.")
    data_cutoff: Moment | None = Field(None, description="End of the model's data; by default the package's.")
    host: str = Field(LOOPBACK, description="IPv4 address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="0 takes a free one.")
    hosts: tuple[str, ...] = Field((), description="Names to be called by beside loopback's; `*` allows every one.")
    public_key: Path | None = Field(None, description="Serve only what its other half has signed.")
    plan: Path | None = Field(None, description="File of a rollout's plan, which is followed when it is there.")
    drain: float = Field(5.0, ge=0, description="Seconds to go on answering after SIGTERM.")
    workers: int = Field(1, ge=1, le=64, description="Processes that answer on the one port.")
    connections: int = Field(1000, ge=1, le=100_000, description="Connections of one worker at once.")
    patience: float = Field(10.0, gt=0, le=3600, description="Seconds a request may take to arrive.")
    arrow: bool = Field(default=False, description="Import pyarrow at the start, not with the first batch of Arrow's.")
    admin_host: str = Field(LOOPBACK, description="IPv4 address of the admin port.")
    admin_port: int | None = Field(None, ge=0, le=65535, description="Port of `/metrics`; without it there is none.")
    private_metrics: bool = Field(default=False, description="Tell metrics to whoever has the token only.")
    strict: bool = Field(
        default=False, description="Refuse columns that are no features, and categories that the model does not know."
    )
    max_age: Duration | None = Field(None, description="Age of the newest row it has seen from which a model is stale.")
    past_max_age: PastAge = Field("flag", description="Mark the answers of a stale model, or give none.")
