"""Find a model file by the name of its model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from continuous_training.core.errors import UsageError
from continuous_training.spec import ModelSpec, load_spec

if TYPE_CHECKING:
    from continuous_training.settings import Settings


def load_model(name: str, settings: Settings) -> ModelSpec:
    """Return the model called `name`."""
    known = sorted(path.stem for path in Path(settings.models).glob("*.yaml"))
    if name not in known:
        raise UsageError(
            f"no model is called {name!r} in {settings.models}; there are: {', '.join(known) or 'none'}; fix the name or set CT_MODELS"
        )
    return load_spec(Path(settings.models) / f"{name}.yaml")
