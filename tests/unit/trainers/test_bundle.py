from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from decimal import Decimal
from functools import cache

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from continuous_training.core.errors import ArtefactCorrupt, DataInvalid, DeploymentFailed
from continuous_training.core.task import Features, Task
from continuous_training.trainers import Cleaning, Ensemble, LightGBM, Preparation, Sklearn, TrainingData, encode_label
from continuous_training.trainers.bundle import GOLDEN_ROWS, Manifest, load_bundle, make_bundle

FLIGHTS = Features(numeric=("distance", "hour"), categorical=("carrier", "gate"))


def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    distance = random.normal(1000, 300, 300)
    flights = pd.DataFrame(
        {
            "hour": random.integers(0, 24, 300),
            "distance": distance,
            "carrier": random.choice(["AA", "UA", "OO"], 300),
            "gate": random.integers(1, 5, 300).astype(float),
            "late": np.where(distance + 40 * random.normal(size=300) > 1000, "yes", "no"),
            "band": np.digitize(distance, [800, 1200]),
            "delay": distance / 10,
        }
    )
    flights.loc[::7, "distance"] = np.nan
    flights.loc[::11, ["carrier", "gate"]] = None
    return flights


LABELS = {"binary": "late", "multiclass": "band", "regression": "delay"}
TRAINERS = {
    "ensemble": lambda _: Ensemble(rounds=10, threads=1),
    "lightgbm": lambda _: LightGBM(rounds=10, threads=1),
    "sklearn": lambda kind: Sklearn(
        estimator="RandomForestRegressor" if kind == "regression" else "RandomForestClassifier",
        parameters={"n_estimators": 5},
        threads=1,
    ),
}


@cache
def made(trainer_kind: str = "lightgbm", kind: str = "binary") -> dict[str, bytes]:
    rows = frame()
    trainer = TRAINERS[trainer_kind](kind)
    task = Task(kind="regression" if kind == "regression" else "classification", label=LABELS[kind], event_time="at")
    preparation = Preparation.fit(rows[:200], FLIGHTS, Cleaning(rare=5))
    x = preparation.transform(rows)
    y, classes = encode_label(rows[task.label], task)
    data = TrainingData(x[:200], y[:200], x[200:], y[200:], FLIGHTS.columns, preparation.categorical, len(classes))
    manifest = Manifest(model="flights", trainer=trainer, task=task, preparation=preparation, classes=classes)
    return make_bundle(manifest, trainer.fit(data, seed=1), rows)


def write(folder, files=None, **changed):
    """Write a bundle, with files replaced; their digests are made right again unless bundle.json itself is given."""
    files = {**(files or made()), **{name.replace("_", "."): data for name, data in changed.items()}}
    if "bundle_json" not in changed:
        manifest = json.loads(files["bundle.json"])
        manifest["digests"] = {name: hashlib.sha256(files[name]).hexdigest() for name in manifest["digests"]}
        files["bundle.json"] = json.dumps(manifest).encode()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


ALL = [(trainer, kind) for trainer in TRAINERS for kind in LABELS]


@pytest.mark.parametrize(("trainer", "kind"), ALL)
def test_a_bundle_that_was_written_can_be_served(trainer, kind, tmp_path):
    bundle = load_bundle(write(tmp_path, made(trainer, kind)))
    bundle.check_golden()
    assert len(bundle.golden.rows) == GOLDEN_ROWS
    predicted = bundle.predict(frame())
    assert predicted.shape == {"binary": (300, 2), "multiclass": (300, 3), "regression": (300,)}[kind]


@pytest.mark.parametrize(("trainer", "kind"), ALL)
def test_the_same_model_makes_the_same_files(trainer, kind):
    again = made.__wrapped__(trainer, kind)
    assert again == made(trainer, kind)


def test_a_bundle_is_three_files():
    assert sorted(made("ensemble")) == ["bundle.json", "golden.json", "model.json"]
    assert sorted(made("lightgbm")) == ["bundle.json", "golden.json", "model.txt"]
    assert sorted(made("sklearn")) == ["bundle.json", "golden.json", "model.skops"]


def test_two_classes_are_answered_with_the_probability_of_the_second(tmp_path):
    bundle = load_bundle(write(tmp_path))
    assert bundle.manifest.classes == ("no", "yes")
    answers = bundle.answer(frame()[:5])
    assert answers == bundle.predict(frame()[:5])[:, 1].tolist()
    far, near = bundle.answer({"distance": [2000, 100], "hour": [1, 1], "carrier": ["AA", "AA"], "gate": [1, 1]})
    assert far > 0.5 > near


def test_more_classes_are_answered_with_all_probabilities(tmp_path):
    bundle = load_bundle(write(tmp_path, made(kind="multiclass")))
    (answer,) = bundle.answer(frame()[1:2])
    assert len(answer) == 3
    assert sum(answer) == pytest.approx(1)
    json.dumps(answer, allow_nan=False)


def test_a_regression_is_answered_with_its_value(tmp_path):
    (answer,) = load_bundle(write(tmp_path, made(kind="regression"))).answer(frame()[1:2])
    assert isinstance(answer, float)


@pytest.mark.parametrize(("trainer", "kind"), ALL)
def test_no_rows_get_no_answers(trainer, kind, tmp_path):
    bundle = load_bundle(write(tmp_path, made(trainer, kind)))
    assert bundle.answer({name: [] for name in FLIGHTS.columns}) == []
    assert bundle.predict(frame()[:0]).shape == bundle.predict(frame()[:1])[:0].shape


def test_a_wrong_row_is_an_error_of_the_data(tmp_path):
    with pytest.raises(DataInvalid, match="column 'gate' is missing"):
        load_bundle(write(tmp_path)).answer({"distance": [1], "hour": [1], "carrier": ["AA"]})


def test_a_prediction_without_end_is_an_error_of_the_data(tmp_path):
    rows = frame()
    task = Task(kind="regression", label="delay", event_time="at")
    features = Features(numeric=("hour",))
    preparation = Preparation.fit(rows, features, Cleaning())
    x, (y, _) = preparation.transform(rows), encode_label(rows["delay"], task)
    trainer = Sklearn(estimator="PoissonRegressor", threads=1)
    data = TrainingData(x[:200], y[:200] + x[:200, 0], x[200:], y[200:], features.columns, (), 0)
    manifest = Manifest(model="flights", trainer=trainer, task=task, preparation=preparation, classes=())
    bundle = load_bundle(write(tmp_path, make_bundle(manifest, trainer.fit(data, seed=1), rows)))
    with pytest.raises(DataInvalid, match="row 1 has no finite prediction"):
        bundle.answer({"hour": [1, 1e12, 2]})


# Golden rows


def golden(change) -> bytes:
    content = json.loads(made()["golden.json"])
    change(content)
    return json.dumps(content).encode()


def test_golden_rows_are_raw_rows_as_a_client_sends_them():
    content = json.loads(made()["golden.json"])
    assert len(content["rows"]) == len(content["predictions"]) == GOLDEN_ROWS
    row = content["rows"][0]
    assert row == {"distance": None, "hour": int(frame()["hour"][0]), "carrier": None, "gate": None}
    assert {type(row["carrier"]) for row in content["rows"][1:]} <= {str, type(None)}


@pytest.mark.parametrize("kind", LABELS)
def test_a_prediction_that_differs_stops_the_deployment(kind, tmp_path):
    content = json.loads(made(kind=kind)["golden.json"])
    wrong = content["predictions"][3]
    content["predictions"][3] = [wrong[0] + 2e-8, *wrong[1:]] if isinstance(wrong, list) else wrong * (1 + 2e-8)
    bundle = load_bundle(write(tmp_path, made(kind=kind), golden_json=json.dumps(content).encode()))
    with pytest.raises(DeploymentFailed, match=r"golden row 3 of flights: predicted .*, training predicted .*1e-09"):
        bundle.check_golden()


def test_a_difference_in_the_last_bits_is_allowed(tmp_path):
    def nudge(content) -> None:
        content["predictions"] = [value + 1e-12 for value in content["predictions"]]

    load_bundle(write(tmp_path, golden_json=golden(nudge))).check_golden()


def test_a_model_that_cannot_predict_its_golden_rows_stops_the_deployment(tmp_path):
    bundle = load_bundle(write(tmp_path, golden_json=golden(lambda content: content["rows"][0].update(hour="noon"))))
    with pytest.raises(
        DeploymentFailed, match="flights cannot predict its golden rows: column 'hour' must hold numbers"
    ):
        bundle.check_golden()


def test_a_model_for_other_columns_stops_the_deployment(tmp_path):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(100, 2)), np.arange(100.0) % 2
    other = LightGBM(rounds=2, threads=1).fit(TrainingData(x, y, x, y, ("a", "b"), (), 2), seed=1)
    with pytest.raises(DeploymentFailed, match="flights cannot predict its golden rows"):
        load_bundle(write(tmp_path, model_txt=other.model)).check_golden()


def test_without_golden_rows_nothing_is_deployed(tmp_path):
    bundle = load_bundle(write(tmp_path, golden_json=b"{}"))
    with pytest.raises(DeploymentFailed, match="no golden rows"):
        bundle.check_golden()


def test_a_bundle_cannot_be_made_without_rows():
    manifest = Manifest.model_validate_json(made()["bundle.json"])
    fitted = type("Fitted", (), {"model": made()["model.txt"]})
    with pytest.raises(DataInvalid, match="at least one golden row, got none"):
        make_bundle(manifest, fitted, frame()[:0])


def test_values_of_a_database_become_golden_rows_that_predict_the_same(tmp_path):
    manifest = Manifest.model_validate_json(made()["bundle.json"])
    fitted = type("Fitted", (), {"model": made()["model.txt"]})
    rows = {
        "distance": [Decimal("812.5"), None, float("inf"), Decimal("NaN")],
        "hour": pd.array([1, None, 3, 4], dtype="Int64"),
        "carrier": ["AA", np.str_("UA"), None, "new"],
        "gate": [Decimal(2), 3.0, np.int32(4), pd.NA],
    }
    files = make_bundle(manifest, fitted, rows)
    load_bundle(write(tmp_path, files)).check_golden()
    assert json.loads(files["golden.json"])["rows"][0] == {"distance": 812.5, "hour": 1, "carrier": "AA", "gate": 2}


def test_a_few_rows_are_all_golden():
    manifest = Manifest.model_validate_json(made()["bundle.json"])
    fitted = type("Fitted", (), {"model": made()["model.txt"]})
    assert len(json.loads(make_bundle(manifest, fitted, frame()[:3])["golden.json"])["rows"]) == 3


# Bundles that are not what was written


@pytest.mark.parametrize("name", ["model.txt", "golden.json"])
def test_a_changed_file_is_refused(name, tmp_path):
    write(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArtefactCorrupt, match=f"{name} in .* is not what bundle.json names"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["model.txt", "golden.json", "bundle.json"])
def test_a_missing_file_is_refused(name, tmp_path):
    (write(tmp_path) / name).unlink()
    with pytest.raises(ArtefactCorrupt, match=name):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "bundle.json in .* cannot be read: format: Input should be 1; .*another version"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"trainer": {"kind": "pickle"}}, "trainer: Input tag 'pickle'"),
        ({"classes": ["yes"]}, "a classification cannot have 1 classes"),
        ({"digests": {"../../etc/passwd": "0" * 64}}, "model.txt in .* is not what bundle.json names"),
        ({"digests": {"model.txt": "no digest"}}, "digests.model.txt"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(change, message, tmp_path):
    manifest = json.loads(made()["bundle.json"]) | change
    with pytest.raises(ArtefactCorrupt, match=message):
        load_bundle(write(tmp_path, bundle_json=json.dumps(manifest).encode()))


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"not json", b"\xff\xfe", b"[" * 100_000, made()["bundle.json"].replace(b'"rare":5', b'"rare":NaN')],
    ids=["empty", "list", "text", "bytes", "deep", "nan"],
)
def test_a_manifest_that_is_no_json_object_is_refused(text, tmp_path):
    with pytest.raises(ArtefactCorrupt, match=r"bundle.json in .* cannot be read"):
        load_bundle(write(tmp_path, bundle_json=text))


def test_golden_rows_with_too_few_predictions_are_refused(tmp_path):
    with pytest.raises(
        ArtefactCorrupt, match=r"golden.json .* cannot be read: it: Value error, 20 rows have 19 predict"
    ):
        load_bundle(write(tmp_path, golden_json=golden(lambda content: content["predictions"].pop())))


def test_an_enormous_manifest_is_not_even_read(tmp_path, monkeypatch):
    monkeypatch.setattr("continuous_training.trainers.bundle.MOST_BYTES", 100)
    with pytest.raises(ArtefactCorrupt, match=r"bundle.json in .* has over 100 bytes"):
        load_bundle(write(tmp_path))
    with pytest.raises(DataInvalid, match=r"bundle.json would have .* bytes, at most 100 .*raise cleaning.rare"):
        made.__wrapped__()


def test_a_regression_has_no_classes():
    manifest = json.loads(made(kind="regression")["bundle.json"])
    with pytest.raises(ValidationError, match="a regression cannot have 2 classes"):
        Manifest.model_validate_json(json.dumps(manifest | {"classes": [0, 1]}))


# What serving needs

SERVE = """
import sys
from pathlib import Path
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
from continuous_training.trainers.bundle import load_bundle
bundle = load_bundle(Path(sys.argv[1]))
bundle.check_golden()
print(bundle.answer({{"distance": [900.0, None], "hour": [3, 4], "carrier": ["AA", None], "gate": [1, "2"]}}))
"""


@pytest.mark.parametrize(
    ("trainer", "blocked"),
    [
        ("ensemble", ["pandas", "pyarrow", "sklearn", "skops", "optuna", "mlflow", "airflow"]),
        ("lightgbm", ["pandas", "pyarrow", "sklearn", "skops", "optuna", "mlflow", "airflow"]),
        ("sklearn", ["pandas", "pyarrow", "lightgbm", "optuna", "mlflow", "airflow"]),
    ],
)
def test_serving_needs_numpy_and_the_learner_only(trainer, blocked, tmp_path):
    write(tmp_path, made(trainer))
    done = subprocess.run(
        [sys.executable, "-c", SERVE.format(blocked=blocked), tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2


def test_reading_the_settings_of_trainers_loads_no_library():
    code = (
        "import sys, continuous_training.trainers\n"
        "heavy = {'numpy', 'pandas', 'scipy', 'sklearn', 'lightgbm', 'skops', 'optuna'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
