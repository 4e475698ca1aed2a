"""Figures say what predictions are worth, in numbers that agree with the metrics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc

from continuous_training import performance
from continuous_training._performance import Truth
from continuous_training.metrics import BUILT_IN, Cost
from continuous_training.reports import _curves, _pictures
from report_parts import card


def some(rows: int, *, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.random(rows)
    return (rng.random(rows) < score).astype(float), score


def figures(y: np.ndarray, score: np.ndarray, cost: Cost | None = None) -> dict[str, _curves.Figure]:
    return {figure.name: figure for figure in _curves.figures_of_two(y, {"challenger": score}, cost)}


def test_the_area_under_the_drawn_curve_is_the_metric() -> None:
    y, score = some(5000)
    [line] = figures(y, score)["roc"].series
    told = performance.estimate(
        BUILT_IN["roc_auc"], y, np.column_stack([1 - score, score]), confidence=0.9, resamples=1, seed=0
    )
    assert auc(line.x, line.y) == pytest.approx(told.value, abs=1e-3)
    assert (line.x[0], line.y[0], line.x[-1], line.y[-1]) == (0, 0, 1, 1)
    assert len(line.x) <= _curves.POINTS + 1


def test_precision_falls_to_the_share_of_positives() -> None:
    y, score = some(5000)
    [line] = figures(y, score)["precision_recall"].series
    assert line.x[-1] == 1
    assert line.y[-1] == pytest.approx(y.mean(), abs=0.01)  # at the lowest score that came true


def test_the_cost_at_a_threshold_is_the_metric_there() -> None:
    y, score = some(3000)
    cost = Cost(name="c", false_positive=1, false_negative=5, true_positive=0.5, threshold=0.3)
    figure = figures(y, score, cost)["cost"]
    [line] = figure.series
    told = performance.estimate(cost, y, np.column_stack([1 - score, score]), confidence=0.9, resamples=1, seed=0)
    assert line.y[line.x.index(0.3)] == pytest.approx(told.value, abs=1e-4)
    assert figure.marks[0].x == 0.3


def test_probabilities_that_are_what_they_say_lie_on_the_diagonal_within_their_intervals() -> None:
    y, score = some(20_000)
    [line] = figures(y, score)["calibration"].series
    assert len(line.x) == _curves.BINS
    inside = [low <= x <= high for x, low, high in zip(line.x, line.low, line.high, strict=True)]
    assert sum(inside) >= 8
    assert max(abs(np.subtract(line.x, line.y))) < 0.05


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.2, 0.2001, 0.5, 1.0])), min_size=1, max_size=40))
def test_few_rows_ties_and_one_class_are_drawn_or_left_out(rows: list[tuple[bool, float]]) -> None:
    y, score = np.array(rows, dtype=float).T
    drawn = figures(y, score)
    assert set(drawn) == (
        {"calibration", "roc", "precision_recall", "cost"} if 0 < y.sum() < len(y) else {"calibration"}
    )
    for figure in drawn.values():
        for line in figure.series:
            assert np.isfinite([*line.x, *line.y]).all()


def test_values_are_told_by_residuals_and_by_what_was_true() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=1000)
    residuals, true = _curves.figures_of_values(y, {"challenger": y + 1, "champion": y})
    challenger, champion = residuals.series
    assert challenger.x[int(np.argmax(challenger.y))] == pytest.approx(-1, abs=0.05)
    assert sum(champion.y) == pytest.approx(1, abs=1e-3)
    assert np.subtract(true.series[0].x, true.series[0].y) == pytest.approx(1, abs=1e-3)
    assert all(
        low <= y <= high for y, low, high in zip(true.series[1].y, true.series[1].low, true.series[1].high, strict=True)
    )


@pytest.mark.parametrize("y", [[1.0], [2.0, 2.0], [1e99, -1e99]])
def test_values_without_spread_or_with_very_much_are_drawn(y: list[float]) -> None:
    for figure in _curves.figures_of_values(np.array(y), {"challenger": np.zeros(len(y))}):
        assert np.isfinite(figure.series[0].y).all()


def test_a_ranking_is_told_by_the_size_of_its_groups() -> None:
    groups = np.repeat(np.arange(40), np.arange(2, 42))
    y = np.zeros(len(groups))
    y[np.flatnonzero(np.diff(groups, prepend=-1))] = 1
    perfect, worst = y.copy(), -y
    by_place, figure = _curves.figures_of_ranking(Truth(y, groups), {"challenger": perfect, "champion": worst})
    assert [line.y[0] for line in by_place.series] == [1, 0, 1]
    assert by_place.series[1].x[-1] == 10
    assert figure.ticks[0].startswith("2-")
    assert set(figure.series[0].y) == {1}
    assert figure.series[1].y[0] > figure.series[1].y[-1]


def test_groups_of_one_size_are_not_told_apart_and_a_ranking_of_nothing_is_not_drawn() -> None:
    truth = Truth(np.array([1.0, 0.0] * 10), np.repeat(np.arange(10), 2))
    assert [figure.name for figure in _curves.figures_of_ranking(truth, {"challenger": truth.y})] == [
        "relevance_by_place"
    ]
    assert _curves.figures_of_ranking(Truth(np.zeros(4), np.arange(4)), {"challenger": np.zeros(4)}) == []


def test_several_classes_are_told_by_confidence_and_confusion() -> None:
    prediction = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.2, 0.2]])
    y = np.array([0.0, 1.0, 2.0])
    assert _curves.confusion(y, prediction) == ((1, 0, 0), (0, 1, 0), (1, 0, 0))
    [figure] = _curves.figures_of_several(y, {"challenger": prediction})
    assert figure.series[0].y[-1] == 1


def test_pictures_are_made_of_any_name() -> None:
    hostile = card("$\\frac{\x00$ \u202e漢字")
    assert set(_pictures.pictures(hostile)) == {"roc.png", "ndcg.png", "importance.png"}
    assert all(png.startswith(b"\x89PNG") for png in _pictures.pictures(hostile).values())
