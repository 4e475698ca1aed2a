"""Training rows are weighed, or labelled otherwise, so that groups of people are treated more alike on rows nobody has seen."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import credit_risk
import landing
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continuous_training.core.errors import DataInvalid, MissingExtra
from continuous_training.trainers import Ensemble, LightGBM, Ranking, Sklearn, TrainingData
from continuous_training.trainers.base import Trainer
from continuous_training.trainers.mitigation import Balanced, Reduction, Reweighing

GROUPS_AND_LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=200)
NUMERIC = ["income", "amount", "debt_ratio", "years_with_bank"]
TREES: dict[str, Any] = {"kind": "lightgbm", "rounds": 40, "threads": 1, "parameters": {"num_leaves": 15}}
LINEAR: dict[str, Any] = {"kind": "sklearn", "estimator": "LogisticRegression"}


class Bank:
    """Three months of loans, and what a model decides on the next three weeks."""

    def __init__(self) -> None:
        loans = landing.rows(partial(credit_risk.applications, events={}), "2024-02-01", "2024-05-25")
        self._x, self._y = np.log1p(loans[NUMERIC].to_numpy(float)), loans["late"].to_numpy(float)
        self._people = (loans["sex"] == "f").to_numpy().astype(int)
        self._seen = (loans["applied_at"] < pd.Timestamp("2024-05-04", tz="UTC")).to_numpy()

    @property
    def data(self) -> TrainingData:
        none = self._x[:0], self._y[:0]
        return TrainingData(self._x[self._seen], self._y[self._seen], *none, tuple(NUMERIC), (), 2)

    def difference(self, trainer: Trainer, folder: Path) -> tuple[float, float, bytes]:
        """Return the demographic parity difference and the accuracy on unseen rows, and the model's bytes."""
        mitigation = trainer.mitigation
        fitted = (
            trainer.fit(self.data, seed=7)
            if mitigation is None
            else mitigation.fit(trainer, self.data, self._people[self._seen], seed=7)
        )
        file = folder / trainer.file
        file.write_bytes(fitted.model)
        decided = trainer.load(file).predict(self._x[~self._seen]).argmax(axis=1)
        women = self._people[~self._seen] == 1
        return decided[women].mean() - decided[~women].mean(), (decided == self._y[~self._seen]).mean(), fitted.model


@pytest.fixture(scope="module")
def bank() -> Bank:
    return Bank()


def trainer(settings: dict[str, Any], mitigation: dict[str, Any] | None) -> Trainer:
    kind = Sklearn if settings["kind"] == "sklearn" else LightGBM
    return kind.model_validate({**settings, "mitigation": mitigation and {"by": "sex", **mitigation}})


@pytest.mark.parametrize("learner", [TREES, LINEAR], ids=["trees", "linear"])
@pytest.mark.parametrize(
    ("mitigation", "at_most"),
    [({"kind": "reweighing"}, 0.7), ({"kind": "reduction", "models": 10}, 0.4)],
    ids=["reweighing", "reduction"],
)
def test_on_unseen_rows_the_bank_treats_women_more_like_men(
    bank: Bank, tmp_path: Path, learner: dict[str, Any], mitigation: dict[str, Any], at_most: float
) -> None:
    before, right, _ = bank.difference(trainer(learner, None), tmp_path)
    after, still_right, model = bank.difference(trainer(learner, mitigation), tmp_path)
    assert before > 0.12
    assert abs(after) < at_most * before
    assert still_right > right - 0.03
    # What serves is the learner's own format, and asks for no more columns than before.
    assert model.startswith(b"tree\n" if learner is TREES else b"PK")


@settings(deadline=None, max_examples=50)
@given(rows=GROUPS_AND_LABELS)
def test_weighed_so_the_label_does_not_depend_on_the_group(rows: list[tuple[int, int]]) -> None:
    people, y = np.array(rows).T
    weights = Reweighing(by="sex").weights(people, y.astype(float))
    whole = [group for group in set(people) if len(set(y[people == group])) == len(set(y))]
    shares = [np.average(y[people == group], weights=weights[people == group]) for group in whole]
    assert shares == pytest.approx([y.mean()] * len(whole))
    if len(whole) == len(set(people)):
        assert weights.mean() == pytest.approx(1)


@settings(deadline=None, max_examples=50)
@given(rows=GROUPS_AND_LABELS)
def test_balanced_so_each_group_counts_as_much(rows: list[tuple[int, int]]) -> None:
    people, y = np.array(rows).T
    weights = Balanced(by="sex").weights(people, y.astype(float))
    sums = [weights[people == group].sum() for group in set(people)]
    assert sums == pytest.approx([len(rows) / len(sums)] * len(sums))


def test_few_rows_of_a_group_weigh_as_much_as_many_of_another(bank: Bank) -> None:
    random = np.random.default_rng(3)
    people = np.repeat([0, 1], [950, 50])
    x = random.normal(size=(1000, 1))
    y = np.where(people == 1, x[:, 0] < 0, x[:, 0] > 0).astype(float)
    data = TrainingData(x, y, x[:0], y[:0], ("x",), (), 2)
    plain, balanced = (trainer(TREES, mitigation) for mitigation in (None, {"kind": "balanced"}))
    assert balanced.mitigation is not None
    assert plain.fit(data, seed=7).model != balanced.mitigation.fit(balanced, data, people, seed=7).model


@pytest.mark.parametrize(
    ("settings", "task", "text"),
    [
        (LightGBM(mitigation=Reweighing(by="sex")), "regression", "reweighing is for classification, not for regression"),
        (Ranking(mitigation=Reduction(by="sex")), "ranking", "reduction is for classification, not for ranking"),
        (Ensemble(mitigation=Reduction(by="sex")), "classification", "reduction takes one model"),
        (LightGBM(mitigation=Balanced(by="sex"), engine={"kind": "dask", "workers": 2}), "classification", "an engine do not weigh rows"),
    ],
)  # fmt: skip
def test_what_a_trainer_cannot_do_is_refused(settings: Trainer, task: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        settings.check(task)


def test_an_ensemble_weighs_the_rows_of_its_new_member(bank: Bank) -> None:
    plain = Ensemble(rounds=5, threads=1)
    weighed = Ensemble(rounds=5, threads=1, mitigation=Reweighing(by="sex"))
    assert weighed.mitigation is not None
    people = np.arange(len(bank.data.y_train)) % 2
    people[bank.data.y_train == 1] = 1
    made = weighed.mitigation.fit(weighed, bank.data, people, seed=7)
    assert made.model != plain.fit(bank.data, seed=7).model


def test_a_reduction_needs_two_classes_and_two_groups(bank: Bank) -> None:
    reducing = trainer(TREES, {"kind": "reduction", "models": 2})
    assert reducing.mitigation is not None
    with pytest.raises(DataInvalid, match="there are 2 classes and 1 groups"):
        reducing.mitigation.fit(reducing, bank.data, np.zeros(len(bank.data.y_train), dtype=int), seed=7)


def test_without_fairlearn_the_extra_is_named(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    reducing = trainer(TREES, {"kind": "reduction"})
    assert reducing.mitigation is not None
    monkeypatch.delattr("continuous_training.trainers._reduction", raising=False)
    monkeypatch.setitem(sys.modules, "continuous_training.trainers._reduction", None)
    with pytest.raises(MissingExtra, match=r"airflow-provider-continuous-training\[fairness\]"):
        reducing.mitigation.fit(reducing, bank.data, np.zeros(len(bank.data.y_train), dtype=int), seed=7)
