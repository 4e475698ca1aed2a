"""Whether retrainings were worth it, and what each signal was worth as a trigger, from what the ledger recorded. Pure."""

from continuous_training.scorecard.scorecard import JudgedRetraining, Scorecard, SignalScore, scorecard
from continuous_training.scorecard.thresholds import Suggestion, policy_file, suggest

__all__ = ["JudgedRetraining", "Scorecard", "SignalScore", "Suggestion", "policy_file", "scorecard", "suggest"]
