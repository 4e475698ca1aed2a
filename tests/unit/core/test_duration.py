"""Lengths of time are read and written as people say them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from continuous_training.core.duration import Duration, format_duration, parse_duration

DURATION = TypeAdapter(Duration)
whole_seconds = st.integers(0, 10**12).map(lambda seconds: timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("1 second", timedelta(seconds=1)),
        ("90 minutes", timedelta(hours=1, minutes=30)),
        ("1 hour 30 minutes", timedelta(hours=1, minutes=30)),
        ("1hour30minutes", timedelta(hours=1, minutes=30)),
        ("  2 weeks ", timedelta(days=14)),
        ("1 day 1 day", timedelta(days=2)),
        ("0 days", timedelta(0)),
    ],
)
def test_whole_numbers_with_units_add_up(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    "value",
    ["", " ", "7", "7d", "days", "1.5 days", "-1 day", "1 month", "1 fortnight", "1 day,", "PT1H", 8, 7.0, None, ["1 day"], True],
)  # fmt: skip
def test_anything_else_is_refused_with_the_value_and_an_example(value: object) -> None:
    with pytest.raises(ValueError, match="is not a length of time") as refusal:
        parse_duration(value)
    assert repr(value) in str(refusal.value)
    assert "'7 days'" in str(refusal.value)


@pytest.mark.parametrize("text", ["999999999999 days", "9" * 400 + " seconds"])
def test_a_length_beyond_what_can_be_kept_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"is longer than 2\.7 million years; write a shorter length"):
        parse_duration(text)


def test_a_pathological_text_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="is not a length of time"):
        parse_duration("1 day " * 5_000 + "!")


@given(whole_seconds)
def test_what_is_written_is_read_back(length: timedelta) -> None:
    assert parse_duration(format_duration(length)) == length
    assert DURATION.validate_json(DURATION.dump_json(length)) == length


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(days=1), "1 day"),
        (timedelta(days=14), "14 days"),
        (timedelta(hours=36), "36 hours"),
        (timedelta(seconds=61), "61 seconds"),
        (timedelta(0), "0 days"),
    ],
)
def test_the_largest_unit_that_divides_it_is_written(length: timedelta, text: str) -> None:
    assert format_duration(length) == text


def test_a_field_of_a_model_file_refuses_what_the_reader_refuses() -> None:
    with pytest.raises(ValidationError, match="is not a length of time"):
        DURATION.validate_python("soon")


def test_the_schema_for_editors_takes_what_the_reader_takes() -> None:
    schema = DURATION.json_schema()
    assert schema["type"] == "string"
    assert schema["examples"]
    for example in schema["examples"]:
        assert parse_duration(example)
