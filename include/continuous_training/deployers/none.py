"""Serve nothing: the registry's alias is the hand-over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from continuous_training.deployers.base import Deployer, Release

if TYPE_CHECKING:
    from pathlib import Path


class Nowhere(Deployer):
    """Leave serving to others, for example to a batch job that reads the alias `champion` from MLflow."""

    kind: Literal["none"] = "none"

    def deploy(self, release: Release, bundle: Path, *, home: Path) -> str:  # noqa: ARG002
        """Do nothing and return an empty URL.

        Examples
        --------
        >>> from pathlib import Path
        >>> Nowhere().deploy(Release(model="m", version="1", fence=1, bundle="b"), Path(), home=Path())
        ''
        """
        return ""
