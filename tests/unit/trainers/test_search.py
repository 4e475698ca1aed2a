from __future__ import annotations

import json
from itertools import count
from types import SimpleNamespace

import pytest

from continuous_training.core.errors import DataInvalid
from continuous_training.trainers import Tuning
from continuous_training.trainers._search import Attempt, Range, Search

SPACE = {"x": Range(0.0, 1.0, 0.5), "n": Range(1, 100, 10, log=True)}
ROWS = SimpleNamespace(y_tune=[0.0])


def bowl(parameters) -> Attempt:
    """A loss whose least value lies at x = 0.25, n = 40."""
    x, n = parameters.get("x", 0.5), parameters.get("n", 10)
    n = 10 if n == "auto" else n
    return Attempt((x - 0.25) ** 2 + ((n - 40) / 100) ** 2, f"{x} {n}".encode)


def run(evaluate=bowl, *, given=None, trials=20, seed=3, warm_start=None, time=None, rows=ROWS, clock=None):
    ticks = count()
    search = Search(
        evaluate, SPACE, given or {}, Tuning(trials=trials, time=time), clock or (lambda: float(next(ticks)))
    )
    return search, search.run(rows, seed=seed, trials=None, warm_start=warm_start)


def test_a_search_comes_nearer_to_the_best_parameters():
    search, (best, parameters) = run(trials=40)
    assert best.score < bowl({}).score / 10
    assert best.model() == f"{parameters['x']} {parameters['n']}".encode()
    assert best.score == min(trial["score"] for trial in search.trials)


def test_the_same_seed_searches_the_same_way():
    assert run()[0].trials == run()[0].trials
    assert run()[0].trials != run(seed=4)[0].trials


def test_the_first_trial_is_what_the_model_file_gives_and_the_second_the_champions():
    search, _ = run(given={"x": 0.9, "depth": 3}, warm_start={"x": 0.1, "n": 5, "rounds": 70, "depth": 9})
    assert search.trials[0]["parameters"] == {"x": 0.9, "depth": 3}
    assert search.trials[1]["parameters"] == {"x": 0.1, "n": 5, "depth": 3}
    assert len(search.trials) == 20


def test_a_champion_like_the_model_file_costs_no_trial():
    search, _ = run(given={"x": 0.9}, warm_start={"x": 0.9}, trials=2)
    assert search.trials[1]["parameters"] != {"x": 0.9}


def test_parameters_outside_the_space_are_tried_and_never_searched():
    search, _ = run(given={"x": 7.0, "n": "auto", "depth": 3})
    assert search.trials[0]["parameters"]["x"] == 7.0
    assert {trial["parameters"]["depth"] for trial in search.trials} == {3}
    assert all(0 <= trial["parameters"]["x"] <= 1 for trial in search.trials[1:])
    assert all(isinstance(trial["parameters"]["n"], int) for trial in search.trials[1:])


@pytest.mark.parametrize("trials", [0, 1])
def test_without_trials_there_is_one(trials):
    search, (_, parameters) = run(trials=trials, given={"x": 0.9}, warm_start={"x": 0.1})
    assert len(search.trials) == 1
    assert parameters == {"x": 0.9}


def test_the_number_of_trials_can_be_set_for_one_run():
    search = Search(bowl, SPACE, {}, Tuning(trials=20))
    search.run(ROWS, seed=1, trials=4, warm_start=None)
    assert len(search.trials) == 4


def test_no_trial_starts_after_the_time_is_over_and_the_first_always_does():
    assert len(run(time="5 seconds")[0].trials) == 5  # the clock ticks once before each trial
    assert len(run(time="0 seconds", warm_start={"x": 0.1})[0].trials) == 1


def test_of_equal_trials_the_earliest_is_chosen():
    _, (_, parameters) = run(lambda _: Attempt(1.0, bytes), given={"x": 0.9})
    assert parameters == {"x": 0.9}


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_trial_without_a_score_is_never_the_best(broken):
    def evaluate(parameters) -> Attempt:
        return bowl(parameters) if parameters else Attempt(broken, bytes)

    search, (best, _) = run(evaluate)
    assert search.trials[0]["score"] is None
    assert best.score < 1
    json.dumps(search.trials, allow_nan=False)


def test_when_no_trial_has_a_score_the_given_parameters_are_kept():
    _, (_, parameters) = run(lambda _: Attempt(float("nan"), bytes), given={"x": 0.9})
    assert parameters == {"x": 0.9}


def test_a_search_needs_rows_to_compare_on():
    with pytest.raises(DataInvalid, match="20 trials need tune rows"):
        run(rows=SimpleNamespace(y_tune=[]))
    assert run(rows=SimpleNamespace(y_tune=[]), trials=1)
