"""What a step function receives and returns."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from continuous_training.core.errors import ArtefactCorrupt, ContinuousTrainingError

if TYPE_CHECKING:
    from continuous_training.core.run import Run
    from continuous_training.core.window import Window
    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec
    from continuous_training.storage import Store


@dataclass(frozen=True)
class Context:
    """One step of one run: the model file, the run, and where its inputs and outputs are kept."""

    spec: ModelSpec
    run: Run
    settings: Settings
    store: Store

    def manifest(self, step: str, key: str | None = None) -> dict[str, Any]:
        """Return the manifest of a finished step of this run, or of the run `key`."""
        manifest = self.store.read_manifest(key or self.run.key, step)
        if manifest is None:
            msg = f"step {step} of run {(key or self.run.key)[:12]} has not finished; run it first, a retry then goes on from there"
            raise ArtefactCorrupt(msg)
        return manifest

    def read(self, step: str, name: str, key: str | None = None) -> bytes:
        """Return the bytes a finished step stored under `name`."""
        return self.store.get(self.manifest(step, key)["outputs"][name])

    def fetch(self, step: str, name: str, key: str | None = None) -> Path:
        """Return a checked local file with what a finished step stored under `name`."""
        return self.store.fetch(self.manifest(step, key)["outputs"][name], self.cache / "objects")

    def bundle(self, digest: str) -> Path:
        """Return the checked local folder of a bundle."""
        return self.store.fetch_folder(digest, self.cache / "bundles")

    def within(self, window: Window) -> Context:
        """Return the context of the same run in another window."""
        return replace(self, run=self.run.model_copy(update={"window": window}))

    @property
    def cache(self) -> Path:
        """Return the folder for local copies; losing it costs time only."""
        return Path(self.settings.home)


@dataclass(frozen=True)
class Output:
    """What a step made: digests of stored objects by name, and small facts.

    `error` is a result too: the step is finished, what it found is kept, and every further attempt gets the same error.
    """

    outputs: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    error: ContinuousTrainingError | None = None


def to_json(value: object) -> bytes:
    """Return `value` as indented JSON bytes with sorted keys."""
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False).encode()
