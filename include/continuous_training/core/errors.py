"""What can go wrong, as one tree.

ContinuousTrainingError
├── Permanent                   a retry gives the same result: fix the cause first
│   ├── SpecError               a model file is wrong
│   ├── UsageError              a command or call was given something it does not take
│   ├── MissingExtra            a library that is optional is not installed
│   ├── DataInvalid             the data cannot be used
│   ├── ArtefactCorrupt         stored bytes are not the bytes that were written
│   ├── Conflict                somebody else was faster, or the request is stale
│   └── DeploymentFailed        the new model did not serve; the old one still does
└── Transient                   a retry may succeed
    ├── SourceUnavailable       rows cannot be read now
    ├── RegistryUnavailable     the model registry does not answer
    ├── ClusterUnavailable      a cluster, of Dask or Kubernetes, does not answer or lost a worker
    └── StoreUnavailable        artefacts or the ledger cannot be written or read now

A message says what failed and the value seen, what is allowed, what to do, and what a retry does.
"""

from typing import ClassVar


class ContinuousTrainingError(Exception):
    """Root of every error this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class Permanent(ContinuousTrainingError):
    """A retry gives the same result."""


class Transient(ContinuousTrainingError):
    """A retry may succeed."""

    exit_code: ClassVar[int] = 7


class SpecError(Permanent):
    """A model file is wrong; other models are not affected."""

    exit_code: ClassVar[int] = 2


class UsageError(Permanent):
    """A command or a call was given something it does not take."""

    exit_code: ClassVar[int] = 2


class MissingExtra(Permanent, ImportError):
    """A library that is optional is not installed; the message names the extra that brings it."""

    exit_code: ClassVar[int] = 2


class DataInvalid(Permanent):
    """The data cannot be used; the champion keeps serving."""

    exit_code: ClassVar[int] = 4


class ArtefactCorrupt(Permanent):
    """Stored bytes differ from their digest, or a manifest cannot be read."""


class Conflict(Permanent):
    """The champion changed meanwhile, or newer data already decided."""

    exit_code: ClassVar[int] = 6


class DeploymentFailed(Permanent):
    """The new model did not pass its smoke test; the one before keeps serving."""


class SourceUnavailable(Transient):
    """Rows cannot be read now."""


class RegistryUnavailable(Transient):
    """The model registry does not answer."""


class ClusterUnavailable(Transient):
    """A cluster cannot be reached: Kubernetes' API, or the cluster that trains, which may have lost a worker."""


class StoreUnavailable(Transient):
    """The artefact store or the ledger cannot be reached or is full."""
