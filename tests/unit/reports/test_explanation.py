"""Importance and interactions are those that the function which is explained has."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from continuous_training.reports import _explanation

NAMES = ("a", "b", "c")


def model(predict: Any, kind: str = "regression", contributions: Any = None) -> Any:
    """Return what is asked of a bundle whose features are numbers."""
    preparation = SimpleNamespace(
        features=SimpleNamespace(columns=NAMES), transform=lambda rows: rows[list(NAMES)].to_numpy(dtype=float)
    )
    manifest = SimpleNamespace(
        preparation=preparation, task=SimpleNamespace(kind=kind), classes=(0, 1) if kind == "classification" else ()
    )
    estimator = SimpleNamespace(predict=predict, **({"contributions": contributions} if contributions else {}))
    return SimpleNamespace(manifest=manifest, estimator=estimator)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(rng.normal(size=(800, 3)), columns=NAMES).assign(where=np.where(np.arange(800) < 600, "x", "y"))


def explained(one: Any, other: Any, rows: pd.DataFrame, y: np.ndarray) -> Any:
    return _explanation.explain(one, other, rows, y, slices=("where",), seed=7)


def test_features_that_add_up_do_not_interact_and_a_product_does(rows: pd.DataFrame) -> None:
    added = _explanation.interactions(model(lambda x: 3 * x[:, 0] + x[:, 1] ** 2), rows, [0, 1, 2])
    assert max(each.strength for each in added) < 1e-9
    multiplied = _explanation.interactions(model(lambda x: x[:, 0] * x[:, 1] + x[:, 2]), rows, [0, 1, 2])
    assert multiplied[0].features == ("a", "b")
    assert multiplied[0].share > 0.8
    assert multiplied[1].strength < 1e-9


def test_probabilities_interact_in_their_log_odds(rows: pd.DataFrame) -> None:
    def predict(x: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-x[:, 0] - x[:, 1]))
        return np.column_stack([1 - p, p])

    [found] = _explanation.interactions(model(predict, "classification"), rows, [0, 1])
    assert found.strength < 1e-6


def test_few_rows_have_no_interactions(rows: pd.DataFrame) -> None:
    assert _explanation.interactions(model(lambda x: x[:, 0]), rows[:10], [0, 1]) == ()


def test_trees_are_explained_by_their_own_parts_whole_and_by_slice(rows: pd.DataFrame) -> None:
    parts = lambda x: x * [3, 1, 0]  # noqa: E731
    told = explained(model(lambda x: parts(x).sum(axis=1), contributions=parts), None, rows, rows["a"].to_numpy())
    assert told.method == _explanation.SHAP
    assert told.rows == _explanation.SAMPLE
    assert [each.feature for each in told.features] == ["a", "b", "c"]
    assert told.features[0].share == pytest.approx(0.75, abs=0.02)
    assert [(each.value, each.rows) for each in told.slices] == [("x", 225), ("y", 75)]
    assert told.shift is None


def test_other_models_are_explained_by_shuffling_and_so_is_whoever_is_compared_with_them(rows: pd.DataFrame) -> None:
    y = rows["a"].to_numpy()
    trees = model(lambda x: x[:, 1], contributions=lambda x: x * [0, 1, 0])
    told = explained(model(lambda x: x[:, 0]), trees, rows, y)
    assert told.method == _explanation.PERMUTATION
    assert (told.features[0].feature, told.features[0].share, told.features[0].champion) == ("a", 1, 0)
    assert told.shift > 0.4


def test_a_model_that_says_the_same_of_all_has_no_important_feature(rows: pd.DataFrame) -> None:
    told = explained(model(lambda x: np.zeros(len(x))), None, rows, rows["a"].to_numpy())
    assert {each.share for each in told.features} == {0}
    assert all(each.share is None for each in told.interactions)
