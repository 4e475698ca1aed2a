"""An estimator is believed as long as what its bands promise comes true."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from continuous_training.core.scores import Estimate, PerformanceScore
from continuous_training.core.window import Window
from continuous_training.policies.estimation import Checked, SelfCheck, checks

START = datetime(2024, 1, 1, tzinfo=UTC)
BAND = Estimate(metric="roc_auc", value=0.8, low=0.75, high=0.85, rows=500)
marks = st.text("io?", max_size=40)


def windows(text: str) -> list[Checked]:
    """Return one window for each letter: i inside its band, o outside, ? without a final value."""
    final = {"i": 0.81, "o": 0.6, "?": None}
    return [Checked(estimate=BAND, final=Estimate(metric="roc_auc", value=final[each])) for each in text]


def state(text: str, rule: SelfCheck | None = None) -> str:
    return (rule or SelfCheck()).trusted(windows(text), "roc_auc").state


@pytest.mark.parametrize(
    ("value", "low", "high", "final", "inside"),
    [
        (0.8, 0.7, 0.9, 0.7, True),
        (0.8, 0.7, 0.9, 0.9, True),
        (0.8, 0.7, 0.9, 0.699, False),
        (0.8, 0.7, 0.9, 0.901, False),
        (0.8, 0.7, 0.9, None, None),
        (0.8, None, None, 0.8, None),
        (None, None, None, 0.8, None),
    ],
)
def test_a_final_value_is_inside_a_band_with_its_ends(value, low, high, final, inside):
    estimate = Estimate(metric="mae", value=value, low=low, high=high)
    assert Checked(estimate=estimate, final=Estimate(metric="mae", value=final)).inside is inside


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ("", "unchecked"),
        ("???", "unchecked"),
        ("i", "on"),
        ("o", "on"),
        ("oo", "off"),
        ("oio", "off"),
        ("o?i?o", "off"),
        ("oiio", "on"),
        ("iiiiiiiiiioo", "off"),
        ("oo?", "off"),
        ("ooi", "off"),
        ("ooii", "off"),
        ("oo?ii?i", "on"),
        ("ooiii", "on"),
        ("ooiioiii", "on"),
        ("ooiioii", "off"),
        ("ooiiio", "on"),
        ("ooiiioo", "off"),
    ],
)
def test_two_of_three_windows_outside_switch_off_and_three_inside_in_a_row_on_again(history, expected):
    assert state(history) == expected


def test_misses_far_apart_switch_off_when_there_are_more_than_chance_allows():
    # 3 of 7 windows outside: a chance of 0.4 % where 5 % are expected, and never two within three windows.
    assert state("oiioii") == "on"
    assert state("oiioiio") == "off"
    assert state("oiioiio", SelfCheck(significance=0.003)) == "on"
    assert state("oiioiio", SelfCheck(confidence=0.8)) == "on"
    assert state("oiioiio", SelfCheck(windows=5)) == "on"


def test_windows_before_it_was_switched_on_again_do_not_count():
    assert state("oiioiio" + "iii") == "on"
    assert state("oiioiio" + "iii" + "o") == "on"


@pytest.mark.parametrize("trials", [1, 7, 20])
def test_the_test_switches_off_exactly_below_its_chance(trials):
    rule = SelfCheck(outside=50, of=50, windows=50)
    for outside in range(trials + 1):
        chance = sum(comb(trials, k) * 0.05**k * 0.95 ** (trials - k) for k in range(outside, trials + 1))
        history = "i" * (trials - outside) + "o" * outside  # in this order it is never off before the end
        first = next((n for n in range(1, outside + 1) if _off(trials - outside + n, n)), None)
        assert (state(history, rule) == "off") == (first is not None)
        assert (chance < 0.01) == _off(trials, outside)


def _off(trials: int, outside: int) -> bool:
    return 1 - sum(comb(trials, k) * 0.05**k * 0.95 ** (trials - k) for k in range(outside)) < 0.01


def test_bands_that_hold_as_promised_are_seldom_switched_off():
    rng = np.random.default_rng(7)
    years = ["".join("o" if miss else "i" for miss in rng.random(52) < 0.05) for _ in range(300)]
    off_weeks = sum(state(year[:week]) == "off" for year in years[:60] for week in range(1, 53))
    assert off_weeks / (60 * 52) < 0.05


def test_bands_that_no_longer_hold_are_switched_off_after_two_windows():
    assert all(state("i" * 30 + "o" * more) == "off" for more in range(2, 30))


@given(marks)
def test_windows_that_could_not_be_checked_change_nothing_but_their_number(text):
    assert state(text) == state(text.replace("?", ""))


@given(marks)
def test_counts_add_up_and_every_answer_has_a_reason(text):
    found = SelfCheck().trusted(windows(text), "roc_auc")
    assert (found.checked, found.outside) == (len(text) - text.count("?"), text.count("o"))
    assert found.metric == "roc_auc"
    assert "roc_auc" in found.text


@given(marks, st.integers(1, 4))
def test_what_is_off_is_on_again_after_enough_windows_inside(text, back):
    assert state(text + "i" * back, SelfCheck(back=back)) == "on"


def test_order_matters_only_within_the_rule():
    assert {state("".join(order)) for order in permutations("ooiii")} == {"on", "off"}


@pytest.mark.parametrize(
    ("history", "signal", "text"),
    [
        ("", "inconclusive", "no estimate of roc_auc has been checked"),
        ("iio", "quiet", "in the band of its estimate in 2 of 3 windows"),
        (
            "ioo",
            "fired",
            "outside the band of its estimate in 2 of 3 successive windows, and 2 switch it off; 3 inside in a row switch it on again",
        ),
        ("oiioiio", "fired", "in 3 of 7 successive windows, which has a chance of 0.0038 if its bands are right"),
    ],
)
def test_being_switched_off_is_a_signal_of_its_own(history, signal, text):
    found = SelfCheck().trusted(windows(history), "roc_auc").signal
    assert (found.name, found.kind, found.state) == ("roc_auc estimate", "performance", signal)
    assert text in found.text


def score(
    line="estimated", value=0.6, *, day=0, matured=1.0, part="", metric="roc_auc", dated=True
) -> PerformanceScore:
    window = Window(start=START + timedelta(days=day), end=START + timedelta(days=day + 7))
    return PerformanceScore(
        estimate=Estimate(metric=metric, value=value, low=value - 0.1, high=value + 0.1, rows=300),
        line=line,
        window=window if dated else None,
        slice=part,
        matured=matured,
        below=0.7,
    )


def test_an_estimate_is_inconclusive_while_switched_off_and_other_lines_are_not():
    rule = SelfCheck()
    off, on = rule.trusted(windows("oo")), rule.trusted(windows("ii"))
    blank = off.allowed(score())
    assert (blank.exceeded, blank.estimate.value, blank.estimate.rows) == (None, None, 300)
    assert "switched off" in blank.estimate.note
    assert blank.below == 0.7
    assert on.allowed(score()) == score()
    assert rule.trusted([]).allowed(score()) == score()
    for line in ("provisional", "final"):
        assert off.allowed(score(line)) == score(line)
        assert off.allowed(score(line)).exceeded is True


def test_an_estimate_that_was_withheld_goes_on_being_checked():
    rule = SelfCheck()
    kept = [score(value=0.6, day=7 * number) for number in range(5)]
    seen = [score("final", value, day=7 * number) for number, value in enumerate((0.2, 0.2, 0.61, 0.62, 0.63))]
    off = rule.trusted(checks(kept[:2] + seen[:2])["roc_auc", ""])
    withheld = [off.allowed(each) for each in kept[2:]]
    assert [each.exceeded for each in withheld] == [None] * 3
    assert rule.trusted(checks([*kept[:2], *withheld, *seen])["roc_auc", ""]).state == "on"


def test_estimates_are_paired_with_the_final_value_of_their_window_oldest_first():
    found = checks(
        [
            score("final", 0.64, day=7),
            score(value=0.6, day=7),
            score(value=0.5),
            score("provisional", 0.4),
            score("final", 0.55),
            score(value=0.7, part="origin=JFK"),
            score("final", 0.71, part="origin=JFK"),
            score(value=0.3, metric="brier", day=14),
        ]
    )
    assert {key: [(each.estimate.value, each.final.value) for each in pairs] for key, pairs in found.items()} == {
        ("roc_auc", ""): [(0.5, 0.55), (0.6, 0.64)],
        ("roc_auc", "origin=JFK"): [(0.7, 0.71)],
    }


def test_a_window_under_95_percent_matured_checks_nothing():
    assert checks([score(), score("final", 0.4, matured=0.949)]) == {}
    assert len(checks([score(), score("final", 0.4, matured=0.95)])) == 1


def test_of_several_scores_the_first_estimate_and_the_last_final_value_count():
    [[pair]] = checks([score(value=0.5), score(value=0.9), score("final", 0.6), score("final", 0.7)]).values()
    assert (pair.estimate.value, pair.final.value) == (0.5, 0.7)


def test_a_score_without_a_window_is_passed_over():
    assert checks([score(dated=False), score("final", dated=False)]) == {}


def test_a_rule_that_can_never_fire_is_refused():
    with pytest.raises(ValidationError, match="4 of the last 3 windows can never be outside"):
        SelfCheck(outside=4)
