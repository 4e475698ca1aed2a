"""Where the champion answers requests."""

from typing import Annotated

from pydantic import Field

from continuous_training.deployers.kserve import KServe
from continuous_training.deployers.kubernetes import KubernetesService
from continuous_training.deployers.local import Local
from continuous_training.deployers.none import Nowhere

AnyDeployer = Annotated[KServe | KubernetesService | Local | Nowhere, Field(discriminator="kind")]

__all__ = ["AnyDeployer", "KServe", "KubernetesService", "Local", "Nowhere"]
