import json

import pytest

from continuous_training.core.errors import DataInvalid
from continuous_training.serving.asked import MAX_ROWS, TooManyRows
from continuous_training.serving.scoring import read_request

NAMES = ("distance", "carrier")
EXPECTED = {"distance": [733, None], "carrier": ["UA", "AA"]}


@pytest.mark.parametrize(
    "request_",
    [
        {"dataframe_split": {"columns": ["carrier", "distance"], "data": [["UA", 733], ["AA", None]]}},
        {
            "dataframe_split": {
                "index": [0, 1],
                "columns": ["distance", "x", "carrier"],
                "data": [[733, 0, "UA"], [None, 0, "AA"]],
            }
        },
        {"dataframe_records": [{"distance": 733, "carrier": "UA"}, {"carrier": "AA", "distance": None}]},
        {"inputs": {"distance": [733, None], "carrier": ["UA", "AA"], "unknown": "whatever"}},
        {"inputs": [{"distance": 733, "carrier": "UA"}, {"distance": None, "carrier": "AA"}]},
        {"inputs": [[733, "UA"], [None, "AA"]]},
        {"instances": [{"distance": 733, "carrier": "UA", "unknown": 1}, {"distance": None, "carrier": "AA"}]},
        {"instances": [[733, "UA"], [None, "AA"]]},
    ],
)
def test_every_form_of_the_same_rows_gives_the_same_columns(request_):
    assert read_request(json.dumps(request_).encode(), NAMES).given == EXPECTED


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\xff", "not JSON in UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b"9" * 10_000, "not JSON"),
        (b"null", "holds null"),
        (b"[1]", "holds a list"),
        (b"{}", r"the keys \[\]"),
        (b'{"dataframe_record": []}', r"\['dataframe_record'\].*dataframe_split, dataframe_records, inputs, instances"),
        (b'{"instances": [], "inputs": []}', "exactly one"),
        (b'{"instances": [], "params": {"a": 1}}', "params names a; allowed: contributions, reasons"),
        (b'{"instances": [], "params": [1]}', "params is a list"),
        (b'{"instances": [], "params": {"contributions": 1}}', "contributions is a number; write true or false"),
        (b'{"params": {}}', r"the keys \['params'\]"),
        (b'{"instances": [["\\ud800", 1]]}', "not JSON in UTF-8"),
        (b'{"dataframe_split": [1]}', "columns and data"),
        (b'{"dataframe_split": {"columns": "ab", "data": []}}', "columns and data"),
        (b'{"dataframe_split": {"columns": ["distance"], "data": [[1]]}}', "missing carrier"),
        (
            b'{"dataframe_split": {"columns": ["distance", "carrier"], "data": [[1, "x"], [1]]}}',
            "row 1 is not a list of 2",
        ),
        (b'{"dataframe_split": {"columns": ["distance", "carrier"], "data": [5]}}', "row 0 is not a list of 2"),
        (
            b'{"dataframe_split": {"columns": ["carrier", "distance", "distance"], "data": []}}',
            "distance more than once",
        ),
        (b'{"dataframe_records": {"distance": 1}}', "holds an object; write a list"),
        (b'{"dataframe_records": [{"distance": 1, "carrier": "UA"}, {"distance": 1}]}', "row 1: missing carrier"),
        (b'{"dataframe_records": [[1, "UA"]]}', "row 0 is a list; write an object"),
        (b'{"instances": [{"distance": 1, "carrier": "UA"}, [1, "UA"]]}', "row 1 is a list"),
        (b'{"instances": [[1]]}', "row 0 is not a list of 2 values: distance, carrier"),
        (b'{"instances": 5}', "holds a number; write a list"),
        (b'{"inputs": {"distance": [1]}}', "missing carrier"),
        (b'{"inputs": {"distance": [1], "carrier": "UA"}}', "column carrier is a text"),
        (b'{"inputs": true}', "holds true or false"),
    ],
)
def test_a_wrong_request_is_refused_with_what_is_wrong(body, said):
    with pytest.raises(DataInvalid, match=said):
        read_request(body, NAMES)


@pytest.mark.parametrize("form", ["dataframe_records", "inputs", "instances"])
def test_a_single_row_comes_as_it_is(form):
    row = {"carrier": "UA", "distance": 733, "unknown": {}}
    asked = read_request(json.dumps({form: [row]}).encode(), NAMES)
    assert (asked.row, asked.rows) == (row, 1)
    assert asked.columns(NAMES) == {"distance": [733], "carrier": ["UA"]}


def test_no_rows_are_no_rows():
    assert read_request(b'{"dataframe_records": []}', NAMES).given == {"distance": [], "carrier": []}


@pytest.mark.parametrize("form", ["instances", "dataframe_records"])
def test_one_row_more_than_allowed_is_refused_with_both_numbers(form):
    rows = [{"distance": 1, "carrier": "UA"}] * (MAX_ROWS + 1)
    assert len(read_request(json.dumps({form: rows[1:]}).encode(), NAMES).given["carrier"]) == MAX_ROWS
    with pytest.raises(TooManyRows, match=r"100,001 rows.*100,000"):
        read_request(json.dumps({form: rows}).encode(), NAMES)


def test_too_many_rows_are_refused_in_every_form():
    many = [1] * (MAX_ROWS + 1)
    for request in (
        {"inputs": {"distance": many, "carrier": many}},
        {"dataframe_split": {"columns": [*NAMES], "data": many}},
    ):
        with pytest.raises(TooManyRows):
            read_request(json.dumps(request).encode(), NAMES)
