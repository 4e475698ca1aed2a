"""Where this deployment keeps things. Model files name locations; only the deployment says what they are."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, TypeAdapter, ValidationError

from continuous_training.allowed import Allowed
from continuous_training.core.errors import UsageError
from continuous_training.core.frozen import Frozen

_LOCATIONS = TypeAdapter(dict[str, str])


class Settings(Frozen):
    """The locations and services of one deployment.

    Examples
    --------
    >>> Settings.from_environment({"CT_HOME": "/srv/ct"}).ledger
    'sqlite:////srv/ct/ledger.db'
    """

    home: str = Field(description="Folder for everything local: logs, caches, the serving state.")
    models: str = Field(description="Folder of the model files.")
    artefacts: str = Field(description="URL of the artefact store; any fsspec URL.")
    ledger: str = Field(description="SQLAlchemy URL of the ledger.", repr=False)
    registry: str = Field(description="MLflow tracking URI.")
    locations: dict[str, str] = Field(
        default_factory=dict, description="Names that `{name}` in a source path stands for."
    )
    allowed: Allowed = Field(
        default_factory=Allowed,
        description="JSON object: the images, namespaces, secrets and other names that model files may use; any by default.",
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read `CT_HOME`, `CT_MODELS`, `CT_ARTEFACTS`, `CT_LEDGER`, `CT_LOCATIONS` and `CT_ALLOWED` (JSON) and `MLFLOW_TRACKING_URI`.

        Only `CT_HOME` matters at first (default: `.ct` in the working folder): the others default to places inside it,
        the model files to `include/models`.
        """
        locations = _locations(environment.get("CT_LOCATIONS", "{}"))
        home = Path(environment.get("CT_HOME", ".ct")).absolute()
        models = Path(environment.get("CT_MODELS", "include/models")).absolute()
        return cls(
            home=str(home),
            models=str(models),
            artefacts=environment.get("CT_ARTEFACTS", str(home / "artefacts")),
            ledger=environment.get("CT_LEDGER", f"sqlite:///{home / 'ledger.db'}"),
            registry=environment.get("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}"),
            locations={"data": str(home / "data"), "predictions": str(home / "predictions"), **locations},
            allowed=_allowed(environment.get("CT_ALLOWED", "{}")),
        )

    def to_environment(self) -> dict[str, str]:
        """Return the variables that `from_environment` reads back to the same settings."""
        return {
            "CT_HOME": self.home,
            "CT_MODELS": self.models,
            "CT_ARTEFACTS": self.artefacts,
            "CT_LEDGER": self.ledger,
            "CT_LOCATIONS": json.dumps(self.locations),
            "CT_ALLOWED": self.allowed.model_dump_json(exclude_defaults=True),
            "MLFLOW_TRACKING_URI": self.registry,
        }


def _locations(text: str) -> dict[str, str]:
    try:
        return _LOCATIONS.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "".join(f"{part}: " for part in first["loc"])
        msg = (
            f"CT_LOCATIONS is not a JSON object of names and URLs ({place}{first['msg']}); write for example "
            '{"data": "/srv/data"}; a retry gives the same'
        )
        raise UsageError(msg) from None  # pydantic's own text shows values, which may hold credentials


def _allowed(text: str) -> Allowed:
    try:
        return Allowed.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        msg = (
            f"CT_ALLOWED is not a JSON object of names ({'.'.join(map(str, first['loc']))}: {first['msg']}); write for example "
            f'{{"images": ["registry.example.com/*"], "digests": true}}; allowed are {", ".join(Allowed.model_fields)}; '
            "a retry gives the same"
        )
        raise UsageError(msg) from None
