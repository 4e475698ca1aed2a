"""How old a model is, by the newest row it has seen, and what is done when it is too old."""

from __future__ import annotations

import time
from functools import cached_property
from math import inf

from continuous_training.core.window import Moment
from continuous_training.deployers.base import Freshness


class Age(Freshness):
    """The age of a model.

    Parameters
    ----------
    data_cutoff
        End of the data the model was made from; `None` when nobody knows.

    Examples
    --------
    >>> age = Age(data_cutoff="2024-03-01T00:00:00Z", maximum="30 days")
    >>> age.stale()
    True
    >>> Age().stale(), Age().seconds()
    (False, None)
    """

    data_cutoff: Moment | None = None

    def seconds(self) -> float | None:
        """Return the age of now."""
        return None if self.data_cutoff is None else time.time() - self.data_cutoff.timestamp()

    @cached_property
    def stale_from(self) -> float:
        """Return the moment from which the model is too old, in seconds of Unix time; one of unknown age never is."""
        if self.data_cutoff is None or self.maximum is None:
            return inf
        return self.data_cutoff.timestamp() + self.maximum.total_seconds()

    def stale(self) -> bool:
        """Tell whether the model is too old now."""
        return time.time() > self.stale_from
