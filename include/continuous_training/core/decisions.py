"""Evidence and the decisions made of it, as they are written to the ledger."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from continuous_training.core.causes import MOST_CAUSES, Cause
from continuous_training.core.defects import Defect
from continuous_training.core.fairness import Disparity, Group
from continuous_training.core.feedback import FeedbackScore
from continuous_training.core.frozen import Frozen
from continuous_training.core.scores import DriftScore, PerformanceScore, RealisedGain, ShadowScore
from continuous_training.core.window import Moment, Window


class Outcome(StrEnum):
    """Three values: a rule that cannot be answered is inconclusive, and inconclusive changes nothing."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


ReasonKind = Literal["schedule", "drift", "performance", "feedback", "manual", "config"]
EpisodeKind = Literal[ReasonKind, "defect"]


class RetrainingReason(Frozen):
    """Why a model is trained again; every way in carries one.

    `episode` names the continuing cause: all requests that carry the same one are one retraining.
    """

    kind: ReasonKind
    text: str = Field(max_length=500)
    episode: str = Field(max_length=200)


class Evidence(Frozen):
    """Everything measured on one current window."""

    model: str
    window: Window
    as_of: Moment
    rows: int = Field(ge=0)
    drift: tuple[DriftScore, ...] = ()
    performance: tuple[PerformanceScore, ...] = ()
    groups: tuple[Group, ...] = Field((), description="The champion on the groups of the sensitive columns.")
    disparities: tuple[Disparity, ...] = Field((), description="The champion's numbers of the fairness limits.")
    feedback: tuple[FeedbackScore, ...] = Field((), description="What people told of the champion's predictions.")
    shadow: ShadowScore | None = Field(None, description="Gain of a refitted model; none where nobody asked for one.")
    realised: RealisedGain | None = Field(
        None, description="Gain of the champion over the one it replaced; none where its retraining is not judged here."
    )
    causes: tuple[Cause, ...] = Field(
        (),
        max_length=MOST_CAUSES,
        description="Parts of the change of one metric: that of the first rule that fired and has some.",
    )
    no_causes: str = Field(
        "", description="Why there are no parts, where a rule asked for them and none has some, in a sentence."
    )
    defects: tuple[Defect, ...] = Field((), description="Why the window is broken; a broken one retrains nothing.")
    report: str | None = Field(None, description="Digest of the drift report; none where none was kept.")


class Signal(Frozen):
    """One named source of evidence in one window: a detector of the model file or a performance rule."""

    name: str
    kind: Literal["drift", "performance", "fairness", "feedback", "shadow"]
    state: Literal["fired", "quiet", "inconclusive"]
    text: str = Field(description="The worst number behind the state, in words.")
    counts: bool = Field(default=True, description="Whether the policy follows it, or only writes it down.")


class RetrainingDecision(Frozen):
    """Yes, no or inconclusive for one window, with the cause and every signal."""

    model: str
    window: Window
    as_of: Moment
    answer: Literal["yes", "no", "inconclusive"]
    why: str
    reason: RetrainingReason | None = Field(None, description="Present when the answer is yes.")
    held_back: str = Field(
        "",
        description="What stood in the way of a retraining that the evidence asked for: a cooldown, a budget, a blackout, an "
        "episode that had its one, a window that the champion knows, or a policy that only advises.",
    )
    signals: tuple[Signal, ...] = ()


class Rule(Frozen):
    """One line of a promotion gate with the number it saw."""

    name: str
    outcome: Outcome
    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None


class GateVerdict(Frozen):
    """The outcome of the promotion gate; the challenger is promoted only on pass."""

    outcome: Outcome
    text: str
    rules: tuple[Rule, ...]
