"""`ct package`: write one version of a model as an OCI image layout."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import continuous_training
from continuous_training.core.digest import digest
from continuous_training.core.errors import UsageError
from continuous_training.deployers.base import Release
from continuous_training.ledger import Ledger
from continuous_training.packages import Contents, write_package
from continuous_training.settings import Settings
from continuous_training.storage import Store

if TYPE_CHECKING:
    import argparse

    from continuous_training.ledger.champions import Champion


def package(options: argparse.Namespace) -> int:
    """Package the champion, or a version that was champion, and say where it is and what its digest is."""
    settings = Settings.from_environment()
    ledger = Ledger(settings.ledger)
    champion = _champion(ledger, options.model, options.version)
    release = Release.model_validate(champion.model_dump(include=set(Release.model_fields)))
    facts = {
        "run": champion.run_key,
        "spec": ledger.run(champion.run_key).run.spec_digest,
        "code": code_digest(),
    }
    home = Path(settings.home)
    bundle = Store(settings.artefacts).fetch_folder(champion.bundle, home / "bundles")
    output = Path(options.output) if options.output else home / "packages" / f"{release.model}-{release.version}"
    written = write_package(
        bundle,
        Contents(release=release, created=champion.promoted_at, facts=facts),
        output.absolute(),
        base=Path(options.base) if options.base else None,
        private_key=Path(options.private_key) if options.private_key else None,
    )
    told = {"path": str(output), "digest": written, **release.model_dump(mode="json"), **facts}
    print(json.dumps(told, indent=1) if options.json else f"{output} {written}")
    return 0


def code_digest() -> str:
    """Return the digest of this package's own code."""
    root = Path(continuous_training.__file__).parent
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.py")}
    return digest({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})


def _champion(ledger: Ledger, model: str, version: str | None) -> Champion:
    champions = ledger.history(model)
    if not champions:
        raise UsageError(f"{model} has no champion to package; train one first: ct run train {model}")
    for one in champions:
        if version in (None, one.version):
            return one
    known = ", ".join(sorted({one.version for one in champions}, key=int))
    raise UsageError(f"{model} has no version {version} that was champion; there are: {known}")
