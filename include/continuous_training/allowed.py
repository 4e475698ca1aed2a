"""What model files may ask of a cluster or an engine: the deployment's word, which no model file can change."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pydantic import Field

from continuous_training.core.errors import SpecError
from continuous_training.core.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ANY = ("*",)
DEFAULT_POOL = "default_pool"


class Allowed(Frozen):
    """The names that model files may use; `*` and `?` stand for any characters and for one.

    Examples
    --------
    >>> allowed = Allowed(images=("registry.example.com/*",), digests=True)
    >>> allowed.check("m: runner", {"images": ["registry.example.com/ct@sha256:0f1e"], "secrets": ["store"]})
    >>> allowed.check("m: runner", {"images": ["docker.io/miner"]})
    Traceback (most recent call last):
    continuous_training.core.errors.SpecError: m: runner: images: 'docker.io/miner' is not allowed; this deployment allows ...
    """

    images: tuple[str, ...] = Field(ANY, description="Images of pods and containers.")
    digests: bool = Field(default=False, description="Whether images must be named by digest, `...@sha256:...`.")
    namespaces: tuple[str, ...] = Field(ANY, description="Namespaces that pods and services run in.")
    service_accounts: tuple[str, ...] = Field(ANY, description="Service accounts of pods.")
    secrets: tuple[str, ...] = Field(ANY, description="Secrets whose keys become variables of pods.")
    claims: tuple[str, ...] = Field(ANY, description="Claims that pods mount.")
    priority_classes: tuple[str, ...] = Field(ANY, description="Priority classes of pods.")
    queues: tuple[str, ...] = Field(ANY, description="Kueue's queues that pods wait in.")
    pools: tuple[str, ...] = Field(
        (DEFAULT_POOL,), description="Airflow's pools of work tasks; the first one is that of models which name none."
    )

    @property
    def pool(self) -> str:
        """Return the pool of models that name none."""
        return next((name for name in self.pools if not {"*", "?", "["} & {*name}), DEFAULT_POOL)

    def check(self, where: str, asked: Mapping[str, Iterable[str]]) -> None:
        """Refuse the first name that is not allowed.

        Parameters
        ----------
        where
            The model and the block of its file, for the message.
        asked
            Names by the kind of thing, as the fields of this class are called.

        Raises
        ------
        SpecError
            A name is not allowed.
        """
        for kind, names in asked.items():
            patterns: tuple[str, ...] = getattr(self, kind)
            for name in names:
                if not any(fnmatchcase(name, pattern) for pattern in patterns):
                    raise SpecError(
                        f"{where}: {kind}: {name!r} is not allowed; this deployment allows {', '.join(patterns) or 'none'} "
                        "(CT_ALLOWED). Nothing was run; a retry gives the same."
                    )
                if kind == "images" and self.digests and "@sha256:" not in name:
                    raise SpecError(
                        f"{where}: {kind}: {name!r} is a name that can come to mean another image; this deployment asks for "
                        "digests: write ...@sha256:... (CT_ALLOWED). Nothing was run; a retry gives the same."
                    )
