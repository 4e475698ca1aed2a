"""What holds for every kind of detector; a kind joins by being named in `AnyDetector`."""

import io
import math
import pickle
from collections.abc import Callable
from functools import reduce
from importlib.util import find_spec
from itertools import pairwise
from operator import add
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from continuous_training.core.errors import DataInvalid, UsageError
from continuous_training.core.scores import DriftScore
from continuous_training.core.task import Features
from continuous_training.detectors import AnyDetector, Detector, Prepared
from continuous_training.detectors.attribution import Attribution
from continuous_training.detectors.base import AlibiTorchDetector, ColumnDetector, JointDetector
from continuous_training.detectors.missing import Missing

ALL_KINDS: list[type[Detector]] = list(get_args(get_args(AnyDetector)[0]))
TORCH_KINDS = [kind for kind in ALL_KINDS if issubclass(kind, AlibiTorchDetector)]
KINDS = [kind for kind in ALL_KINDS if kind not in TORCH_KINDS or find_spec("torch")]
COLUMN_KINDS = [kind for kind in KINDS if issubclass(kind, ColumnDetector)]
JOINT_KINDS = [kind for kind in KINDS if issubclass(kind, JointDetector)]
FEATURES = Features(numeric=("speed", "hour"), categorical=("carrier", "gate"))
OPTIONS = {
    "alibi_fet": {"columns": ("night",)},
    "classifier": {"sample": 600, "trees": 10},
    "alibi_classifier": {"sample": 600},
}

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
every_divided_kind = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in TORCH_KINDS], ids=lambda kind: kind.__name__
)
every_selecting_kind = pytest.mark.parametrize("kind", [*COLUMN_KINDS, *JOINT_KINDS], ids=lambda kind: kind.__name__)
every_column_kind = pytest.mark.parametrize("kind", COLUMN_KINDS, ids=lambda kind: kind.__name__)


def rows(seed: int = 0, count: int = 3000, moved: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    names = ["AA", "UA", "B6", *(f"new {i}" for i in range(8))] if moved else ["AA", "UA", "B6"]
    odds = [0.1, 0.1, 0.24, *[0.07] * 8] if moved else [0.5, 0.3, 0.2]
    frame = pd.DataFrame(
        {
            "speed": rng.normal(2.0 if moved else 0.0, size=count),
            "hour": rng.integers(12 if moved else 0, 24, size=count),
            "carrier": rng.choice(names, count, p=odds),
            "gate": pd.Categorical.from_codes(rng.choice(len(names), count, p=odds), names),
            "error": rng.gamma(4.0 if moved else 2.0, size=count) / 6,
            "night": rng.random(count) < (0.9 if moved else 0.4),
            "attribution:speed": rng.normal(scale=0.5 if moved else 2.0, size=count),
            "attribution:hour": rng.normal(scale=1.0, size=count),
            "attribution:carrier": rng.normal(scale=2.0 if moved else 0.5, size=count),
            "attribution:gate": rng.normal(scale=0.1, size=count),
        },
        index=np.arange(count) + 7,
    )
    return frame.mask(rng.random(frame.shape) < 0.3) if moved else frame


def build(kind: type[Detector], **options: object) -> Detector:
    return kind(**(OPTIONS.get(kind.model_fields["kind"].default, {}) | options))


def measure(kind: type[Detector], reference: pd.DataFrame, current: pd.DataFrame) -> list[DriftScore]:
    detector = build(kind)
    return detector.score(detector.fit(reference, FEATURES), current, FEATURES)


@every_kind
def test_a_window_equal_to_the_reference_is_not_beyond_the_threshold(kind):
    scores = measure(kind, rows(), rows())
    assert [score.exceeded for score in scores] == [False] * len(scores)


@every_kind
def test_new_rows_from_the_same_distribution_are_not_beyond_the_threshold(kind):
    scores = measure(kind, rows(), rows(seed=1, count=1000))
    assert [score.exceeded for score in scores] == [False] * len(scores)


@every_kind
def test_a_big_change_is_beyond_the_threshold_in_every_column(kind):
    scores = measure(kind, rows(), rows(seed=1, count=1000, moved=True))
    assert [score.exceeded for score in scores] == [True] * len(scores)
    assert all(score.effect is not None and score.effect > 0.2 for score in scores)


@every_kind
def test_there_is_one_score_per_column_in_order_with_the_kind_and_sizes(kind):
    scores = measure(kind, rows(), rows(seed=1, count=1000))
    assert [score.column for score in scores] == columns_of(build(kind))
    assert {(s.detector, s.reference_rows, s.current_rows) for s in scores} == {(kind().kind, 3000, 1000)}


def columns_of(detector: Detector) -> list[str | None]:
    if not isinstance(detector, ColumnDetector):
        return [None] if isinstance(detector, JointDetector | Attribution) else ["error"]
    by_type = {"numeric": FEATURES.numeric, "categorical": FEATURES.categorical}
    every = [name for kind, names in by_type.items() if kind in detector.types for name in names]
    return every if detector.columns == "all" else list(detector.columns)


@every_kind
def test_scores_carry_the_name_that_the_model_file_gives(kind):
    detector = build(kind, name="nightly_look")
    scores = detector.score(detector.fit(rows(), FEATURES), rows(seed=1), FEATURES)
    assert {score.detector for score in scores} == {"nightly_look"}
    with pytest.raises(ValidationError, match="should match pattern"):
        kind(name="Nightly look")


def everywhere(value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: pd.DataFrame(value, index=frame.index, columns=frame.columns, dtype=object)


def numbers_become(change: Callable[[pd.Series], object]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.assign(**{name: change(frame[name]) for name in frame if frame[name].dtype.kind in "if"})


def categories_become(change: Callable[[pd.Series], object]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.assign(**{name: change(frame[name]) for name in ("carrier", "gate", "night")})


def read_only(frame: pd.DataFrame) -> pd.DataFrame:
    speed = frame["speed"].to_numpy(copy=True)
    speed.flags.writeable = False
    return frame.assign(speed=pd.Series(speed, index=frame.index, copy=False))


ODD = {
    "no rows": lambda frame: frame.head(0),
    "one row": lambda frame: frame.head(1),
    "a few rows": lambda frame: frame.head(99),
    "enough rows": lambda frame: frame.head(100),
    "nothing but None": everywhere(None),
    "nothing but NaN": everywhere(math.nan),
    "some missing": lambda frame: frame.mask(np.random.default_rng(3).random(frame.shape) < 0.4),
    "nothing but infinity": numbers_become(lambda s: s * 0.0 + math.inf),
    "some infinite": numbers_become(
        lambda s: s.astype(float).where(s.index % 3 != 0, -math.inf).where(s.index % 5 != 0, math.inf)
    ),
    "constant numbers": numbers_become(lambda s: 0.1),
    "constant zeros": numbers_become(lambda s: 0),
    "one category": categories_become(lambda s: "AA"),
    "new categories": categories_become(lambda s: s.index.astype(str) + "*"),
    "categories that are numbers": categories_become(lambda s: s.index % 4),
    "categories of mixed types": categories_become(lambda s: [(1, "1", None, 2.5, True, "")[i % 6] for i in s.index]),
    "categories of odd text": categories_become(
        lambda s: [("", "é", "\x00", "\ud800", "a\nb")[i % 5] for i in s.index]
    ),
    "huge numbers": numbers_become(lambda s: np.where(s.index % 2, 1.7e308, -1.7e308)),
    "tiny numbers": numbers_become(lambda s: np.where(s.index % 2, 5e-324, 0.0)),
    "skewed numbers": numbers_become(lambda s: np.exp(np.linspace(-700, 700, len(s)))),
    "nullable types": lambda frame: frame.convert_dtypes().mask(frame["speed"] > 1),
    "numbers as objects": numbers_become(lambda s: s.astype(object).where(s.index % 2 == 0, None)),
    "booleans": numbers_become(lambda s: s > s.mean()),
    "32 bits": lambda frame: frame.astype({"speed": "float32", "hour": "int8", "error": "float32"}),
    "read only": read_only,
}


@every_kind
@pytest.mark.parametrize("side", ["reference", "current", "both"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_data_gives_numbers_or_an_inconclusive_score_that_says_why(kind, side, odd):
    reference = rows() if side == "current" else ODD[odd](rows())
    current = rows(seed=1, count=800) if side == "reference" else ODD[odd](rows(seed=1, count=800))
    scores = measure(kind, reference, current)
    assert scores
    for score in scores:
        numbers = [score.statistic, score.p_value, score.effect]
        assert all(number is None or math.isfinite(number) for number in numbers)
        assert score.exceeded is not None or score.note
        assert score.p_value is None or 0 <= score.p_value <= 1


@every_kind
@pytest.mark.parametrize("odd", ["no rows", "one row", "a few rows", "nothing but None", "nothing but NaN"])
@pytest.mark.parametrize("side", ["reference", "current"])
def test_too_few_values_on_either_side_are_inconclusive(kind, side, odd):
    frames = {"reference": rows(), "current": rows(seed=1, count=800)}
    frames[side] = ODD[odd](frames[side])
    if kind is Missing and "nothing" in odd:
        pytest.skip("missing values are what it measures")
    scores = measure(kind, **frames)
    assert all(score.exceeded is None for score in scores)
    assert all(f"{side} window" in score.note or "reference has no values" in score.note for score in scores)


@every_kind
def test_as_many_rows_as_asked_for_are_enough(kind):
    detector = build(kind, min_rows=250)
    prepared = detector.fit(rows(), FEATURES)
    assert all(s.exceeded is not None for s in detector.score(prepared, rows(count=250), FEATURES))
    assert all(s.exceeded is None for s in detector.score(prepared, rows(count=249), FEATURES))


def saved(prepared: Prepared) -> Prepared:
    file = io.BytesIO()
    np.savez(file, **prepared)
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


@every_kind
@pytest.mark.parametrize("odd", ["enough rows", "no rows", "categories of odd text", "nothing but NaN"])
def test_the_prepared_reference_survives_a_file_without_pickle(kind, odd):
    detector = build(kind)
    prepared = detector.fit(ODD[odd](rows()), FEATURES)
    assert not [name for name, array in prepared.items() if array.dtype.hasobject]
    current = rows(seed=1, moved=True)
    assert detector.score(saved(prepared), current, FEATURES) == detector.score(prepared, current, FEATURES)


@every_kind
def test_names_of_columns_may_be_anything(kind):
    names = {"speed": "file", "hour": "a/b.c", "carrier": "0.counts", "gate": "Fluß \n"}
    names |= {f"attribution:{old}": f"attribution:{new}" for old, new in names.items()}
    features = Features(numeric=("file", "a/b.c"), categorical=("0.counts", "Fluß \n"))
    detector = build(kind)
    prepared = saved(detector.fit(rows().rename(columns=names), features))
    scores = detector.score(prepared, rows(seed=1).rename(columns=names), features)
    plain = measure(kind, rows(), rows(seed=1))
    assert [score.value for score in scores] == [score.value for score in plain]


def same(one: Prepared, other: Prepared) -> bool:
    return all(np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f") for name in one)


@every_kind
def test_the_same_inputs_give_the_same_numbers(kind):
    reference, current = rows(), rows(seed=1)
    first, second = build(kind).fit(reference, FEATURES), build(kind).fit(reference.copy(), FEATURES)
    assert first.keys() == second.keys()
    assert same(first, second)
    scores = [build(kind).score(prepared, current, FEATURES) for prepared in (first, first, second)]
    assert scores[0] == scores[1] == scores[2]


@every_kind
@pytest.mark.parametrize("odd", ["enough rows", "some missing", "nullable types", "categories of mixed types"])
def test_frames_and_prepared_arrays_are_not_changed(kind, odd):
    reference, current = ODD[odd](rows()), ODD[odd](rows(seed=1))
    copies = reference.copy(deep=True), current.copy(deep=True)
    detector = build(kind)
    prepared = detector.fit(reference, FEATURES)
    before = {name: array.copy() for name, array in prepared.items()}
    detector.score(prepared, current, FEATURES)
    pd.testing.assert_frame_equal(reference, copies[0])
    pd.testing.assert_frame_equal(current, copies[1])
    assert same(prepared, before)


@every_column_kind
def test_the_order_of_rows_does_not_matter(kind):
    reference, current = rows(), rows(seed=1, count=1000)
    shuffled = [frame.sample(frac=1, random_state=0) for frame in (reference, current)]
    assert measure(kind, *shuffled) == measure(kind, reference, current)


@every_column_kind
def test_missing_values_of_one_column_do_not_touch_another(kind):
    reference, current = rows(), rows(seed=1, count=1000)
    holes = reference.assign(speed=math.nan, carrier=None)
    whole = {score.column: score for score in measure(kind, reference, current)}
    for score in measure(kind, holes, current):
        if score.column in ("hour", "gate", "night"):
            assert score == whole[score.column]
        else:
            assert score.exceeded is (True if kind is Missing else None)


ADDING_UP = {"KS", "ChiSquare", "PSI", "Wasserstein", "JensenShannon", "Missing", "NewCategories", "Cardinality"}
every_kind_that_adds_up = pytest.mark.parametrize(
    "kind", [kind for kind in COLUMN_KINDS if kind.__name__ in ADDING_UP], ids=lambda kind: kind.__name__
)
# how a value is tested exactly needs all values; Wasserstein's distance is exact only where the functions do not cross
IN_PARTS = {"ks": {"method": "asymptotic"}}
CLOSE = {"wasserstein": 0.01}


def in_parts(detector: Detector, prepared: Prepared, frames) -> list[DriftScore]:
    return detector.measure_slices(
        prepared, reduce(add, [detector.tally_slices(prepared, frame, FEATURES) for frame in frames]), FEATURES
    )


def agree(one: list[DriftScore], other: list[DriftScore], within: float) -> bool:
    numbers = ("statistic", "effect", "p_value")
    blank = dict.fromkeys(numbers)
    return [score.model_copy(update=blank) for score in one] == [
        score.model_copy(update=blank) for score in other
    ] and all(
        getattr(a, name) is getattr(b, name)
        or getattr(a, name) == pytest.approx(getattr(b, name), rel=within, abs=1e-12)
        for a, b in zip(one, other, strict=True)
        for name in numbers
    )


@every_kind_that_adds_up
@pytest.mark.parametrize("by", [None, "carrier"])
@pytest.mark.parametrize("odd", ["enough rows", "some missing", "categories that are numbers", "no rows"])
def test_a_window_read_in_parts_gives_the_scores_of_the_whole(kind, odd, by):
    name = kind.model_fields["kind"].default
    detector = build(kind, by=by, **IN_PARTS.get(name, {}))
    prepared = detector.fit_slices(rows(count=4000), FEATURES)
    current = ODD[odd](rows(seed=1, moved=True))
    cuts = sorted(np.random.default_rng(0).integers(0, len(current) + 1, 4))
    parts = [current.iloc[start:end] for start, end in pairwise([0, *cuts, len(current)])]
    whole = detector.score_slices(prepared, current, FEATURES)
    found = in_parts(detector, prepared, parts)
    assert agree(found, whole, CLOSE.get(name, 1e-9))
    assert agree(found, in_parts(detector, prepared, parts[::-1]), 1e-9)


@every_kind
def test_a_tally_does_not_grow_with_rows_and_where_there_is_none_the_kind_says_so(kind):
    detector = build(kind)
    prepared = detector.fit(rows(), FEATURES)
    tallies = [detector.tally(prepared, rows(count=count, seed=1), FEATURES) for count in (1000, 20_000)]
    assert [tally is not None for tally in tallies] == [kind.__name__ in ADDING_UP] * 2
    assert len(pickle.dumps(tallies[1])) < 1.2 * len(pickle.dumps(tallies[0])) + 100


@every_selecting_kind
def test_a_feature_that_is_not_in_the_data_is_named_with_those_that_are(kind):
    column = {"numeric": "speed", "categorical": "carrier"}[max(kind.types)]
    detector = build(kind, columns=(column,))
    prepared = detector.fit(rows(), FEATURES)
    with pytest.raises(DataInvalid, match=rf"{column}.*columns of the data are error;.*retry gives the same"):
        detector.fit(rows()[["error"]], FEATURES)
    with pytest.raises(DataInvalid, match="columns of the data are error"):
        detector.score(prepared, rows()[["error"]], FEATURES)


def with_computed(frame: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(len(frame))
    number, name = rng.random(len(frame)), rng.choice(["no", "yes"], len(frame))
    return frame.assign(prediction=number, delayed=name)


@every_selecting_kind
@pytest.mark.parametrize("gone", ["absent", "empty"])
@pytest.mark.parametrize("side", ["reference", "current"])
def test_a_label_or_prediction_that_is_not_there_is_inconclusive_and_says_so(kind, side, gone):
    column = "prediction" if "numeric" in kind.types else "delayed"
    detector = build(kind, columns=(column,))
    frames = {"reference": with_computed(rows()), "current": with_computed(rows(seed=1))}
    prepared = detector.fit(frames["reference"], FEATURES)
    [score] = detector.score(prepared, frames["current"], FEATURES)
    assert (score.exceeded, score.note) == (False, "")
    frames[side] = frames[side].drop(columns=column) if gone == "absent" else frames[side].assign(**{column: None})
    [score] = detector.score(detector.fit(frames["reference"], FEATURES), frames["current"], FEATURES)
    if kind is Missing and column in frames[side]:
        assert score.exceeded is True
    else:
        assert score.exceeded is None
        assert f"{side} window" in score.note


@pytest.mark.parametrize("kind", TORCH_KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed")
def test_a_kind_that_needs_pytorch_names_the_extra_to_install(kind):
    with pytest.raises(ImportError, match=r"pip install 'airflow-provider-continuous-training\[torch\]'.*mmd"):
        kind().fit(rows(), FEATURES)


@every_selecting_kind
def test_a_reference_prepared_for_other_columns_is_refused(kind):
    column = {"numeric": "speed", "categorical": "carrier"}[min(kind.types)]
    prepared = build(kind, columns=(column,)).fit(rows(), FEATURES)
    with pytest.raises(UsageError, match="prepare the reference again"):
        build(kind, columns="all").score(prepared, rows(), FEATURES)


@pytest.mark.parametrize(
    "kind", [kind for kind in [*COLUMN_KINDS, *TORCH_KINDS] if kind in KINDS and len(kind.types) == 1]
)
def test_a_model_without_fitting_features_gives_one_inconclusive_score(kind):
    other = Features(categorical=("carrier",)) if kind.types == {"numeric"} else Features(numeric=("speed",))
    detector = build(kind, columns="all")
    [score] = detector.score(detector.fit(rows(), other), rows(seed=1), other)
    assert score.column is None
    assert score.exceeded is None
    assert "features" in score.note


@every_selecting_kind
@pytest.mark.parametrize("columns", [(), ("speed", "speed")])
def test_columns_are_named_once(kind, columns):
    with pytest.raises(ValidationError, match="name each column once, or write all"):
        kind(columns=columns)


@every_kind
def test_a_kind_is_read_from_its_name_and_takes_no_unknown_field(kind):
    reader: TypeAdapter[Detector] = TypeAdapter(AnyDetector)
    name = kind().kind
    assert reader.validate_python({"kind": name}) == kind()
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        reader.validate_python({"kind": name, "bin": 3})


@every_kind
def test_every_field_is_described_for_users(kind):
    assert [name for name, field in kind.model_fields.items() if name != "kind" and not field.description] == []


@every_divided_kind
def test_with_one_value_in_the_column_of_by_scores_are_those_without_it(kind):
    now = rows(seed=1, count=1000, moved=True)
    divided, whole = build(kind, by="region"), build(kind)
    prepared = saved(divided.fit_slices(rows().assign(region="north"), FEATURES))
    found = divided.score_slices(prepared, now.assign(region="north"), FEATURES)
    assert {score.slice for score in found} == {"region=north"}
    expected = whole.score_slices(whole.fit_slices(rows(), FEATURES), now, FEATURES)
    assert [score.model_copy(update={"slice": ""}) for score in found] == expected


@every_divided_kind
def test_a_value_of_by_that_is_gone_or_new_is_inconclusive_with_a_note(kind):
    detector = build(kind, by="region")
    prepared = saved(detector.fit_slices(rows().assign(region="gone"), FEATURES))
    found = detector.score_slices(prepared, rows(seed=1).assign(region="new"), FEATURES)
    assert {score.exceeded for score in found} == {None}
    assert all(score.note.startswith("region=gone: ") for score in found[:-1])
    assert (found[-1].slice, found[-1].note) == ("", "region has values that were not kept of the reference: new")


@every_divided_kind
def test_a_window_without_rows_and_a_reference_without_rows_have_no_value_of_by(kind):
    detector = build(kind, by="region")
    prepared = saved(detector.fit_slices(rows().assign(region="north").head(0), FEATURES))
    (score,) = detector.score_slices(prepared, rows().assign(region="north").head(0), FEATURES)
    assert (score.exceeded, score.note) == (
        None,
        f"no value of region has {detector.min_rows} rows in the reference",
    )


@pytest.mark.parametrize("kind", [kind for kind in ALL_KINDS if issubclass(kind, AlibiTorchDetector)])
def test_a_test_by_permutations_cannot_be_divided(kind):
    with pytest.raises(ValidationError, match="cannot be small enough for many values at once"):
        build(kind, by="region")
