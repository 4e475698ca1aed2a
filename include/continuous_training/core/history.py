"""What the ledger remembers of one model, as far as the retraining policy needs it."""

from pydantic import Field

from continuous_training.core.decisions import EpisodeKind, Signal
from continuous_training.core.frozen import Frozen
from continuous_training.core.retrainings import Retraining
from continuous_training.core.scores import PerformanceScore, ShadowScore
from continuous_training.core.window import Moment


class OpenEpisode(Frozen):
    """A cause that has begun and not ended: at most one of each kind for one model.

    `name` is what a `RetrainingReason` carries as its `episode`, so that every request inside it is one retraining.
    """

    kind: EpisodeKind
    name: str = Field(max_length=200)
    opened_at: Moment = Field(description="`as_of` of the decision that opened it.")
    requested_at: Moment | None = Field(
        None, description="`as_of` of the latest decision that asked for a retraining because of it."
    )


class RetrainingHistory(Frozen):
    """Everything before the window that is decided now, newest first.

    >>> RetrainingHistory().recent
    ()
    """

    recent: tuple[tuple[Signal, ...], ...] = Field((), description="Signals of the previous windows, at most 50.")
    requested: tuple[Moment, ...] = Field(
        (), description="`as_of` of every retraining, asked for or begun, once for each episode."
    )
    open_episodes: tuple[OpenEpisode, ...] = ()
    shadows: tuple[ShadowScore, ...] = Field(
        (), description="Gains measured against the present champion in the windows before, newest first."
    )
    performance: tuple[PerformanceScore, ...] = Field(
        (),
        description="Estimated and final quality of the present champion, as the looks before measured it, oldest first; each "
        "with its window.",
    )
    retrainings: tuple[Retraining, ...] = Field((), description="Every retraining and what it brought, newest first.")
    champion_cutoff: Moment | None = Field(
        None, description="End of the data the champion was made from; none without a champion."
    )
