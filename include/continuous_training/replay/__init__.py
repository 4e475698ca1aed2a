"""Walk history with a retraining policy before it is switched on: the same reader, steps, gate and decision code as live."""

from continuous_training.replay.hindsight import hindsight
from continuous_training.replay.replay import replay
from continuous_training.replay.report import PolicyResult, ReplayReport, Ruler

__all__ = ["PolicyResult", "ReplayReport", "Ruler", "hindsight", "replay"]
