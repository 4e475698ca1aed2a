"""Values every other part speaks in: windows, scores, decisions, runs and errors."""
