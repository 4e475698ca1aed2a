"""Training on several machines with Dask."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from pydantic import Field

from continuous_training.core.errors import MissingExtra, SpecError
from continuous_training.core.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from continuous_training.trainers.base import Fitted, TrainingData
    from continuous_training.trainers.lightgbm import LightGBM


T = TypeVar("T")
U = TypeVar("U")


class Dask(Frozen):
    """Dask workers that each hold a share of the train rows and grow the same trees together.

    The same rows, seed, threads and number of workers give the same bytes; another number of workers gives a slightly
    different model. Early stopping is applied after training: all `rounds` trees are grown, and as many are kept as would
    have been grown with it. It needs the extra `dask`.
    """

    kind: Literal["dask"] = "dask"
    workers: int = Field(2, ge=1, le=256, description="Workers that train, each with `threads` threads.")
    scheduler: str | None = Field(
        None,
        pattern=r"^(\{[A-Za-z_]\w*\}|(tcp|tls)://[A-Za-z0-9.-]+:\d{1,5})$",
        description="Scheduler of a Dask cluster that is there: the name of a location in braces, or an address that is one "
        "of the deployment's locations. Without it, the workers are started beside the training step.",
    )

    @contextmanager
    def ready(self, locations: Mapping[str, str]) -> Iterator[Self]:
        """Give the engine with the address of a scheduler; workers that are started here end with it.

        Raises
        ------
        SpecError
            The deployment does not have the scheduler that is named.
        MissingExtra
            Dask is not installed.
        ClusterUnavailable
            The workers do not start.
        """
        if find_spec("distributed") is None:
            msg = (
                "trainer.engine: dask needs Dask where the step runs: pip install "
                "'airflow-provider-continuous-training[dask]', or leave the engine out; a retry gives the same"
            )
            raise MissingExtra(msg)
        from continuous_training.trainers import _dask

        if self.scheduler is None:
            with _dask.started(self.workers) as address:
                yield self.model_copy(update={"scheduler": address})
        else:
            yield self.model_copy(update={"scheduler": _address(self.scheduler, locations)})

    def map(self, function: Callable[[T], U], arguments: Sequence[T]) -> Iterator[U]:
        """Yield what `function`, which the workers can import, makes of each argument, in order.

        Raises
        ------
        ClusterUnavailable
            The cluster cannot be reached, has no worker or lost one.
        """
        from continuous_training.trainers import _dask

        return _dask.map_over(self, function, arguments)

    def fit(
        self,
        trainer: LightGBM,
        data: TrainingData,
        *,
        seed: int,
        trials: int | None,
        warm_start: dict[str, Any] | None,
    ) -> Fitted:
        """Train on the workers of the scheduler, or on workers of this training alone.

        Raises
        ------
        ClusterUnavailable
            The cluster cannot be reached, has too few workers or lost one.
        """
        if self.scheduler is None:
            with self.ready({}) as engine:
                return engine.fit(trainer, data, seed=seed, trials=trials, warm_start=warm_start)
        from continuous_training.trainers import _dask

        return _dask.fit(self, trainer, data, seed=seed, trials=trials, warm_start=warm_start)


def _address(scheduler: str, locations: Mapping[str, str]) -> str:
    known = {f"{{{name}}}": url for name, url in locations.items()} | {url: url for url in locations.values()}
    address = known.get(scheduler, "")
    if not address.startswith(("tcp://", "tls://")):
        msg = (
            f"trainer.engine.scheduler: {scheduler} is no Dask scheduler that this deployment has; allowed are its "
            "locations with an address that begins with tcp:// or tls://; add it to the settings (CT_LOCATIONS), for "
            'example {"dask": "tls://scheduler:8786"}; a retry gives the same'
        )
        raise SpecError(msg)
    return address
