"""Serve nothing: the registry's alias is the hand-over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from continuous_training.deployers.base import Deployer, Release

if TYPE_CHECKING:
    from pathlib import Path

    from continuous_training.settings import Settings


class Nowhere(Deployer):
    """Leave serving to others, for example to a batch job that reads the alias `champion` from MLflow."""

    kind: Literal["none"] = "none"

    def deploy(self, release: Release, bundle: Path, *, settings: Settings) -> str:  # noqa: ARG002
        """Do nothing and return an empty URL.

        Examples
        --------
        >>> from pathlib import Path
        >>> from continuous_training.settings import Settings
        >>> release = Release(model="m", version="1", fence=1, bundle="b")
        >>> Nowhere().deploy(release, Path(), settings=Settings.from_environment({}))
        ''
        """
        return ""
