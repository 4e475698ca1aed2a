"""A profile keeps how columns are distributed; a window counted in parts lies beside it as one counted whole."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continuous_training.reports._distributions import Tally, compared, profile, tally
from continuous_training.reports.distribution import MOST_BINS, OTHER, Distribution

NUMBERS = st.one_of(st.floats(width=64), st.integers(-3, 3).map(float), st.none())
TEXTS = st.one_of(st.text("abc\x00é", max_size=3), st.none())


def frame(rows: list[tuple[float | None, str | None]]) -> pd.DataFrame:
    numbers, texts = ([row[place] for row in rows] for place in (0, 1))
    return pd.DataFrame({"n": np.array(numbers, dtype=float), "c": pd.Series(texts, dtype=object)})


KINDS = {"n": "numeric", "c": "categorical"}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(NUMBERS, TEXTS), max_size=60),
    st.lists(st.tuples(NUMBERS, TEXTS), max_size=40),
    st.integers(0, 40),
)
def test_parts_add_up_to_the_whole_whatever_the_values(
    before: list[tuple[float | None, str | None]], now: list[tuple[float | None, str | None]], cut: int
) -> None:
    columns = profile(frame(before), KINDS)
    window = frame(now)
    whole = compared(columns, tally(columns, window))
    assert whole == compared(columns, tally(columns, window[:cut]) + tally(columns, window[cut:]))
    for column in whole:
        for side in (column.reference, column.current):
            assert sum(side.shares) == pytest.approx(1, abs=1e-4) or not any(side.shares)
            assert len(side.edges or ()) <= MOST_BINS + 1
        assert 0 <= column.distance <= 1


def test_few_distinct_numbers_have_a_bin_each() -> None:
    [column] = profile(pd.DataFrame({"n": [0, 1, 2, 6] * 10}), {"n": "numeric"})
    assert column.reference.edges == (-0.5, 0.5, 1.5, 4, 8)
    assert column.reference.shares == (0.25,) * 4


def test_far_values_do_not_squeeze_the_others_into_one_bin() -> None:
    values = np.append(np.linspace(0, 1, 10_000), [1e9, -1e9])
    [column] = profile(pd.DataFrame({"n": values}), {"n": "numeric"})
    assert column.reference.edges[-1] < 1.1
    assert max(column.reference.shares) < 0.06
    [moved] = compared([column], tally([column], pd.DataFrame({"n": [0.5, 7.0]})))
    assert moved.outside == 0.5
    halves = tally([column], pd.DataFrame({"n": [0.5]})) + tally([column], pd.DataFrame({"n": [7.0]}))
    assert compared([column], halves) == (moved,)


def test_rare_categories_are_one_and_new_ones_are_told_by_name() -> None:
    known = [f"c{n:02}" for n in range(30) for _ in range(30 - n)]
    [column] = profile(pd.DataFrame({"c": known}), {"c": "categorical"})
    assert column.reference.categories[0] == "c00"
    assert (len(column.reference.categories), column.reference.categories[-1]) == (21, OTHER)
    [moved] = compared([column], tally([column], pd.DataFrame({"c": ["c29", "new", None, "c00"]})))
    assert moved.new_categories == ("new",)
    assert (moved.current.missing, moved.current.shares[-1]) == (0.25, pytest.approx(2 / 3, abs=1e-5))
    many = pd.DataFrame({"c": [f"n{n:03}" for n in range(500)]})
    [moved] = compared([column], tally([column], many[:250]) + tally([column], many[250:]))
    assert moved.new_categories == tuple(f"n{n:03}" for n in range(20))


def test_a_column_that_the_window_lacks_is_missing() -> None:
    columns = profile(pd.DataFrame({"n": [1.0, 2.0], "c": ["a", "b"]}), KINDS)
    for column in compared(columns, tally(columns, pd.DataFrame({"other": [1, 2, 3]}))):
        assert (column.current.rows, column.current.missing, column.distance) == (3, 1, 1)


def test_a_category_may_have_more_names_than_are_kept() -> None:
    [column] = profile(pd.DataFrame({"c": [f"{n}" for n in range(1001)]}), {"c": "categorical"})
    assert column.known is None
    [moved] = compared([column], tally([column], pd.DataFrame({"c": ["x" * 5000]})))
    assert moved.new_categories == ()


def test_a_distribution_has_one_share_for_each_place() -> None:
    with pytest.raises(ValueError, match="2 shares for 1 bins"):
        Distribution(rows=1, missing=0, edges=(0, 1), shares=(0.5, 0.5))


def test_nothing_adds_up_to_nothing() -> None:
    assert Tally(0, ()) + Tally(0, ()) == Tally(0, ())
