"""Drift of attributions."""

import math

import numpy as np
import pandas as pd
import pytest

from continuous_training.core.task import Features
from continuous_training.detectors import Attribution

FEATURES = Features(numeric=("x", "y"), categorical=("c",))


def explained(x, y, c, rows=400):
    sign = np.where(np.arange(rows) % 2, 1, -1)
    return pd.DataFrame({"attribution:x": x * sign, "attribution:y": y * sign, "attribution:c": c * sign})


def score(reference, current):
    detector = Attribution()
    [found] = detector.score(detector.fit(reference, FEATURES), current, FEATURES)
    return found


def test_the_statistic_is_the_total_variation_distance_of_the_shares():
    found = score(explained(2.0, 1.0, 1.0), explained(1.0, 1.0, 2.0))
    assert found.statistic == found.effect == pytest.approx(0.25)
    assert found.exceeded is True
    assert found.column is None


def test_predictions_that_only_grow_have_not_changed():
    assert score(explained(2.0, 1.0, 1.0), explained(20.0, 10.0, 10.0)).statistic == pytest.approx(0.0)


@pytest.mark.parametrize("side", ["reference", "current"])
def test_a_model_that_explains_nothing_is_inconclusive(side):
    frames = {"reference": explained(1.0, 1.0, 1.0), "current": explained(1.0, 1.0, 1.0)}
    frames[side] = frames[side].drop(columns="attribution:y")
    found = score(**frames)
    assert found.exceeded is None
    assert f"the {side} window has 0 rows" in found.note
    assert "attribution:<feature>" in found.note


def test_attributions_that_are_all_zero_are_inconclusive():
    found = score(explained(0.0, 0.0, 0.0), explained(1.0, 1.0, 1.0))
    assert found.exceeded is None
    assert "all zero" in found.note


def test_rows_without_an_attribution_are_left_out():
    holes = explained(1.0, 1.0, 2.0)
    holes.loc[::2, "attribution:x"] = math.nan
    found = score(explained(2.0, 1.0, 1.0), holes)
    assert found.statistic == pytest.approx(0.25)
    assert found.current_rows == 200
