"""What is written down for people: the model card of a retraining and the drift report of a window, and their pages.

Both are made where the data are, in the steps evaluate and score, and kept as JSON; their pages are made of that JSON
anywhere, with nothing but the standard library.
"""

from continuous_training.reports.card import ModelCard
from continuous_training.reports.card_page import card_page
from continuous_training.reports.distribution import Distribution, DriftColumn, DriftReport, Profile, ProfileColumn
from continuous_training.reports.drift_page import drift_page

__all__ = [
    "Distribution",
    "DriftColumn",
    "DriftReport",
    "ModelCard",
    "Profile",
    "ProfileColumn",
    "card_page",
    "drift_page",
]
