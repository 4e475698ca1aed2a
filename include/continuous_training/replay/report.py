"""What a replay found, as data."""

from collections.abc import Iterator

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

    @property
    def counted(self) -> int:
        """Return the number of retrainings, at most one between two windows, that rulers are taken for."""
        return min(len(self.retrainings), max(len(self.quality) - 1, 0))


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

    def table(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows that people read: a head, the policies, the rulers, and the oracle for each policy."""
        yield ("policy", "retrainings", "promoted", self.metric, "of the gain", "timing skill", "training seconds")
        for each in self.policies:
            gain = "-" if each.share_of_gain is None else f"{each.share_of_gain:.0%}"
            counts = (str(len(each.retrainings)), str(len(each.promoted)))
            yield (each.name, *counts, shown(each.mean, 4), gain, shown(each.timing_skill, 2), f"{each.seconds:.1f}")
        best = {f"oracle for {each.name}": self.oracle[each.counted] for each in self.policies}
        for name, ruler in ({ruler.name: ruler for ruler in self.rulers} | best).items():
            yield (name, str(ruler.retrainings), "", shown(ruler.mean, 4), "", "", "")


def shown(value: float | None, digits: int) -> str:
    """Return a number with so many digits after the point, or a dash.

    >>> shown(None, 2), shown(0.5, 2)
    ('-', '0.50')
    """
    return "-" if value is None else f"{value:.{digits}f}"
