"""The kinds that ask alibi-detect, and our own against it."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from alibi_detect.cd import ChiSquareDrift, CVMDrift, FETDrift, KSDrift, TabularDrift

from continuous_training.core.task import Features
from continuous_training.detectors import (
    KS,
    AlibiChiSquare,
    AlibiClassifier,
    AlibiCVM,
    AlibiFET,
    AlibiKS,
    AlibiTabular,
    ChiSquare,
)

FEATURES = Features(numeric=("x", "y"), categorical=("c", "two"))


def rows(seed: int, count: int, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.normal(shift, size=count),
            "y": rng.integers(0, 24, count),
            "c": rng.choice(9, count),
            "two": rng.random(count) < 0.5 + shift / 2,
        }
    )


def p_values(detector, reference, current):
    return [score.p_value for score in detector.score(detector.fit(reference, FEATURES), current, FEATURES)]


def codes(frame: pd.DataFrame) -> np.ndarray:
    return frame.to_numpy(dtype=np.float64)


@pytest.fixture(params=[(12_000, 3000, 0.0), (12_000, 3000, 0.04), (800, 800, 0.1), (300, 12_000, 0.5)])
def frames(request):
    reference_rows, current_rows, shift = request.param
    return rows(0, reference_rows), rows(1, current_rows, shift)


def test_every_number_of_alibi_tabular_is_that_of_one_detector_over_all_columns(frames):
    reference, current = frames
    whole = TabularDrift(codes(reference), p_val=0.01, categories_per_feature={2: None, 3: None})
    expected = whole.predict(codes(current), drift_type="feature")["data"]
    detector = AlibiTabular()
    scores = detector.score(detector.fit(reference, FEATURES), current, FEATURES)
    assert [s.p_value for s in scores] == expected["p_val"].tolist()
    assert [s.statistic for s in scores] == expected["distance"].tolist()
    batch = whole.predict(codes(current), drift_type="batch")["data"]
    assert any(s.exceeded for s in scores) == bool(batch["is_drift"])
    assert scores[0].threshold == batch["threshold"]


def test_alibi_ks_and_chi_square_are_alibis_own_detectors(frames):
    reference, current = (codes(frame) for frame in frames)
    ks = KSDrift(reference[:, :2]).predict(current[:, :2])["data"]["p_val"]
    chi_square = ChiSquareDrift(reference[:, 2:]).predict(current[:, 2:])["data"]["p_val"]
    assert p_values(AlibiKS(), *frames) == ks.tolist()
    assert p_values(AlibiChiSquare(), *frames) == chi_square.tolist()


def test_our_kolmogorov_smirnov_agrees_with_alibi_to_its_last_digit(frames):
    # alibi-detect keeps p-values in single precision: round ours to the same
    ours = np.float32(p_values(KS(method="asymptotic"), *frames))
    assert ours == pytest.approx(np.float32(p_values(AlibiKS(), *frames)), abs=1e-9)


def test_our_chi_square_agrees_with_alibi_to_its_last_digit(frames):
    ours = np.float32(p_values(ChiSquare(continuity=True), *frames))
    assert ours == pytest.approx(np.float32(p_values(AlibiChiSquare(), *frames)), abs=1e-9)
    without_correction = np.float32(p_values(ChiSquare(), *frames))
    assert without_correction[0] == ours[0]


def test_missing_values_are_left_out_column_by_column(frames):
    reference, current = frames
    holes = current.assign(x=current["x"].where(current.index % 3 != 0), c=current["c"].where(current.index % 2 == 0))
    found = p_values(AlibiTabular(), reference, holes)
    assert found[0] == p_values(AlibiTabular(), reference, current[current.index % 3 != 0])[0]
    assert found[2] == p_values(AlibiTabular(), reference, current[current.index % 2 == 0])[2]
    assert found[1] == p_values(AlibiTabular(), reference, current)[1]


def test_a_new_category_is_measured():
    reference, current = rows(0, 1000), rows(1, 1000)
    score = p_values(AlibiTabular(), reference, current.assign(c=current["c"].where(current["c"] > 3, 77)))
    assert score[2] < 1e-9


def test_a_sample_of_the_reference_is_evenly_spaced_and_has_the_size_asked_for():
    reference = pd.DataFrame({"x": np.arange(1000.0), "y": 0.0, "c": "a", "two": True})
    prepared = AlibiKS(sample=250).fit(reference, FEATURES)
    assert prepared["0.values"].tolist() == list(range(0, 1000, 4))
    assert prepared["rows"].tolist() == [250, 250]
    assert AlibiKS(sample=5000).fit(reference, FEATURES)["rows"].tolist() == [1000, 1000]


def test_nothing_is_printed_or_warned_about_when_alibi_is_loaded():
    code = (
        "import pandas as pd\n"
        "from continuous_training.core.task import Features\n"
        "from continuous_training.detectors import AlibiTabular as Kind\n"
        "frame, features = pd.DataFrame({'x': range(200)}), Features(numeric=('x',))\n"
        "Kind().score(Kind().fit(frame, features), frame, features)\n"
    )
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_alibi_cvm_is_alibis_own_detector(frames):
    reference, current = (codes(frame) for frame in frames)
    expected = CVMDrift(reference[:, :2]).predict(current[:, :2])["data"]
    detector = AlibiCVM()
    scores = detector.score(detector.fit(frames[0], FEATURES), frames[1], FEATURES)
    assert [score.p_value for score in scores] == expected["p_val"].tolist()
    assert [score.statistic for score in scores] == expected["distance"].tolist()


def test_the_effect_of_alibi_cvm_is_the_root_of_the_mean_squared_gap():
    detector = AlibiCVM(columns=("x",))
    apart = detector.fit(rows(0, 500), FEATURES)
    [score] = detector.score(apart, rows(1, 500, shift=90.0), FEATURES)
    assert score.effect == pytest.approx(1 / np.sqrt(3), abs=0.01)


def test_alibi_fet_is_alibis_own_detector_in_both_directions(frames):
    reference, current = (codes(frame)[:, 3:] for frame in frames)
    expected = FETDrift(reference, alternative="two-sided").predict(current)["data"]
    detector = AlibiFET(columns=("two",))
    [score] = detector.score(detector.fit(frames[0], FEATURES), frames[1], FEATURES)
    assert (score.p_value, score.statistic) == (expected["p_val"][0], expected["distance"][0])


def test_alibi_fet_leaves_columns_with_more_categories_alone_and_says_so(frames):
    detector = AlibiFET()
    several, binary = detector.score(detector.fit(frames[0], FEATURES), frames[1], FEATURES)
    assert several.exceeded is None
    assert "9 categories; Fisher's exact test takes two" in several.note
    assert binary.exceeded is not None


@pytest.mark.parametrize(("shift", "expected"), [(0.0, False), (0.8, True)])
def test_alibi_classifier_sees_a_change_and_no_other(shift, expected):
    reference, current = rows(0, 1500), rows(1, 1500, shift)
    detector = AlibiClassifier(sample=800)
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the state others would see
    [score] = detector.score(detector.fit(reference, FEATURES), current, FEATURES)
    assert score.exceeded is expected
    assert (score.column, score.effect) == (None, score.statistic)
    assert np.array_equal(np.random.get_state()[1], state), "the generator of others is left as it was"  # noqa: NPY002
