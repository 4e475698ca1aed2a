"""`ct serve`: answer requests with one bundle, in the foreground."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from continuous_training.core.errors import UsageError
from continuous_training.serving.standalone import serve as answer
from continuous_training.serving.wanted import Wanted
from continuous_training.settings import Settings

if TYPE_CHECKING:
    import argparse

VARIABLES = (
    "bundle", "model", "version", "fence", "data_cutoff", "hosts", "public_key", "workers", "admin_host", "admin_port",
    "max_age", "past_max_age", "strict", "plan",
)  # fmt: skip
"""Options that a variable may give: `bundle` may be `CT_BUNDLE`, and so on; `CT_HOSTS` has commas."""


def serve(options: argparse.Namespace) -> int:
    """Serve until told to end."""
    told = {name: value for name in Wanted.model_fields if (value := getattr(options, name)) is not None}
    for name in VARIABLES:
        value = os.environ.get(f"CT_{name.upper()}")
        if value and name not in told:
            told[name] = value.split(",") if name == "hosts" else value
    try:
        wanted = Wanted.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        seen = "is not given" if first["type"] == "missing" else f"is {first['input']!r}: {first['msg']}"
        variable = f" or CT_{name.upper()}" if name in VARIABLES else ""
        raise UsageError(f"{name} {seen}; correct the argument{variable}; a retry gives the same") from None
    settings = Settings.from_environment()
    return answer(_champion(wanted, settings) if _MODEL.fullmatch(wanted.bundle) else wanted, settings)


_MODEL = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _champion(wanted: Wanted, settings: Settings) -> Wanted:
    """Return what is wanted with the champion of the ledger in the place of a model's name, unless a folder has this name."""
    if os.path.isdir(wanted.bundle) or _DIGEST.fullmatch(wanted.bundle):
        return wanted
    from continuous_training.ledger import Ledger  # the image of the server has no database driver, and needs none

    champion = Ledger(settings.ledger).champion(wanted.bundle)
    if champion is None:
        raise UsageError(
            f"{wanted.bundle} is no folder here, no digest and no model with a champion in the ledger; train one first, or name "
            "the folder of a bundle; a retry gives the same"
        )
    known = champion.model_dump(include={"model", "version", "fence", "data_cutoff"})
    told = wanted.model_dump(exclude_none=True, exclude_unset=True)
    return Wanted.model_validate({**known, **told, "bundle": champion.bundle})
