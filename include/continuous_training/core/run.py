"""One retraining, or one look at a window, as a value that every step receives."""

from typing import Any, Literal

from pydantic import Field

from continuous_training.core.decisions import ReasonKind, RetrainingReason
from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Moment, Window


class Request(Frozen):
    """What somebody or something asked for; the plan step turns it into a `Run`.

    `episode` names the cause: requests that carry the same one are one retraining. Without it the cause is the
    newest complete window, so asking twice for the same data is one retraining too.
    """

    kind: Literal["train", "watch"]
    reason: ReasonKind = "manual"
    text: str = Field("", max_length=500, description="Why, in the words of whoever asks; kept in the ledger.")
    episode: str | None = Field(None, max_length=200)
    as_of: Moment | None = Field(None, description="Look from this moment; the default is the newest complete window.")
    trials: int | None = Field(None, ge=0, le=1000, description="Overrides the number of tuning trials.")
    force: bool = Field(default=False, description="Promote even when the gate is inconclusive; never when it failed.")
    dry_run: bool = Field(default=False, description="Do everything but promote and deploy.")


class Rollback(Frozen):
    """What somebody asked for who wants an earlier champion back."""

    to: int = Field(ge=1, description="Version that was champion before: the fence at which it was first promoted.")
    reason: str = Field(min_length=1, max_length=500, description="Why, in the words of whoever asks.")


class ChampionRef(Frozen):
    """The champion as a run saw it when it was planned; promotion compares `fence`."""

    fence: int = Field(ge=1)
    version: str
    run_key: str
    bundle: str
    data_cutoff: Moment


class Run(Frozen):
    """Everything a step needs besides the model file; made once by the plan step.

    `key` is the identity: the same model, specification, trials and cause (the episode that was named, or else the reason
    and the window) give the same key, and a key never trains twice.
    """

    model: str
    kind: Literal["train", "watch"]
    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    as_of: Moment = Field(description="Moment the run looks from: labels that matured later are not seen.")
    window: Window = Field(description="Rows to train on, or the current window to score.")
    reason: RetrainingReason | None = Field(None, description="Why; present in a train run.")
    spec_digest: str
    champion: ChampionRef | None = None
    replaced: ChampionRef | None = Field(
        None, description="Champion before, which the present one is compared with to judge its retraining."
    )
    trials: int | None = Field(None, ge=0, le=1000)
    quarantined: tuple[Window, ...] = Field(
        (),
        description="Windows with a defect inside the rows to train on, or to refit on before a look; those not repaired by "
        "now are left out.",
    )
    force: bool = False
    dry_run: bool = False

    @property
    def fence(self) -> int:
        """Return the champion's fence that the plan saw; 0 when there was no champion."""
        return self.champion.fence if self.champion else 0


class StepResult(Frozen):
    """What a step tells its caller: small JSON, never data."""

    step: str
    key: str
    reused: bool = Field(default=False, description="The step had been done before; its result was read back.")
    outputs: dict[str, str] = Field(default_factory=dict, description="Name to SHA-256 of each stored object.")
    facts: dict[str, Any] = Field(default_factory=dict, description="Counts, metrics, verdicts and links: under 4 kB.")
