"""`release.json`: which release a packaged bundle is."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from continuous_training.core.errors import ArtefactCorrupt
from continuous_training.deployers.base import Release

RELEASE = "release.json"


def read_release(folder: Path) -> Release | None:
    """Return what `release.json` in `folder` says, or `None` where there is none: a bundle that was not packaged."""
    try:
        return Release.model_validate_json((folder / RELEASE).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        problem = f"{error.error_count()} problems" if isinstance(error, ValidationError) else error
        msg = f"{RELEASE} in {folder} cannot be read ({problem}); package the model again; a retry reads the same"
        raise ArtefactCorrupt(msg) from error
