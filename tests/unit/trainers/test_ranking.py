from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from continuous_training import performance
from continuous_training.core.errors import ArtefactCorrupt, DataInvalid, SpecError
from continuous_training.metrics import BUILT_IN
from continuous_training.trainers import AnyTrainer, Ranking, TrainingData

GROUPS, SIZE = 120, 15


def rows(seed: int = 0) -> TrainingData:
    """Two columns that matter, one of noise with gaps, and a category; the best rows of each group are relevant."""
    random = np.random.default_rng(seed)
    x = np.column_stack([random.normal(size=(GROUPS * SIZE, 3)), random.integers(0, 4, GROUPS * SIZE)])
    signal = x[:, 0] + 0.5 * x[:, 1] + (x[:, 3] == 2) + random.gumbel(scale=0.4, size=len(x))
    place = (-signal.reshape(GROUPS, SIZE)).argsort(axis=1).argsort(axis=1).ravel()
    y = np.select([place == 0, place < 3], [2.0, 1.0], 0.0)
    x[::7, 2] = np.nan
    train = 80 * SIZE
    sizes = np.full(GROUPS, SIZE)
    return TrainingData(
        x[:train],
        y[:train],
        x[train:],
        y[train:],
        ("a", "b", "c", "d"),
        (3,),
        0,
        train_groups=sizes[:80],
        tune_groups=sizes[80:],
    )


def small(**fields) -> Ranking:
    return Ranking(**{"rounds": 40, "threads": 1, **fields})


def ndcg(trainer: Ranking, model: bytes, data: TrainingData, folder) -> float:
    (folder / trainer.file).write_bytes(model)
    score = trainer.load(folder / trainer.file).predict(data.x_tune)
    assert score.shape == data.y_tune.shape
    groups = np.repeat(np.arange(len(data.tune_groups)), data.tune_groups)
    found = performance.estimate(
        BUILT_IN["ndcg_at_10"], data.y_tune, score, groups=groups, confidence=0.95, resamples=100, seed=7
    )
    return found.value


def test_it_learns_to_put_the_relevant_rows_first_and_counts_as_lightgbm_does(tmp_path):
    data = rows()
    fitted = small().fit(data, seed=7)
    found = ndcg(small(), fitted.model, data, tmp_path)
    assert found > 0.8
    assert fitted.trials[0]["ndcg@10"] == pytest.approx(found, abs=0.005)  # we do not depend on the order of ties
    assert fitted.trials[0]["score"] == -fitted.trials[0]["ndcg@10"]


@pytest.mark.parametrize("parameters", [{}, {"objective": "rank_xendcg"}, {"lambdarank_truncation_level": 10}])
def test_the_same_rows_and_seed_give_the_same_bytes(parameters):
    trainer = small(parameters=parameters, tuning={"trials": 2})
    assert trainer.fit(rows(), seed=7) == trainer.fit(rows(), seed=7)


def test_where_a_group_ends_matters():
    data = rows()
    other = replace(data, train_groups=np.full(40, 2 * SIZE))
    assert small().fit(other, seed=7).model != small().fit(data, seed=7).model


def test_a_search_is_never_worse_on_the_tune_groups(tmp_path):
    data = rows()
    once, tuned = (small().fit(data, seed=7, trials=trials) for trials in (1, 4))
    assert len(tuned.trials) == 4
    assert ndcg(small(), tuned.model, data, tmp_path) >= ndcg(small(), once.model, data, tmp_path) - 1e-12


def test_rows_without_groups_are_refused():
    with pytest.raises(SpecError, match="LightGBM refused"):
        small().fit(replace(rows(), train_groups=None, tune_groups=None), seed=7)


@pytest.mark.parametrize("groups", [[SIZE] * 79, [SIZE] * 81])
def test_groups_that_do_not_add_up_to_the_rows_are_refused(groups):
    with pytest.raises((SpecError, DataInvalid)):
        small().fit(replace(rows(), train_groups=np.array(groups)), seed=7)


def test_a_search_without_tune_groups_is_refused():
    data = rows()
    empty = replace(data, x_tune=data.x_tune[:0], y_tune=data.y_tune[:0], tune_groups=data.tune_groups[:0])
    with pytest.raises(DataInvalid, match="3 trials need tune rows"):
        small().fit(empty, seed=7, trials=3)
    assert small(rounds=5).fit(empty, seed=7).parameters == {"rounds": 5}


@pytest.mark.parametrize(("name", "value"), [("objective", "binary"), ("metric", "auc")])
def test_what_does_not_rank_is_refused(name, value):
    trainer = small(parameters={name: value})
    with pytest.raises(ValueError, match=f"{name}: '{value}' is not for ranking; allowed: "):
        trainer.check("ranking")
    with pytest.raises(SpecError, match=r"is not for ranking; .*a retry gives the same"):
        trainer.fit(rows(), seed=7)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_it_learns_nothing_but_rankings(kind):
    small().check("ranking")
    with pytest.raises(ValueError, match=rf"ranking does not learn {kind}; write task: {{kind: ranking}}"):
        small().check(kind)


def test_a_trainer_survives_its_journey_as_json():
    trainer = small(parameters={"metric": "map"})
    assert TypeAdapter(AnyTrainer).validate_json(trainer.model_dump_json()) == trainer


def test_a_damaged_file_is_refused(tmp_path):
    model = small(rounds=3).fit(rows(), seed=7).model
    (tmp_path / "model.txt").write_bytes(model[: len(model) // 2])
    with pytest.raises(ArtefactCorrupt, match=r"model.txt is not a LightGBM model"):
        small().load(tmp_path / "model.txt")
