"""An ensemble keeps what earlier retrainings learned, as far as the newest rows agree with it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import small_deployment
from continuous_training.core.errors import ArtefactCorrupt, UsageError
from continuous_training.core.run import Run, StepResult
from continuous_training.core.task import Features
from continuous_training.trainers import Cleaning, Ensemble, LightGBM, Preparation, TrainingData
from continuous_training.trainers.bundle import load_bundle
from small_deployment import NOW, Deployment

NAMES = ("a", "b", "c", "d", "e", "f")


def small(**fields) -> Ensemble:
    return Ensemble(**{"rounds": 20, "threads": 1, **fields})


def content(fitted) -> dict:
    return json.loads(fitted.model)


def weights(fitted) -> list[float]:
    return [member["weight"] for member in content(fitted)["members"]]


def texts(fitted) -> list[str]:
    return [member["model"] for member in content(fitted)["members"]]


def numbers(classes: int, seed: int, *, sign: float = 1.0, rows: int = 400) -> TrainingData:
    """Two columns of which the first decides: the other way round when `sign` is -1."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 2))
    signal = sign * x[:, 0] + 0.3 * random.normal(size=rows)
    y = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)) if classes else 3 * signal + 5
    y, train = y.astype(np.float64), rows * 3 // 4
    return TrainingData(x[:train], y[:train], x[train:], y[train:], ("a", "b"), (), classes)


@pytest.fixture
def retrain(tmp_path):
    """Return a function that goes on from a champion, as the next retraining does."""

    def fit(trainer, data, champion=None, seed=1):
        if champion is not None:
            path = tmp_path / "champion.json"
            path.write_bytes(champion.model)
            data = replace(data, champion=path)
        return trainer.fit(data, seed=seed)

    return fit


@pytest.fixture
def predict(tmp_path):
    def answer(trainer, fitted, x):
        path = tmp_path / trainer.file
        path.write_bytes(fitted.model)
        return trainer.load(path).predict(x)

    return answer


# Members


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_without_a_champion_it_is_the_one_model_that_lightgbm_makes(classes, retrain, predict):
    data, alone = numbers(classes, 0), LightGBM(rounds=20, threads=1)
    fitted, single = retrain(small(), data), alone.fit(data, seed=1)
    assert (texts(fitted), weights(fitted)) == ([single.model.decode()], [1.0])
    assert (fitted.parameters, fitted.trials) == (single.parameters, single.trials)
    np.testing.assert_array_equal(predict(small(), fitted, data.x_tune), predict(alone, single, data.x_tune))


def test_each_retraining_adds_one_member_before_the_others_until_the_lightest_has_to_go(retrain):
    made = [retrain(small(members=3), numbers(2, 0))]
    for seed in range(1, 6):
        made.append(retrain(small(members=3), numbers(2, seed), made[-1]))
    assert [len(texts(fitted)) for fitted in made] == [1, 2, 3, 3, 3, 3]
    for before, after in pairwise(made):
        newest, *kept = texts(after)
        assert newest not in texts(before)
        assert kept == [text for text in texts(before) if text in kept], "the kept ones stay in their order"
    everyone = retrain(small(members=4), numbers(2, 5), made[-2])
    lightest = min(range(1, 4), key=weights(everyone).__getitem__)
    assert texts(made[-1]) == [text for place, text in enumerate(texts(everyone)) if place != lightest]


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_members_weigh_as_the_accuracy_updated_ensemble_says(classes, retrain, predict):
    champion = retrain(small(), numbers(classes, 0))
    data = numbers(classes, 1)
    fitted = retrain(small(), data, champion)
    old, y = predict(small(), champion, data.x_tune), data.y_tune
    if classes:
        shares = [np.mean(y == number) for number in range(classes)]
        ignorance = sum(share * (1 - share) ** 2 for share in shares)
        error = np.mean([(1 - row[int(label)]) ** 2 for row, label in zip(old, y, strict=True)])
    else:
        ignorance, error = np.mean((y - y.mean()) ** 2), np.mean((y - old) ** 2)
    assert 0 < error < ignorance
    new, other = weights(fitted)
    assert new / other == pytest.approx((ignorance + error) / ignorance)
    assert new + other == pytest.approx(1)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_the_answer_is_the_weighted_mean_of_the_members(classes, retrain, predict):
    champion = retrain(small(), numbers(classes, 0))
    data = numbers(classes, 1)
    fitted = retrain(small(), data, champion)
    alone = LightGBM(rounds=20, threads=1)
    parts = [predict(alone, replace(fitted, model=text.encode()), data.x_tune) for text in texts(fitted)]
    expected = sum(weight * part for weight, part in zip(weights(fitted), parts, strict=True))
    assert np.abs(parts[0] - parts[1]).max() > 0.01
    np.testing.assert_allclose(predict(small(), fitted, data.x_tune), expected, rtol=1e-12)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_member_that_does_no_better_than_a_guess_is_kept_without_a_vote_and_heard_when_its_concept_is_back(
    classes, retrain, predict
):
    first = retrain(small(), numbers(classes, 0))
    turned = retrain(small(), numbers(classes, 1, sign=-1), first)
    assert weights(turned) == [1.0, 0.0]
    new = replace(turned, model=texts(turned)[0].encode())
    x = numbers(classes, 9).x_tune
    np.testing.assert_array_equal(predict(small(), turned, x), predict(LightGBM(rounds=20, threads=1), new, x))
    back = retrain(small(), numbers(classes, 2), turned)
    assert texts(back)[1:] == texts(turned)
    assert [weight > 0 for weight in weights(back)] == [True, False, True]


def test_of_two_members_without_a_vote_the_older_goes(retrain):
    made = [retrain(small(), numbers(2, 0)), retrain(small(), numbers(2, 1))]
    path = numbers(2, 2, sign=-1)
    both = retrain(small(), numbers(2, 1), made[0])
    turned = retrain(small(members=2), path, both)
    assert texts(turned)[1:] == texts(both)[:1]


def test_one_member_alone_forgets_all_others(retrain):
    fitted = retrain(small(members=1), numbers(2, 1), retrain(small(), numbers(2, 0)))
    assert weights(fitted) == [1.0]


def test_the_same_rows_and_champion_give_the_same_bytes(retrain):
    champion = retrain(small(), numbers(2, 0))
    assert retrain(small(), numbers(2, 1), champion) == retrain(small(), numbers(2, 1), champion)


# Rows


def test_a_member_beside_others_is_fitted_on_the_newest_train_rows(retrain):
    data, champion = numbers(2, 1), retrain(small(), numbers(2, 0))
    fitted = retrain(small(newest=0.4), data, champion)
    newest = replace(data, x_train=data.x_train[180:], y_train=data.y_train[180:])
    assert texts(fitted)[0] == LightGBM(rounds=20, threads=1).fit(newest, seed=1).model.decode()
    whole = retrain(small(newest=1.0), data, champion)
    assert texts(whole)[0] == LightGBM(rounds=20, threads=1).fit(data, seed=1).model.decode()


def test_as_many_more_rows_are_taken_as_it_takes_to_see_every_class(retrain):
    data, champion = numbers(3, 1), retrain(small(), numbers(3, 0))
    y = data.y_train.copy()
    y[20:][y[20:] == 1] = 0
    y[19] = 1
    fitted = retrain(small(newest=0.1), replace(data, y_train=y), champion)
    seen = replace(data, x_train=data.x_train[19:], y_train=y[19:])
    assert texts(fitted)[0] == LightGBM(rounds=20, threads=1).fit(seen, seed=1).model.decode()


def test_without_tune_rows_nobody_can_be_judged_and_the_new_member_stands_alone(retrain):
    data = numbers(2, 1)
    blind = replace(data, x_tune=data.x_tune[:0], y_tune=data.y_tune[:0])
    assert weights(retrain(small(), blind, retrain(small(), numbers(2, 0)))) == [1.0]


@pytest.mark.parametrize("classes", [0, 2])
def test_tune_rows_of_one_label_give_the_vote_to_the_new_member(classes, retrain):
    data = numbers(classes, 1)
    same = replace(data, y_tune=np.full_like(data.y_tune, data.y_train[0]))
    assert weights(retrain(small(), same, retrain(small(), numbers(classes, 0)))) == [1.0, 0.0]


# Columns and categories

WIND = {"AA": -2.0, "B6": -1.0, "DL": 1.0, "UA": 2.0}


def flights(carriers: str, seed: int, rows: int = 600) -> pd.DataFrame:
    """Rows whose label depends on the carrier, by name, and on the hour."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"hour": random.normal(size=rows), "carrier": random.choice(carriers.split(), rows)})
    frame["gate"] = random.choice(["x", "y"], rows)
    frame["y"] = frame["carrier"].map(WIND) + frame["hour"] + 0.2 * random.normal(size=rows)
    return frame


def prepared(frame: pd.DataFrame, features: Features) -> tuple[Preparation, TrainingData]:
    preparation = Preparation.fit(frame, features, Cleaning())
    x, y = preparation.transform(frame), frame["y"].to_numpy()
    return preparation, TrainingData(
        x[:450], y[:450], x[450:], y[450:], features.columns, preparation.categorical, 0, preparation.categories
    )


FLIGHTS = Features(numeric=("hour",), categorical=("carrier", "gate"))


def member_alone(fitted, place: int):
    """Return the ensemble in which one member has the whole vote."""
    told = content(fitted)
    for number, member in enumerate(told["members"]):
        member["weight"] = float(number == place)
    return replace(fitted, model=json.dumps(told).encode())


def test_a_member_reads_categories_by_name_whatever_their_codes_are_now(retrain, predict):
    old, old_data = prepared(flights("AA DL UA", 0), FLIGHTS)
    new, new_data = prepared(flights("AA B6 DL UA", 1), FLIGHTS)
    assert old.categories["carrier"].index("UA") != new.categories["carrier"].index("UA")
    champion = retrain(small(), old_data)
    fitted = retrain(small(), new_data, champion)
    known = {text: text for text in ("AA", "DL", "UA", None)}
    for text, meant in {**known, "B6": "never seen", "XX": "never seen"}.items():
        row = {"hour": [0.3], "carrier": [text], "gate": ["y"]}
        seen = predict(small(), member_alone(fitted, 1), new.transform(row))
        assert seen == predict(small(), champion, old.transform({**row, "carrier": [meant]}))
    row = {"hour": [0.3], "carrier": ["UA"], "gate": ["y"]}
    assert predict(small(), champion, new.transform(row)) != predict(small(), champion, old.transform(row))


def test_a_category_that_was_gone_for_a_while_is_known_again(retrain, predict):
    first, data = prepared(flights("AA DL UA", 0), FLIGHTS)
    made = retrain(small(), data)
    champion = retrain(small(), prepared(flights("B6 DL", 1), FLIGHTS)[1], made)
    new, data = prepared(flights("AA B6 DL UA", 2), FLIGHTS)
    fitted = retrain(small(), data, champion)
    for carrier in ("AA", "DL", "UA"):
        row = {"hour": [0.3], "carrier": [carrier], "gate": ["y"]}
        assert predict(small(), member_alone(fitted, 2), new.transform(row)) == predict(
            small(), made, first.transform(row)
        )


@pytest.mark.parametrize(
    "features",
    [
        Features(numeric=("hour",), categorical=("gate", "carrier")),
        Features(numeric=("delay", "hour"), categorical=("carrier", "gate")),
    ],
    ids=["another order", "a new column"],
)
def test_a_member_finds_its_columns_by_name(features, retrain, predict):
    old, old_data = prepared(flights("AA DL UA", 0), FLIGHTS)
    frame = flights("AA DL UA", 1).assign(delay=0.5)
    new, new_data = prepared(frame, features)
    champion = retrain(small(), old_data)
    fitted = retrain(small(), new_data, champion)
    assert weights(fitted)[1] > 0.3
    np.testing.assert_array_equal(
        predict(small(), member_alone(fitted, 1), new.transform(frame)),
        predict(small(), champion, old.transform(frame)),
    )


@pytest.mark.parametrize(
    "features",
    [Features(categorical=("carrier", "gate")), Features(categorical=("carrier", "gate", "hour"))],
    ids=["gone", "another type"],
)
def test_a_column_that_is_gone_or_changed_its_type_is_missing_to_the_members_that_know_it(features, retrain, predict):
    old, old_data = prepared(flights("AA DL UA", 0), FLIGHTS)
    frame = flights("AA DL UA", 1)
    frame["hour"] = frame["hour"].round()
    new, new_data = prepared(frame, features)
    champion = retrain(small(), old_data)
    fitted = retrain(small(), new_data, champion)
    np.testing.assert_array_equal(
        predict(small(), member_alone(fitted, 1), new.transform(frame)),
        predict(small(), champion, old.transform(frame.assign(hour=np.nan))),
    )


def test_codes_that_nobody_can_translate_are_refused(retrain):
    _, data = prepared(flights("AA DL UA", 0), FLIGHTS)
    champion = retrain(small(), data)
    with pytest.raises(UsageError, match=r"TrainingData.categories says what the codes .* stand for"):
        retrain(small(), replace(data, categories={}), champion)


# The file


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format: Input should be 1"),
        ({"members": []}, "members: Tuple should have at least 1 item"),
        ({"pickle": "x"}, "pickle: Extra inputs are not permitted"),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_place(change, message, retrain, tmp_path):
    path = tmp_path / "model.json"
    path.write_text(json.dumps({**content(retrain(small(), numbers(2, 0))), **change}))
    with pytest.raises(ArtefactCorrupt, match=f"model.json is not a model: {message}.*; train again"):
        small().load(path)


def test_half_a_member_is_refused_before_lightgbm_sees_it(retrain, tmp_path):
    told = content(retrain(small(), numbers(2, 0)))
    told["members"][0]["model"] = told["members"][0]["model"][:500]
    path = tmp_path / "model.json"
    path.write_text(json.dumps(told))
    with pytest.raises(ArtefactCorrupt, match=r"a member of model.json is not a LightGBM model.*train again"):
        small().load(path)


def test_parameters_are_checked_as_those_of_lightgbm():
    with pytest.raises(ValidationError, match=r"did you mean num_leaves\?"):
        Ensemble(parameters={"num_leafs": 31})
    with pytest.raises(ValueError, match="'poisson' is not for classification"):
        Ensemble(parameters={"objective": "poisson"}).check("classification")


# Retrainings of a whole deployment

SPEC = small_deployment.spec(trainer={"kind": "ensemble", "rounds": 8, "threads": 1})


def members(deployment: Deployment, results: dict[str, StepResult]) -> list[str]:
    bundle = deployment.store.fetch_folder(results["train"].outputs["bundle"], deployment.home / "fetched")
    load_bundle(bundle).check_golden()
    return [member["model"] for member in json.loads((bundle / "model.json").read_bytes())["members"]]


def promote(deployment: Deployment, run: Run, results: dict[str, StepResult]) -> None:
    told = {"reason": "test", "verdict": None, "now": NOW, "fence_seen": run.fence, "data_cutoff": run.window.end}
    deployment.ledger.promote("m", run_key=run.key, bundle=results["train"].outputs["bundle"], **told)


def test_a_retraining_goes_on_from_the_champion_through_the_gate_and_repeats_itself_bit_for_bit(tmp_path):
    deployment = Deployment(tmp_path / "home")
    deployment.land(45)
    run, first = deployment.train(SPEC, until="train")
    promote(deployment, run, first)
    deployment.land(65)
    run, second = deployment.train(SPEC, until="evaluate")
    assert len(members(deployment, first)) == 1
    assert members(deployment, second)[1:] == members(deployment, first)
    assert second["evaluate"].facts["verdict"] in {"pass", "fail", "inconclusive"}
    assert second["evaluate"].facts["champion"] > 0.9
    (manifest,) = deployment.home.rglob(f"{run.key}/train.json")
    manifest.unlink()
    again = deployment.step("train", SPEC, run)
    assert not again.reused
    assert again.outputs == second["train"].outputs


def test_a_champion_of_another_kind_or_of_other_classes_is_not_gone_on_from(tmp_path):
    deployment = Deployment(tmp_path / "home")
    deployment.land(45)
    promote(deployment, *deployment.train(small_deployment.spec(), until="train"))
    deployment.land(65)
    run, results = deployment.train(SPEC, until="train")
    assert len(members(deployment, results)) == 1
    promote(deployment, run, results)
    deployment.land(85, lambda rows: rows.assign(late=rows["late"] + (rows["wind"] > 1)))
    assert len(members(deployment, deployment.train(SPEC, until="train")[1])) == 1


# Concept drift

BLOCKS, ROWS = 24, 250


@cache
def stream(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows block after block, all alike; what decides their class changes as `kind` says."""
    random = np.random.default_rng(0)
    x = random.normal(size=(BLOCKS * ROWS, 6))
    block = np.arange(BLOCKS * ROWS) // ROWS
    angle = {"abrupt": block >= BLOCKS // 2, "recurring": block // 8 % 2, "slow": block / BLOCKS, "none": block * 0}[
        kind
    ]
    signal = x[:, 0] * np.cos(np.pi * angle) + x[:, 1] + x[:, 3] * angle + 0.5 * x[:, 4] * x[:, 5]
    return x, (signal + 0.7 * random.normal(size=len(x)) > 0).astype(np.float64)


def accuracy(trainer, kind: str, folder: Path) -> float:
    """Return the share of right answers when each block is answered by the model of the blocks before it."""
    x, y = stream(kind)
    reference, right = 4 * ROWS, []
    path = folder / trainer.file
    champion = None
    for end in range(reference, len(y), ROWS):
        start, train, tune = end - reference, end - reference * 3 // 10, end - reference * 15 // 100
        data = TrainingData(x[start:train], y[start:train], x[train:tune], y[train:tune], NAMES, (), 2)
        path.write_bytes(trainer.fit(replace(data, champion=champion), seed=1).model)
        champion = path if trainer.kind == "ensemble" else None
        right.append((trainer.load(path).predict(x[end : end + ROWS]).argmax(axis=1) == y[end : end + ROWS]).mean())
    return float(np.mean(right))


@pytest.mark.parametrize(("kind", "least"), [("abrupt", 0.005), ("recurring", 0.01), ("none", 0.0), ("slow", -0.02)])
def test_an_ensemble_beats_one_model_of_the_reference_window_unless_the_concept_turns_slowly(kind, least, tmp_path):
    settings = {"rounds": 25, "threads": 1, "parameters": {"num_leaves": 15}}
    one = accuracy(LightGBM(**settings), kind, tmp_path)
    assert accuracy(Ensemble(**settings), kind, tmp_path) > one + least
