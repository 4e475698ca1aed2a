"""What every deployer can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from continuous_training.core.duration import Duration
from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Moment

if TYPE_CHECKING:
    from pathlib import Path

    from continuous_training.core.rollout import RolloutCounts, RolloutPlan
    from continuous_training.settings import Settings


class Release(Frozen):
    """A champion to serve: which one, and how new the decision is."""

    model: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    version: str = Field(pattern=r"^[\x21-\x7e]{1,100}$", description="Sent with every answer, so without spaces.")
    fence: int = Field(ge=1, description="Grows with every promotion; a lower one never replaces a higher one.")
    bundle: str = Field(min_length=1, max_length=100)
    data_cutoff: Moment | None = Field(None, description="End of the data it was made from, where that is known.")


PastAge = Literal["flag", "refuse"]


class Freshness(Frozen):
    """How old the data of a served model may be."""

    maximum: Duration | None = Field(
        None,
        description="Age of the newest row it was made from at which a model is stale; never when it is not given.",
    )
    past: PastAge = Field(
        "flag", description="`flag` marks the answers of a stale model with `ct-stale: true`, `refuse` gives none."
    )


class Deployer(Frozen):
    """A way to answer requests with the champion."""

    def deploy(self, release: Release, bundle: Path, *, settings: Settings) -> str:
        """Serve `release` and return the URL it answers on; the same release again repairs what is not as it should be.

        The new model is smoke-tested with its golden rows first; when it fails the one before keeps serving.

        Parameters
        ----------
        bundle
            Checked local folder of the release's files.
        settings
            Where this deployment keeps things: `home` on this machine, `artefacts` for servers elsewhere.

        Raises
        ------
        DeploymentFailed
            The new model did not start or answered differently from training.
        Conflict
            A newer fence is already served.
        """
        raise NotImplementedError

    @property
    def rolls_out(self) -> bool:
        """Tell whether a challenger can answer beside the champion; what follows is asked only of deployers that say so."""
        return False

    def introduce(self, challenger: Release, bundle: Path, *, settings: Settings) -> str:
        """Let a challenger answer beside the champion, to those that the router sends, and return its URL.

        Raises
        ------
        DeploymentFailed
            It did not start or answered differently from training.
        """
        raise NotImplementedError

    def route(self, model: str, plan: RolloutPlan, *, settings: Settings) -> None:
        """Let the router follow a plan, and go on following it."""
        raise NotImplementedError

    def counts(self, model: str, plan: RolloutPlan, *, settings: Settings) -> RolloutCounts:
        """Return what both versions did since a plan is followed."""
        raise NotImplementedError

    def dismiss(self, model: str, *, settings: Settings) -> None:
        """Let the champion answer everything, and end the challenger's server; nothing happens where there is none."""
        raise NotImplementedError

    @property
    def in_pod(self) -> bool:
        """Tell whether Airflow calls `deploy` in a pod instead of beside its worker."""
        return False

    def asked(self) -> dict[str, list[str]]:
        """Return the names of a cluster's things that the deployment must allow, by kind."""
        return {}
