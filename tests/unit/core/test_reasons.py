import pytest

from continuous_training.core.reasons import reasons, shown

NAMES = ["departure", "carrier", "wind", "gust", "rain"]


@pytest.mark.parametrize(
    ("contributions", "told"),
    [
        ([0, 0, 0, 0, 0], "no feature moves the score"),
        ([0, 0.5, 0, 0, 0], "carrier = EV raises the score by 0.5"),
        ([-0.25, 0.5, 0, 0, 0], "carrier = EV raises the score by 0.5; departure = 1290 lowers it by 0.25"),
        (
            [1, 2, 3, -0.5, 0],
            "wind = missing raises the score by 3; carrier = EV raises it by 2; departure = 1290 raises it by 1; together the other 2 features lower it by 0.5",
        ),
        ([1, 2, 3, 0.5, -0.5], "wind = missing raises the score by 3; carrier = EV raises it by 2; departure = 1290 raises it by 1"),
    ],
)  # fmt: skip
def test_the_largest_parts_are_told_first_and_the_others_together(contributions, told):
    assert reasons(NAMES, [1290.0, "EV", None, 1, 0], contributions) == told


def test_one_other_feature_is_named():
    assert reasons(NAMES[:4], [1, "EV", 2, 3], [4, 3, 2, 1]).endswith("; gust raises it by 1")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1e300, "1e+300"),
        (float("inf"), "missing"),
        (10**30, "1e+30"),
        ("JFK-LGA", "JFK-LGA"),
        ("", '""'),
        ("EV raises the score by 9; x", '"EV raises the score by 9; x"'),
        ("a\n\x1b[31m", '"a\\n\\u001b[31m"'),
        ("é", '"\\u00e9"'),
        ("x" * 100, '"' + "x" * 60 + '..."'),
    ],
)
def test_a_value_cannot_pass_for_other_words(value, text):
    assert shown(value) == text
