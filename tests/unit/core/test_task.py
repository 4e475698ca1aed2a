"""What is predicted, and from which columns."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from continuous_training.core.task import Features, Task


def test_columns_come_numeric_ones_first() -> None:
    assert Features(numeric=("b", "a"), categorical=("c",)).columns == ("b", "a", "c")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "name at least one column"),
        ({"numeric": ["a", "a"]}, "named more than once: a"),
        ({"numeric": ["b", "a"], "categorical": ["a", "b"]}, "named more than once: a, b"),
    ],
)
def test_features_are_named_once_and_there_is_one(fields: dict[str, list[str]], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Features.model_validate(fields)


def test_a_label_is_known_at_once_unless_a_delay_is_given() -> None:
    assert Task(kind="regression", label="y", event_time="at").label_delay == timedelta(0)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"kind": "ranking"}, "ranking needs group, the column that names the session"),
        ({"kind": "regression", "group": "session"}, "group is for ranking only; .* instead of regression"),
        ({"kind": "ranking", "group": "y"}, "group names y, which is the label or the event time"),
    ],
)
def test_a_ranking_and_nothing_else_has_a_group_of_its_own(fields: dict[str, str], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Task.model_validate({"label": "y", "event_time": "at", **fields})


def test_every_part_needs_the_event_time_the_label_and_the_group() -> None:
    assert Task(kind="regression", label="y", event_time="at").columns == ("at", "y")
    assert Task(kind="ranking", label="y", event_time="at", group="session").columns == ("at", "y", "session")


@pytest.mark.parametrize("delay", ["3661 days", "999999999 days"])
def test_a_label_delay_of_more_than_ten_years_is_refused(delay: str) -> None:
    with pytest.raises(ValidationError, match="label_delay"):
        Task(kind="regression", label="y", event_time="at", label_delay=delay)
