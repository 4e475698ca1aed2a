"""What a replay found, as data."""

from pydantic import Field

from continuous_training.core.decisions import RetrainingDecision
from continuous_training.core.frozen import Frozen
from continuous_training.core.window import Moment, Window


class Ruler(Frozen):
    """A way to choose moments that no policy can use or beat for free: what policies are held against."""

    name: str
    retrainings: int
    mean: float | None = Field(description="Mean of the metric over the windows.")
    quality: tuple[float | None, ...] = Field(description="Metric in each window.")


class PolicyResult(Frozen):
    """What one policy did with history."""

    name: str
    policy: str = Field(description="The policy in words: its kind and what differs from the default.")
    retrainings: tuple[Moment, ...] = Field(description="Ends of the windows after which a model was trained.")
    promoted: tuple[Moment, ...] = Field(description="Those of them whose challenger became champion.")
    quality: tuple[float | None, ...] = Field(description="Metric of the serving champion in each window.")
    mean: float | None
    share_of_windows: float = Field(description="Retrainings per window.")
    share_of_gain: float | None = Field(
        None, description="Gain over never retraining, as a share of the gain of retraining after every window."
    )
    timing_skill: float | None = Field(
        None,
        description="(mean - the same number spread evenly) / (best moments in hindsight - spread evenly): 1 is perfect, 0 is "
        "no better than a calendar.",
    )
    seconds: float = Field(description="Seconds that its trainings took.")
    decisions: tuple[RetrainingDecision, ...] = Field(description="Every decision, the oldest first.")


class ReplayReport(Frozen):
    """Policies and rulers over the same windows."""

    model: str
    metric: str
    greater_is_better: bool
    proxy: bool = Field(description="Whether a fast learner stood in for the model's trainer.")
    windows: tuple[Window, ...]
    policies: tuple[PolicyResult, ...]
    rulers: tuple[Ruler, ...] = Field(description="Never, every window, monthly.")
    evenly: tuple[Ruler, ...] = Field(description="0, 1, 2 ... retrainings spread evenly.")
    oracle: tuple[Ruler, ...] = Field(description="At most 0, 1, 2 ... at the best moments in hindsight.")
