"""Each value of a column is measured by itself: which ones, against what, and how many tests that is."""

import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continuous_training.core.errors import DataInvalid, UsageError
from continuous_training.core.task import Features
from continuous_training.detectors import KS, KSWIN, MMD, PSI, ChiSquare, Detector, Missing, PageHinkley, Prepared
from continuous_training.detectors.base import MOST_SLICES
from continuous_training.steps.evaluate import detector_key

FEATURES = Features(numeric=("wind", "rain"), categorical=("region",))
HOSTILE = ["two\nlines", "a\0", "it's \"quoted\"", "\u202egnihtemos", "東京", "back\\slash", "back\\\\slash", "", " ", "..", "0:rows", "x" * 10_000, "x" * 9_999 + "y"]  # fmt: skip


def rows(regions: list[str], each: int = 120, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    region = pd.Series(regions * each, dtype=object)
    return pd.DataFrame({"region": region, "wind": rng.normal(size=region.size), "rain": rng.normal(size=region.size)})


def moved(frame: pd.DataFrame, region: str) -> pd.DataFrame:
    return frame.assign(wind=frame["wind"] + 3.0 * (frame["region"] == region))


def stored(prepared: Prepared) -> Prepared:
    buffer = io.BytesIO()
    np.savez(buffer, **prepared)
    with np.load(io.BytesIO(buffer.getvalue()), allow_pickle=False) as arrays:
        return dict(arrays)


def measured(detector: Detector, reference: pd.DataFrame, current: pd.DataFrame):
    return detector.score_slices(stored(detector.fit_slices(reference, FEATURES)), current, FEATURES)


@pytest.mark.parametrize("detector", [PSI(by="region", columns=("wind",)), KS(by="region"), MMD(by="region")])
def test_what_moves_in_one_region_alone_is_beyond_there_and_nowhere_else(detector):
    regions = ["north", "south", "east"]
    found = measured(detector, rows(regions, each=400), moved(rows(regions, each=400, seed=2), "south"))
    assert {score.slice for score in found if score.exceeded} == {"region=south"}
    assert {score.slice for score in found} == {f"region={name}" for name in regions}


def test_a_hostile_name_has_rows_and_a_label_of_its_own():
    found = measured(PSI(by="region", columns=("wind",)), rows(HOSTILE), moved(rows(HOSTILE, seed=1), "a\0"))
    assert len({score.slice for score in found}) == len(HOSTILE)
    assert [score.slice for score in found if (score.statistic or 0) > 1] == ["region=a\\x00"]
    assert all(score.slice.isprintable() and len(score.slice) < 120 for score in found)
    assert all((score.reference_rows, score.current_rows) == (120, 120) for score in found)


def test_a_name_that_is_no_text_at_all_is_measured():
    for values in ([1, 2], [1.5, math.inf], [True, False], [("a", 1), ("b", 2)], [["a"], ["b"]]):
        assert len(measured(PSI(by="region", columns=("wind",)), rows(values), rows(values, seed=1))) == 2


def test_text_that_no_file_can_hold_is_no_error():
    assert measured(PSI(by="region", columns=("wind",)), rows(["\ud800", "\udfff"]), rows(["\ud800", "\udfff"]))


def test_whole_numbers_have_one_name_whether_or_not_a_row_lacks_one():
    reference, current = rows([1, 2]), rows([1, 2, None], seed=1)
    found = measured(
        PSI(by="region", columns=("wind",)), reference, current.assign(region=current["region"].astype(float))
    )
    assert [(score.slice, score.current_rows) for score in found] == [("region=1", 120), ("region=2", 120)]


def test_ten_thousand_values_keep_the_most_frequent_and_say_the_rest_in_one_note():
    names = [f"r{number:05}" for number in range(10_000)]
    frequent = pd.concat([rows(names, each=1), rows(names[:60], each=100), rows(names[40:50], each=50)])
    found = measured(PSI(by="region", columns=("wind",)), frequent, frequent)
    kept = [f"region={name}" for name in (*names[40:50], *names[:40])]
    assert [score.slice for score in found] == [*kept, ""]
    assert len(kept) == MOST_SLICES
    assert found[-1].note == (
        "region has values that were not kept of the reference: r00050, r00051, r00052 and 7 more"
    )
    assert (found[-1].exceeded, found[-1].current_rows) == (None, 1010)


def test_a_value_with_few_rows_is_left_out_on_either_side_without_a_word():
    few = pd.concat([rows(["north"]), rows(["rare"], each=99)])
    found = measured(PSI(by="region", columns=("wind",)), few, few)
    assert [score.slice for score in found] == ["region=north"]


def test_rows_without_a_value_are_in_no_slice():
    frame = rows(["north", None])
    (score,) = measured(PSI(by="region", columns=("wind",)), frame, frame)
    assert (score.slice, score.reference_rows) == ("region=north", 120)


def test_p_values_are_corrected_for_columns_and_values_together():
    regions = ["north", "south", "east"]
    reference, current = rows(regions), moved(rows(regions, seed=1), "south")
    assert {score.threshold for score in measured(KS(by="region"), reference, current)} == {0.01 / 6}
    assert {score.threshold for score in measured(MMD(by="region"), reference, current)} == {0.01 / 3}
    assert {score.threshold for score in measured(PSI(by="region"), reference, current)} == {0.2}
    found = measured(KS(by="region", correction="benjamini_hochberg"), reference, current)
    [p_value] = [score.p_value for score in found if score.exceeded]
    assert {score.threshold for score in found} == {
        KS(correction="benjamini_hochberg").limit([s.p_value for s in found])
    }
    assert p_value < 0.01 / 6


def test_the_signal_of_a_stream_is_followed_in_each_value():
    signal = {"error": np.tile([0.2, 0.2, 0.4, 0.4], 200)}
    reference = rows(["north", "south"], each=400).assign(**signal)
    current = reference.assign(error=reference["error"].where(reference["region"] == "north", 0.6))
    for detector in (PageHinkley(by="region"), KSWIN(by="region", window_size=200)):
        found = measured(detector, reference, current)
        assert {score.slice: score.exceeded for score in found} == {"region=north": False, "region=south": True}


@settings(max_examples=60, deadline=None)
@given(
    reference=st.lists(st.floats(-5, 5) | st.none(), min_size=1, max_size=60),
    current=st.lists(st.floats(-5, 5) | st.none(), max_size=60),
    value=st.text() | st.integers() | st.booleans(),
    detector=st.sampled_from([
        PSI(), KS(), KS(correction="benjamini_hochberg", minimum_effect=0.1), ChiSquare(columns=("wind",)), Missing(), MMD(),
    ]),
)  # fmt: skip
def test_with_one_value_scores_are_those_without_by(reference, current, value, detector):
    detector = detector.model_copy(update={"min_rows": 1, "columns": ("wind",)})
    frames = [pd.DataFrame({"wind": pd.Series(side, dtype=float)}) for side in (reference, current)]
    divided = detector.model_copy(update={"by": "region"})
    found = measured(divided, *(frame.assign(region=pd.Series([value] * len(frame), dtype=object)) for frame in frames))
    expected = detector.score(detector.fit(frames[0], FEATURES), frames[1], FEATURES)
    alike = {"slice": "", "note": ""}
    assert [one.model_copy(update=alike) for one in found] == [one.model_copy(update=alike) for one in expected]


def test_another_column_is_another_reference():
    keys = {detector_key(detector) for detector in (PSI(), PSI(by="region"), PSI(by="carrier"))}
    assert len(keys) == 3
    prepared = PSI(by="region").fit_slices(rows(["north"]), FEATURES)
    for other in (PSI(by="carrier"), PSI()):
        with pytest.raises(UsageError if other.by else KeyError):
            other.score_slices(prepared, rows(["north"]).assign(carrier="a"), FEATURES)
    with pytest.raises(UsageError, match="measures each region, but its reference was prepared otherwise"):
        PSI(by="region").score_slices(PSI().fit(rows(["north"]), FEATURES), rows(["north"]), FEATURES)


def test_data_without_the_column_of_by_are_refused():
    without = rows(["north"]).drop(columns="region")
    with pytest.raises(DataInvalid, match=r"psi measures each region, but the columns of the data are wind, rain"):
        PSI(by="region").fit_slices(without, FEATURES)
