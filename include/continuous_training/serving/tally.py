"""Count what the two versions of a rollout do, and file it where all server processes' counts are added up."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING

from continuous_training.core.arms import Arm, Comparison
from continuous_training.core.rollout import RolloutCounts

if TYPE_CHECKING:
    from pathlib import Path

    from continuous_training.core.rollout import RolloutPlan

FLUSH_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Tally:
    """The counts of one process under one plan; written to a file of its own within a second.

    Parameters
    ----------
    plan
        The plan in force.
    folder
        Where the files of all plans are.
    """

    def __init__(self, plan: RolloutPlan, folder: Path) -> None:
        self.champion = Arm(plan.score_bounds)
        self.challenger = Arm(plan.score_bounds)
        self.compared = Comparison(plan.scale)
        self.dropped = 0
        self._plan = plan.name
        self._folder = folder / plan.name
        self._file = self._folder / f"{secrets.token_hex(8)}.json"
        self._flush: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """See to it that what was counted is written down soon."""
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write down what was counted."""
        if self._flush is not None:
            self._flush.cancel()
        self._flush = None
        staged = self._file.with_suffix(".new")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            staged.write_text(self.counts().model_dump_json())
            staged.replace(self._file)
        except OSError as error:  # requests matter more; the next count tries again
            _log.warning("counts of the rollout are not written down (%s); it is tried again", error)

    def counts(self) -> RolloutCounts:
        """Return what this process has counted."""
        return RolloutCounts(
            plan=self._plan,
            champion=self.champion.counts(),
            challenger=self.challenger.counts().model_copy(update={"distances": self.compared.distances}),
            dropped=self.dropped,
            **self.compared.counts(),
        )
